//! Ends this node's API server ahead of its removal: it answers what is under way and tells open connections to go elsewhere. The rest of
//! the node goes on. The manifest waits beside kubeadm's own backups, where a reset removes it.

use super::claim;
use super::layout::Layout;
use super::ready::until;
use crate::context::{Context, Done, Outcome};
use crate::host::files;
use crate::kube::api;
use crate::kube::http::Connection;
use crate::paths::Paths;
use quorate_proto::v1::{Problem, StopServing};
use std::fs;
use std::time::Duration;

const MANIFEST: &str = "kube-apiserver.yaml";
/// The kubelet notices within 20 s and gives the pod 30 s.
const ENDS_WITHIN: Duration = Duration::from_secs(75);
/// A process that still listens answers at once.
const ANSWER: Duration = Duration::from_secs(2);

pub async fn run(context: &Context, order: &StopServing) -> Done {
    claim::require(context)?;
    context.say(format!("ending this node's API server: {}", order.reason));
    set_aside(&context.paths)?;
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
    .await?;
    Ok(Outcome::done())
}

/// One rename, so that a kill leaves the manifest in one place or the other.
fn set_aside(paths: &Paths) -> Result<(), Problem> {
    let layout = Layout::of(paths);
    let (from, folder) = (layout.manifests().join(MANIFEST), layout.kubernetes("tmp"));
    if !from.exists() {
        return Ok(());
    }
    files::make_folder(&folder, 0o700)?;
    fs::rename(&from, folder.join(MANIFEST)).map_err(|error| {
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
            set_aside(&paths).unwrap();
            assert!(!manifest.exists() && other.exists());
            let kept = files::read(&layout.kubernetes("tmp").join(MANIFEST)).unwrap();
            assert_eq!(kept, b"kind: Pod");
        }
    }
}
