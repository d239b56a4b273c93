//! Ends this node's API server ahead of its removal: it answers what is under way and tells open connections to go elsewhere. The rest of
//! the node goes on. The manifest waits beside kubeadm's own backups, where a reset removes it. For a recovery all of the control plane
//! ends, etcd too, and stays down over a reboot.

use super::config::Config;
use super::layout::Layout;
use super::ready::until;
use super::{claim, etcd_pod, member};
use crate::context::{Context, Done, Outcome};
use crate::host::files;
use crate::kube::api;
use crate::kube::http::Connection;
use crate::paths::Paths;
use quorate_proto::v1::{Problem, StopServing};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const MANIFEST: &str = "kube-apiserver.yaml";
/// What calls etcd, or remembers what it has read there.
const CLIENTS: [&str; 3] = [
    MANIFEST,
    "kube-controller-manager.yaml",
    "kube-scheduler.yaml",
];
/// The kubelet notices within 20 s and gives the pod 30 s.
const ENDS_WITHIN: Duration = Duration::from_secs(75);
/// A process that still listens answers at once.
const ANSWER: Duration = Duration::from_secs(2);

pub async fn run(context: &Context, order: &StopServing) -> Done {
    claim::require(context)?;
    if order.for_good {
        context.say(format!("ending this control plane: {}", order.reason));
        let config = Config::build(context.cluster()?, context.node()?)?;
        all(context, &config).await?;
        return Ok(Outcome::done());
    }
    context.say(format!("ending this node's API server: {}", order.reason));
    set_aside(&context.paths, MANIFEST)?;
    ended(context).await?;
    Ok(Outcome::done())
}

/// Until nothing of the control plane runs here, and etcd has let its data go.
pub async fn all(context: &Context, config: &Config) -> Result<(), Problem> {
    for manifest in CLIENTS {
        set_aside(&context.paths, manifest)?;
    }
    ended(context).await?;
    set_aside(&context.paths, etcd_pod::MANIFEST)?;
    member::stopped(context, config).await
}

/// All but etcd, which comes back first and otherwise than it was.
pub fn put_back(paths: &Paths) -> Result<(), Problem> {
    for manifest in CLIENTS {
        let from = waiting(paths, manifest);
        if from.exists() {
            files::rename(&from, &Layout::of(paths).manifests().join(manifest))?;
        }
    }
    Ok(())
}

async fn ended(context: &Context) -> Result<(), Problem> {
    let target = api::target(&context.paths)?;
    let what = "this node's API server to end";
    until(
        context,
        what,
        ENDS_WITHIN,
        async || match Connection::open(&target, ANSWER).await {
            Err(_) => Ok(()),
            Ok(_) => Err(Problem::new("api-still-serves", "it still answers").at(target.url())),
        },
    )
    .await
}

/// Where a manifest waits.
pub fn waiting(paths: &Paths, manifest: &str) -> PathBuf {
    Layout::of(paths).kubernetes("tmp").join(manifest)
}

/// One rename, so that a kill leaves the manifest in one place or the other.
pub fn set_aside(paths: &Paths, manifest: &str) -> Result<(), Problem> {
    let layout = Layout::of(paths);
    let from = layout.manifests().join(manifest);
    if !from.exists() {
        return Ok(());
    }
    files::make_folder(&layout.kubernetes("tmp"), 0o700)?;
    fs::rename(&from, waiting(paths, manifest)).map_err(|error| {
        Problem::new("file", format!("cannot set a manifest aside: {error}"))
            .at(from.display().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_is_set_aside_once_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let layout = Layout::of(&paths);
        let (manifest, other) = (
            layout.manifests().join(MANIFEST),
            layout.manifests().join("etcd.yaml"),
        );
        for file in [&manifest, &other] {
            files::write_atomic(file, b"kind: Pod", 0o600).unwrap();
        }
        // Twice: a second delivery, or one after a kill.
        for _ in 0..2 {
            set_aside(&paths, MANIFEST).unwrap();
            assert!(!manifest.exists() && other.exists());
            let kept = files::read(&layout.kubernetes("tmp").join(MANIFEST)).unwrap();
            assert_eq!(kept, b"kind: Pod");
        }
        for _ in 0..2 {
            put_back(&paths).unwrap();
            assert_eq!(files::read(&manifest).unwrap(), b"kind: Pod");
            assert!(!waiting(&paths, MANIFEST).exists() && other.exists());
        }
    }
}
