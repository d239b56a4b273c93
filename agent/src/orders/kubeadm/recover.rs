//! Makes this control plane's etcd the only member of its cluster, from its own data or from a snapshot that lies here: see
//! [`crate::orders::etcd::recover`], which does the same where etcd is a unit.
//!
//! All static pods of the control plane end first: what they remember of the cluster may be of later than what is left. Their manifests
//! wait where [`super::stop`] puts them. A record says how far each recovery has come, so that a second delivery forces nothing anew.

use super::config::Config;
use super::etcd_pod::{self, Start};
use super::layout::Layout;
use super::{claim, etcd_tool, member, ready, stop};
use crate::context::{Context, Done, Outcome};
use crate::etcd::{EtcdAccess, EtcdClient};
use crate::host::files;
use crate::orders::etcd::recover::{alone, checked};
use crate::orders::snapshot::restore::{self, Member};
use crate::paths::Paths;
use quorate_proto::v1::{Problem, RecoverMember};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One answer of a member on this machine.
const CALL_WITHIN: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// The data is what is to be gone on with; each start with force makes a cluster of one of it.
    Placed,
    /// It was seen to be the only member: never forced again.
    Alone,
    Done,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    recovery: String,
    stage: Stage,
}

pub async fn run(context: &Context, order: &RecoverMember) -> Done {
    claim::require(context)?;
    let recovery = checked(&order.recovery)?;
    let config = Config::build(context.cluster()?, context.node()?)?;
    let paths = &context.paths;
    if stage(paths, recovery)?.is_none() {
        place(context, &config, order).await?;
        record(paths, recovery, Stage::Placed)?;
    }
    let own = etcd_pod::own_member(&manifest(paths)?)?;
    if stage(paths, recovery)? == Some(Stage::Placed) {
        context.say("starting etcd as the only member of its cluster");
        let start = match order.snapshot.is_empty() {
            true => Start::Forced,
            false => Start::Settled,
        };
        write_manifest(paths, start)?;
        member::healthy(context, &config).await?;
        let client = EtcdClient::new(&EtcdAccess::required(paths)?, CALL_WITHIN);
        alone(&client, &own.peer_url).await?;
        record(paths, recovery, Stage::Alone)?;
    }
    if stage(paths, recovery)? == Some(Stage::Alone) {
        unforce(context, &config).await?;
        member::healthy(context, &config).await?;
        stop::put_back(paths)?;
        context.say("starting the API server");
        ready::api(context).await?;
        record(paths, recovery, Stage::Done)?;
    }
    Ok(Outcome::done())
}

/// Everything up to the data, of which each part may be done again.
async fn place(context: &Context, config: &Config, order: &RecoverMember) -> Result<(), Problem> {
    let paths = &context.paths;
    let restoring = match order.snapshot.is_empty() {
        true => None,
        false => {
            let cluster = &context.cluster()?.id;
            let info = restore::of_shelf(paths, cluster, &order.snapshot)?;
            let image = etcd_pod::image(&manifest(paths)?)?;
            Some((info, etcd_tool::restorer(paths, &image).await?))
        }
    };
    stop::all(context, config).await?;
    let (data, aside) = (
        paths.at(config.etcd_data()),
        aside(paths, config, &order.recovery),
    );
    context.say(format!("keeping the data of before in {}", aside.display()));
    match restoring {
        None => restore::keep_copy(&data, &aside),
        Some((info, restorer)) => {
            context.say(format!(
                "restoring snapshot {} at revision {}",
                info.id, info.revision
            ));
            let own = etcd_pod::own_member(&manifest(paths)?)?;
            let member = Member {
                name: &own.name,
                peer_url: &own.peer_url,
                token: &format!("{}-{}", context.cluster()?.id, order.recovery),
            };
            restore::swap(&data, &aside, async |folder: &Path| {
                let file = Path::new(&info.place);
                restorer.restore(file, &member, folder).await
            })
            .await?;
            etcd_tool::forgotten(paths)
        }
    }
}

