//! Transient units: an order in one of them survives a restart or an upgrade of the agent.

use crate::host::service;
use crate::host::tool::Tool;
use crate::paths::Paths;
use quorate_proto::v1::Problem;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Beyond the order's own time, so that the executor's account of a timeout comes first.
const SLACK: Duration = Duration::from_secs(60);
/// From asking a unit to stop to killing it.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked of systemd; a test answers in its place.
#[tonic::async_trait]
pub trait Units: Send + Sync + 'static {
    async fn start(&self, unit: &str, id: &str, timeout: Duration) -> Result<(), Problem>;
    async fn is_active(&self, unit: &str) -> Result<bool, Problem>;
    /// Why a unit ended ("oom-kill", "timeout", "signal"); forgets the unit.
    async fn verdict(&self, unit: &str) -> String;
}

pub struct Systemd {
    pub paths: Paths,
}

pub fn unit_of(id: &str) -> String {
    format!("quorate-order-{}.service", id.to_ascii_lowercase())
}

#[tonic::async_trait]
impl Units for Systemd {
    async fn start(&self, unit: &str, id: &str, timeout: Duration) -> Result<(), Problem> {
        // A failed unit of an earlier start keeps the name.
        let _ = service::reset_failed(unit).await;
        let program = own_program()?;
        let log = std::env::var("QUORATE_LOG").ok();
        Tool::new("systemd-run")
            .args(arguments(
                unit,
                id,
                timeout,
                &program,
                self.paths.root(),
                log.as_deref(),
            ))
            .ok()
            .await
            .map(|_| ())
    }

    async fn is_active(&self, unit: &str) -> Result<bool, Problem> {
        let state = service::active_state(unit).await?;
        Ok(matches!(
            state.as_str(),
            "active" | "activating" | "deactivating" | "reloading" | "refreshing"
        ))
    }

    async fn verdict(&self, unit: &str) -> String {
        let verdict = service::property(unit, "Result").await;
        let _ = service::reset_failed(unit).await;
        verdict.unwrap_or_else(|problem| problem.what)
    }
}

/// Completes half-installed pairs with a machine's full rights, which the daemon itself does not have. Ends with it.
pub async fn complete_pairs(paths: &Paths) -> Result<(), Problem> {
    let program = own_program()?;
    Tool::new("systemd-run")
        .args(["--quiet", "--no-ask-password", "--wait", "--collect"])
        .arg("--description=quorate completes certificates")
        .arg("--")
        .arg(program.display().to_string())
        .arg(format!("--root={}", paths.root().display()))
        .arg("complete-pairs")
        .ok()
        .await
        .map(|_| ())
}

fn arguments(
    unit: &str,
    id: &str,
    timeout: Duration,
    program: &Path,
    root: &Path,
    log: Option<&str>,
) -> Vec<String> {
    let mut arguments = vec![
        "--quiet".to_owned(),
        "--no-ask-password".to_owned(),
        format!("--unit={unit}"),
        format!("--description=quorate order {id}"),
        // Returns once the program runs.
        "--service-type=exec".to_owned(),
    ];
    let seconds = (timeout + SLACK).as_secs();
    for property in [
        "TimeoutStartSec=infinity".to_owned(),
        format!("RuntimeMaxSec={seconds}"),
        format!("TimeoutStopSec={}", STOP_TIMEOUT.as_secs()),
        "KillMode=mixed".to_owned(),
        "SendSIGKILL=yes".to_owned(),
    ] {
        arguments.push(format!("--property={property}"));
    }
    arguments.extend(log.map(|log| format!("--setenv=QUORATE_LOG={log}")));
    arguments.push("--".to_owned());
    arguments.push(program.display().to_string());
    if root != Path::new("/") {
        arguments.push(format!("--root={}", root.display()));
    }
    arguments.push("execute".to_owned());
    arguments.push(id.to_owned());
    arguments
}

/// After an upgrade the running program's file is gone; the new one has its name.
fn own_program() -> Result<PathBuf, Problem> {
    let program = std::env::current_exe()
        .map_err(|error| Problem::new("agent-program", error.to_string()))?;
    let text = program.to_string_lossy();
    Ok(match text.strip_suffix(" (deleted)") {
        Some(installed) => PathBuf::from(installed),
        None => program,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_list() {
        let id = "01JD0000000000000000000001";
        let unit = unit_of(id);
        assert_eq!(unit, "quorate-order-01jd0000000000000000000001.service");
        let program = Path::new("/usr/bin/quorate-agent");
        let timeout = Duration::from_secs(600);
        let plain = arguments(&unit, id, timeout, program, Path::new("/"), None);
        for expected in [
            "--unit=quorate-order-01jd0000000000000000000001.service",
            "--property=RuntimeMaxSec=660",
            "--property=KillMode=mixed",
            "--property=TimeoutStartSec=infinity",
        ] {
            assert!(
                plain.iter().any(|argument| argument == expected),
                "{expected}"
            );
        }
        let command = plain
            .iter()
            .position(|argument| argument == "--")
            .expect("a command");
        assert_eq!(
            plain[command + 1..],
            ["/usr/bin/quorate-agent", "execute", id]
        );
        let moved = arguments(&unit, id, timeout, program, Path::new("/t"), Some("debug"));
        assert!(moved.contains(&"--setenv=QUORATE_LOG=debug".to_owned()));
        assert!(moved.contains(&"--root=/t".to_owned()));
    }
}
