//! Container images from archives, so that no registry is needed when the node joins.

use super::fetch::Fetches;
use super::packages::of_kind;
use crate::context::Context;
use crate::host::service;
use crate::host::tool::Tool;
use quorate_proto::v1::{ArtifactKind, ArtifactRef, Problem};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Unpacking is bound by the disk: more at once is slower.
const AT_ONCE: usize = 2;
/// A gigabyte on a slow disk.
const IMPORT: Duration = Duration::from_secs(600);
const PINNED: &str = "io.cri-containerd.pinned=pinned";
/// What only a member of the control plane runs.
const CONTROL_PLANE: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "etcd",
];

/// The archives that this node needs and does not hold yet.
pub fn needed(
    artifacts: &[ArtifactRef],
    member: bool,
    there: &BTreeSet<String>,
) -> Vec<ArtifactRef> {
    of_kind(artifacts, ArtifactKind::Image)
        .filter(|archive| member || !control_plane_only(archive))
        .filter(|archive| {
            archive.images.is_empty() || !archive.images.iter().all(|image| there.contains(image))
        })
        .cloned()
        .collect()
}

fn control_plane_only(archive: &ArtifactRef) -> bool {
    let of_control_plane = |image: &String| CONTROL_PLANE.contains(&base_name(image));
    !archive.images.is_empty() && archive.images.iter().all(of_control_plane)
}

/// `registry.k8s.io/etcd:3.5.24-0` and `...@sha256:...` are `etcd`.
fn base_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(['@', ':']).next().unwrap_or(last)
}

/// The tags that containerd lists; empty when it does not run, as before it is installed.
pub async fn listed() -> BTreeSet<String> {
    // Asked first, as ctr waits ten seconds for a socket that is not there.
    let state = service::active_state("containerd.service").await;
    if !state.is_ok_and(|state| state == "active") {
        return BTreeSet::new();
    }
    match ctr(&["images", "ls", "-q"]).run().await {
        Ok(output) if output.success() => output.stdout.lines().map(str::to_owned).collect(),
        Ok(_) | Err(_) => BTreeSet::new(),
    }
}

fn ctr(arguments: &[&str]) -> Tool<'static> {
    Tool::new("ctr")
        .args(["--namespace", "k8s.io"])
        .args(arguments.iter().copied())
}

/// Each import starts as soon as its archive is here; afterwards every tag must be listed.
pub async fn bring(
    context: &Context,
    needed: &[ArtifactRef],
    fetches: &mut Fetches,
) -> Result<(), Problem> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut imports = JoinSet::new();
    for archive in needed {
        let path = fetches.take(archive).await?;
        let turn = gate.clone().acquire_owned().await.map_err(stopped)?;
        let name = archive.name.clone();
        imports.spawn(async move {
            let imported = import(&name, path).await;
            drop(turn);
            imported.map(|()| name)
        });
    }
    while let Some(import) = imports.join_next().await {
        let name = import.map_err(stopped)??;
        context.say(format!("imported the images of {name}"));
    }
    if needed.is_empty() {
        return Ok(());
    }
    verify(needed, &listed().await)?;
    pin(needed).await
}

/// A kubelet that runs out of disk deletes images that nothing runs just then, the sandbox's among them, and where there is no
/// registry they are gone for good. It leaves pinned ones (containerd 1.7 and later).
async fn pin(archives: &[ArtifactRef]) -> Result<(), Problem> {
    for image in archives.iter().flat_map(|archive| &archive.images) {
        ctr(&["images", "label", image, PINNED]).ok().await?;
    }
    Ok(())
}

async fn import(name: &str, path: PathBuf) -> Result<(), Problem> {
    ctr(&["images", "import"])
        .arg(path.display().to_string())
        .timeout(IMPORT)
        .ok()
        .await
        .map(|_| ())
        .map_err(|problem| {
            Problem { code: "image-import".into(), ..problem }
                .at(name)
                .because("the archive is no OCI or Docker archive of this machine's architecture, or the disk is full")
                .next("check the archive with `ctr images import` on a machine with containerd and add it again")
        })
}

fn verify(needed: &[ArtifactRef], there: &BTreeSet<String>) -> Result<(), Problem> {
    let wanted = needed.iter().flat_map(|archive| &archive.images);
    let absent: Vec<&str> = wanted
        .filter(|image| !there.contains(*image))
        .map(String::as_str)
        .collect();
    if absent.is_empty() {
        return Ok(());
    }
    let absent = absent.join(", ");
    Err(Problem::new(
        "image-absent",
        format!("imported, but not listed: {absent}"),
    )
    .at("containerd")
    .because("the artifact was added under other tags than its archive holds")
    .next("list the archive's tags and add it again with these"))
}

fn stopped(reason: impl std::fmt::Display) -> Problem {
    Problem::new("image-import", format!("the import was stopped: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str, images: &[&str]) -> ArtifactRef {
        ArtifactRef {
            name: name.into(),
            kind: ArtifactKind::Image as i32,
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            ..ArtifactRef::default()
        }
    }

    #[test]
    fn only_what_this_node_runs_and_lacks() {
        let artifacts = [
            archive("api", &["registry.k8s.io/kube-apiserver:v1.33.13"]),
            archive("etcd", &["localhost:5000/etcd:3.5.24-0"]),
            archive("etcd-digest", &["registry.k8s.io/etcd@sha256:00"]),
            archive("pause", &["registry.k8s.io/pause:3.10"]),
            archive(
                "all",
                &["registry.k8s.io/etcd:1", "registry.k8s.io/kube-proxy:1"],
            ),
            archive("untold", &[]),
            ArtifactRef {
                name: "program".into(),
                ..archive("x", &[])
            },
        ];
        let mut artifacts = artifacts;
        artifacts[6].kind = ArtifactKind::Binary as i32;
        type Row<'a> = (bool, &'a [&'a str], &'a [&'a str]);
        let table: [Row; 3] = [
            (
                true,
                &[],
                &["api", "etcd", "etcd-digest", "pause", "all", "untold"],
            ),
            (false, &[], &["pause", "all", "untold"]),
            (
                false,
                &["registry.k8s.io/pause:3.10", "registry.k8s.io/etcd:1"],
                &["all", "untold"],
            ),
        ];
        for (member, there, expected) in table {
            let there = there.iter().map(|image| (*image).to_owned()).collect();
            let needed = needed(&artifacts, member, &there);
            let names: Vec<&str> = needed.iter().map(|archive| archive.name.as_str()).collect();
            assert_eq!(names, expected, "member {member}");
        }
    }

    #[test]
    fn a_tag_that_did_not_arrive_is_named() {
        let needed = [archive("pause", &["a:1", "b:2"])];
        let there = BTreeSet::from(["a:1".to_owned()]);
        let problem = verify(&needed, &there).expect_err("b is absent");
        assert!(problem.what.contains("b:2"), "{problem}");
        assert!(!problem.what.contains("a:1"), "{problem}");
    }
}
