//! What `quorate-agent status` shows. The daemon leaves its part in memory (tmpfs) whenever the link changes.

use crate::host::files;
use crate::identity::AgentIdentity;
use crate::journal::now_ms;
use crate::link::LinkState;
use crate::paths::Paths;
use quorate_proto::v1::Problem;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// Written by the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    pub pid: u32,
    pub connected: bool,
    pub endpoint: String,
    pub since_unix_ms: i64,
    pub problem: Option<Problem>,
}

#[derive(Debug, Serialize)]
pub struct Status {
    pub version: String,
    pub node_id: String,
    pub node_name: String,
    pub endpoints: Vec<String>,
    pub certificate_expires: String,
    pub certificate_expired: bool,
    /// Absent: the daemon does not run.
    pub link: Option<LinkStatus>,
    pub running_orders: Vec<String>,
}

impl LinkStatus {
    pub fn of(state: &LinkState) -> Self {
        let (connected, endpoint, problem) = match state {
            LinkState::Connected { endpoint, .. } => (true, endpoint.clone(), None),
            LinkState::Disconnected { problem, .. } => {
                (false, problem.r#where.clone(), Some(problem.clone()))
            }
        };
        LinkStatus {
            pid: std::process::id(),
            connected,
            endpoint,
            since_unix_ms: now_ms(),
            problem,
        }
    }

    pub fn store(&self, paths: &Paths) -> Result<(), Problem> {
        let bytes =
            serde_json::to_vec(self).map_err(|error| Problem::new("status", error.to_string()))?;
        files::write_atomic(&file(paths), &bytes, 0o600)
    }

    fn load(paths: &Paths) -> Result<Option<Self>, Problem> {
        let Some(bytes) = files::read_optional(&file(paths))? else {
            return Ok(None);
        };
        let status: Option<Self> = serde_json::from_slice(&bytes).ok();
        // A daemon that was killed leaves the file behind.
        Ok(status.filter(|status| is_agent(status.pid)))
    }
}

pub fn discard(paths: &Paths) {
    if let Err(problem) = files::remove(&file(paths)) {
        tracing::warn!(%problem, "the status file was not removed");
    }
}

impl Status {
    /// `None`: not enrolled.
    pub fn gather(paths: &Paths) -> Result<Option<Self>, Problem> {
        let Some(identity) = AgentIdentity::load(paths)? else {
            return Ok(None);
        };
        let expires = identity
            .not_after
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let expires_ms = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
        Ok(Some(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_id: identity.node_id,
            node_name: identity.node_name,
            endpoints: identity.endpoints,
            certificate_expires: time(expires_ms),
            certificate_expired: expires_ms < now_ms(),
            link: LinkStatus::load(paths)?,
            running_orders: crate::journal::unfinished(paths)?,
        }))
    }

    pub fn is_connected(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.connected)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "node         {} ({})", self.node_name, self.node_id)?;
        writeln!(f, "agent        {}", self.version)?;
        writeln!(f, "coordinator  {}", self.endpoints.join(", "))?;
        let expired = if self.certificate_expired {
            ", EXPIRED"
        } else {
            ""
        };
        writeln!(
            f,
            "certificate  until {}{expired}",
            self.certificate_expires
        )?;
        match &self.link {
            None => writeln!(
                f,
                "link         the daemon is not running\n  next:  systemctl start quorate-agent"
            )?,
            Some(link) if link.connected => {
                let since = time(link.since_unix_ms);
                writeln!(
                    f,
                    "link         connected to {} since {since}",
                    link.endpoint
                )?;
            }
            Some(link) => {
                writeln!(
                    f,
                    "link         not connected since {}",
                    time(link.since_unix_ms)
                )?;
                if let Some(problem) = &link.problem {
                    writeln!(f, "  {problem}")?;
                }
            }
        }
        if self.running_orders.is_empty() {
            return writeln!(f, "orders       none running");
        }
        writeln!(
            f,
            "orders       running: {}",
            self.running_orders.join(", ")
        )
    }
}

fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// Process ids are reused: only a process with our name counts.
fn is_agent(pid: u32) -> bool {
    let name = |process: &str| std::fs::read_to_string(format!("/proc/{process}/comm")).ok();
    name(&pid.to_string()).is_some_and(|comm| Some(comm) == name("self"))
}

fn file(paths: &Paths) -> PathBuf {
    paths.runtime().join("status.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::time::Duration;

    #[test]
    fn shows_identity_link_and_orders() {
        let folder = tempfile::tempdir().expect("folder");
        let paths = Paths::under(folder.path());
        assert!(Status::gather(&paths).expect("readable").is_none());
        let identity = testing::agent_identity(&testing::authority(), "n1", &["a:1", "b:1"]);
        identity.save(&paths).expect("saved");
        let status = Status::gather(&paths).expect("readable").expect("enrolled");
        assert!(!status.is_connected());
        assert!(status.to_string().contains("the daemon is not running"));
        let connected = LinkState::Connected {
            endpoint: "a:1".to_owned(),
            epoch: 1,
        };
        LinkStatus::of(&connected).store(&paths).expect("stored");
        let status = Status::gather(&paths).expect("readable").expect("enrolled");
        assert!(status.is_connected());
        let shown = status.to_string();
        assert!(shown.contains("connected to a:1") && shown.contains("a:1, b:1"));
        assert!(shown.contains("none running") && !shown.contains("EXPIRED"));
        let disconnected = LinkState::Disconnected {
            problem: Problem::new("x", "no answer"),
            again_in: Duration::from_secs(1),
        };
        LinkStatus::of(&disconnected).store(&paths).expect("stored");
        let status = Status::gather(&paths).expect("readable").expect("enrolled");
        assert!(!status.is_connected() && status.to_string().contains("no answer"));
    }
}
