//! Whose data this node's etcd folder holds. A folder started under another member's id would destroy the member:
//! etcd would find its own log gone or another's in its place. So the id is recorded before the first start.

use super::config::Config;
use super::layout::Layout;
use super::ready::{START_LIMIT, until};
use crate::context::Context;
use crate::host::files;
use crate::kube::http::plain_get;
use nix::fcntl::{Flock, FlockArg};
use quorate_proto::v1::Problem;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// etcd's plain port for metrics and health on the loopback, as kubeadm sets it.
pub const METRICS_PORT: u16 = 2381;
const ANSWER: Duration = Duration::from_secs(2);
/// The kubelet gives a static pod 30 s to end; a little more to notice that its manifest is gone.
const STOP_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    cluster: String,
    member_id: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Data {
    /// None, or that of the member that is to start.
    Right,
    /// Of another try under another id, or of nobody knows whom.
    Stale,
}

/// Makes sure that the etcd folder is either empty or the given member's. Everything else in it is removed.
pub async fn settle(context: &Context, config: &Config, member_id: u64) -> Result<(), Problem> {
    let layout = Layout::of(&context.paths);
    let wanted = Record {
        cluster: context.cluster()?.id.clone(),
        member_id,
    };
    let folder = context.paths.at(config.etcd_data()).join("member");
    let recorded = read(&layout.member_record())?;
    let running = running_member(config).await;
    if judge(folder.exists(), recorded.as_ref(), running, &wanted) == Data::Stale {
        context.say("removing the etcd data of an earlier try");
        files::remove(&layout.etcd_manifest())?;
        stopped(context, config).await?;
        files::remove_tree(&folder)?;
    }
    if recorded.as_ref() != Some(&wanted) {
        let bytes = serde_json::to_vec(&wanted)
            .map_err(|error| Problem::new("member-record", error.to_string()))?;
        files::write_atomic(&layout.member_record(), &bytes, 0o600)?;
    }
    Ok(())
}

fn judge(data: bool, recorded: Option<&Record>, running: Option<u64>, wanted: &Record) -> Data {
    match (recorded, running) {
        (_, Some(id)) if id == wanted.member_id => Data::Right,
        (_, Some(_)) => Data::Stale,
        (Some(record), None) if record == wanted => Data::Right,
        (_, None) if !data => Data::Right,
        (_, None) => Data::Stale,
    }
}

fn read(file: &Path) -> Result<Option<Record>, Problem> {
    // An unreadable record is no record: the data is then judged to be nobody's.
    Ok(files::read_optional(file)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The id of the etcd that answers on this host, or nothing if none does.
async fn running_member(config: &Config) -> Option<u64> {
    let answer = plain_get(config.loopback(), METRICS_PORT, "/metrics", ANSWER)
        .await
        .ok()?;
    server_id(&String::from_utf8_lossy(&answer.body))
}

/// From `etcd_server_id{server_id="8e9e05c52164694d"} 1`.
fn server_id(metrics: &str) -> Option<u64> {
    let line = metrics
        .lines()
        .find(|line| line.starts_with("etcd_server_id{"))?;
    let id = line.split('"').nth(1)?;
    u64::from_str_radix(id, 16).ok()
}

/// Until the etcd of this node serves.
pub async fn healthy(context: &Context, config: &Config) -> Result<(), Problem> {
    until(context, "the etcd of this node", START_LIMIT, async || {
        let answer = plain_get(config.loopback(), METRICS_PORT, "/health", ANSWER).await?;
        match answer.success() {
            true => Ok(()),
            false => Err(Problem::new("etcd-unhealthy", "etcd is not healthy yet")
                .at(format!("port {METRICS_PORT}"))),
        }
    })
    .await
}

/// Until the etcd of this node neither answers nor holds its data.
pub async fn stopped(context: &Context, config: &Config) -> Result<(), Problem> {
    let database = context.paths.at(config.etcd_data()).join("member/snap/db");
    until(
        context,
        "the etcd of this node to end",
        STOP_LIMIT,
        async || match plain_get(config.loopback(), METRICS_PORT, "/health", ANSWER).await {
            Err(_) => released(&database),
            Ok(_) => Err(Problem::new("etcd-running", "etcd still answers")
                .at(format!("port {METRICS_PORT}"))),
        },
    )
    .await
}

/// etcd locks its database for as long as it lives, which is longer than it answers.
fn released(database: &Path) -> Result<(), Problem> {
    let Ok(file) = File::open(database) else {
        return Ok(());
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::new("etcd-running", "etcd still holds its data")
            .at(database.display().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_only_the_data_of_the_member_that_is_to_start() {
        let record = |member_id| Record {
            cluster: "c".to_owned(),
            member_id,
        };
        let other_cluster = Record {
            cluster: "d".to_owned(),
            member_id: 1,
        };
        let wanted = record(1);
        for (data, recorded, running, expected) in [
            (false, None, None, Data::Right),
            (true, None, None, Data::Stale),
            (true, Some(record(1)), None, Data::Right),
            (false, Some(record(1)), None, Data::Right),
            (true, Some(record(2)), None, Data::Stale),
            (false, Some(record(2)), None, Data::Right),
            (true, Some(other_cluster), None, Data::Stale),
            (true, None, Some(1), Data::Right),
            (true, Some(record(2)), Some(1), Data::Right),
            (true, Some(record(1)), Some(2), Data::Stale),
            (true, None, Some(2), Data::Stale),
        ] {
            let judged = judge(data, recorded.as_ref(), running, &wanted);
            assert_eq!(judged, expected, "{data} {recorded:?} {running:?}");
        }
    }

    #[test]
    fn data_is_free_once_nobody_holds_it() {
        let root = tempfile::tempdir().unwrap();
        let database = root.path().join("db");
        assert_eq!(released(&database), Ok(()));
        let file = File::create(&database).unwrap();
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        assert_eq!(released(&database).unwrap_err().code, "etcd-running");
        drop(held);
        assert_eq!(released(&database), Ok(()));
    }

    #[test]
    fn reads_the_id_among_the_metrics() {
        let text =
            "# TYPE etcd_server_id gauge\netcd_server_id{server_id=\"8e9e05c52164694d\"} 1\n";
        assert_eq!(server_id(text), Some(0x8e9e_05c5_2164_694d));
        assert_eq!(server_id("etcd_server_version{}"), None);
    }
}