/// Inside of the data folder, which often is a disk of its own; etcd takes no notice of it.
fn aside(paths: &Paths, config: &Config, recovery: &str) -> PathBuf {
    paths
        .at(config.etcd_data())
        .join(format!("before-{recovery}"))
}

/// Where it waits, or in its place.
fn manifest(paths: &Paths) -> Result<String, Problem> {
    let layout = Layout::of(paths);
    let waiting = stop::waiting(paths, etcd_pod::MANIFEST);
    match files::read_optional(&waiting)? {
        Some(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        None => files::read_text(&layout.etcd_manifest()),
    }
}

fn write_manifest(paths: &Paths, start: Start) -> Result<(), Problem> {
    let text = etcd_pod::starting(&manifest(paths)?, start)?;
    let file = Layout::of(paths).etcd_manifest();
    files::write_if_changed(&file, text.as_bytes(), 0o600)?;
    files::remove(&stop::waiting(paths, etcd_pod::MANIFEST))
}

/// Until it runs without force: the pod ends before its manifest comes back, so that what answers afterwards is the new one.
async fn unforce(context: &Context, config: &Config) -> Result<(), Problem> {
    let paths = &context.paths;
    let file = Layout::of(paths).etcd_manifest();
    if file.exists() && !etcd_pod::is_forced(&files::read_text(&file)?) {
        return Ok(());
    }
    stop::set_aside(paths, etcd_pod::MANIFEST)?;
    member::stopped(context, config).await?;
    write_manifest(paths, Start::Settled)
}

fn record_file(paths: &Paths) -> PathBuf {
    paths.state().join("kubeadm-recovery.json")
}

fn stage(paths: &Paths, recovery: &str) -> Result<Option<Stage>, Problem> {
    let bytes = files::read_optional(&record_file(paths))?;
    let record: Option<Record> = bytes.and_then(|it| serde_json::from_slice(&it).ok());
    Ok(record
        .filter(|it| it.recovery == recovery)
        .map(|it| it.stage))
}

fn record(paths: &Paths, recovery: &str, stage: Stage) -> Result<(), Problem> {
    let record = Record {
        recovery: recovery.to_owned(),
        stage,
    };
    let bytes = serde_json::to_vec(&record)
        .map_err(|error| Problem::new("recovery-record", error.to_string()))?;
    files::write_atomic(&record_file(paths), &bytes, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recovery_has_a_record_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        assert_eq!(stage(&paths, "a").unwrap(), None);
        for at in [Stage::Placed, Stage::Alone, Stage::Done] {
            record(&paths, "a", at).unwrap();
            assert_eq!(stage(&paths, "a").unwrap(), Some(at));
            assert_eq!(stage(&paths, "b").unwrap(), None);
        }
        files::write_atomic(&record_file(&paths), b"{", 0o600).unwrap();
        assert_eq!(stage(&paths, "a").unwrap(), None);
    }

    /// A kill between the two effects, and a second delivery.
    #[test]
    fn the_manifest_comes_back_from_where_it_waits() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let (file, waiting) = (
            Layout::of(&paths).etcd_manifest(),
            stop::waiting(&paths, etcd_pod::MANIFEST),
        );
        files::write_atomic(&file, etcd_pod::SAMPLE.as_bytes(), 0o600).unwrap();
        for start in [Start::Forced, Start::Forced, Start::Settled] {
            stop::set_aside(&paths, etcd_pod::MANIFEST).unwrap();
            assert!(!file.exists() && waiting.exists());
            write_manifest(&paths, start).unwrap();
            let text = files::read_text(&file).unwrap();
            assert_eq!(etcd_pod::is_forced(&text), start == Start::Forced);
            assert!(!waiting.exists());
            // Written, and not removed where it waited.
            files::write_atomic(&waiting, text.as_bytes(), 0o600).unwrap();
            write_manifest(&paths, start).unwrap();
            assert!(!waiting.exists());
        }
    }
}
