//! The tool that restores snapshots, of the very version that runs here: out of the image of etcd's static pod.

use crate::host::files;
use crate::host::tool::Tool;
use crate::orders::snapshot::restore::Restorer;
use crate::paths::Paths;
use quorate_proto::v1::Problem;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Mounting an image unpacks nothing: it is unpacked already.
const MOUNT_LIMIT: Duration = Duration::from_secs(60);
/// In the image; since etcd 3.5 the first restores, before that the second.
const PROGRAMS: [&str; 2] = ["etcdutl", "etcdctl"];
const FOLDER: &str = "usr/local/bin";

/// Lies on the disk until it is [`forgotten`]: a runtime folder may not hold programs.
pub async fn restorer(paths: &Paths, image: &str) -> Result<Restorer, Problem> {
    let folder = folder(paths);
    files::remove_tree(&folder)?;
    files::make_folder(&folder, 0o700)?;
    let target = paths.state().join("etcd-image");
    files::make_folder(&target, 0o700)?;
    let mount = target.display().to_string();
    ctr(&["images", "mount", image, &mount]).ok().await?;
    let copied = copy(&target.join(FOLDER), &folder);
    let unmounted = ctr(&["images", "unmount", "--rm", &mount]).ok().await;
    let programs = copied?;
    unmounted?;
    files::remove_tree(&target)?;
    Restorer::find(&programs).await
}

pub fn forgotten(paths: &Paths) -> Result<(), Problem> {
    files::remove_tree(&folder(paths))
}

fn folder(paths: &Paths) -> PathBuf {
    paths.state().join("etcd-tool")
}

fn copy(from: &Path, to: &Path) -> Result<Vec<PathBuf>, Problem> {
    let mut programs = Vec::new();
    for program in PROGRAMS {
        let (source, target) = (from.join(program), to.join(program));
        if source.exists() {
            std::fs::copy(&source, &target).map_err(|error| {
                Problem::new("file", format!("cannot copy etcd's tool: {error}"))
                    .at(source.display().to_string())
            })?;
            programs.push(target);
        }
    }
    Ok(programs)
}

fn ctr(arguments: &[&str]) -> Tool<'static> {
    Tool::new("ctr")
        .args(["--namespace", "k8s.io"])
        .args(arguments.iter().copied())
        .timeout(MOUNT_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_image_has_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let (from, to) = (root.path().join("image"), folder(&paths));
        files::write_atomic(&from.join("etcdctl"), b"x", 0o700).unwrap();
        files::make_folder(&to, 0o700).unwrap();
        assert_eq!(copy(&from, &to).unwrap(), [to.join("etcdctl")]);
        for _ in 0..2 {
            forgotten(&paths).unwrap();
            assert!(!to.exists());
        }
    }
}
