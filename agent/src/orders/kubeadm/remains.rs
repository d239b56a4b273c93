//! Takes a node's Kubernetes back to nothing: by kubeadm, then what kubeadm leaves behind, and all of it by hand where
//! kubeadm is gone or cannot. Never talks to the cluster and never touches etcd's membership.

use super::config::Config;
use super::layout::{BOOTSTRAP_KUBELET, ETCD_DATA, KUBECONFIGS, KUBELET, Layout, SUPER_ADMIN};
use super::phase::{judge, say_line};
use super::{CRI_SOCKET, firewall, kubelet};
use crate::context::Context;
use crate::host::tool::Tool;
use crate::host::{files, service};
use quorate_proto::v1::Problem;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// kubeadm stops each pod through the runtime, which gives it its grace period.
const RESET_LIMIT: Duration = Duration::from_secs(240);
const CONTAINER_LIMIT: Duration = Duration::from_secs(60);
/// Network plugins keep their configuration and their address leases here; a later cluster would take them for its own.
const NETWORK_FOLDERS: [&str; 2] = ["/etc/cni/net.d", "/var/lib/cni"];

pub async fn take_back(context: &Context) -> Result<(), Problem> {
    if let Err(problem) = kubelet::stop().await {
        context.say(format!("the kubelet cannot be stopped: {problem}"));
    }
    if let Err(problem) = kubeadm_reset(context).await {
        context.say(format!(
            "kubeadm cannot reset, going on without it: {problem}"
        ));
        remove_containers(context).await;
    }
    unmount_pods(context)?;
    remove_files(context)?;
    firewall::clean(context).await;
    Ok(())
}

/// With a kubeconfig that is not there, so that it asks no cluster, which may be gone and would be waited for.
async fn kubeadm_reset(context: &Context) -> Result<(), Problem> {
    let nowhere = context.paths.runtime().join("no-such.conf");
    let words = [
        "reset",
        "--force",
        "--cleanup-tmp-dir",
        "--skip-phases",
        "remove-etcd-member",
        "--cri-socket",
        CRI_SOCKET,
        "--kubeconfig",
        &nowhere.display().to_string(),
    ]
    .map(str::to_owned);
    let say = |line: &str| say_line(context, line);
    let output = Tool::new("kubeadm")
        .args(words)
        .timeout(RESET_LIMIT.min(context.time_left()))
        .on_line(&say)
        .run()
        .await?;
    judge(&["reset"], &output)?;
    // A runtime that does not answer is only a warning to kubeadm.
    match output.stderr.contains("Failed to remove containers") {
        true => Err(Problem::new(
            "kubeadm-failed",
            "kubeadm could not remove the containers",
        )),
        false => Ok(()),
    }
}

/// containerd's own tool, which comes with it.
async fn remove_containers(context: &Context) {
    if service::active_state("containerd.service").await.as_deref() != Ok("active") {
        let started = service::start("containerd.service").await;
        if started.is_err() {
            context
                .say("containerd does not run: containers that still run end with the next reboot");
            return;
        }
    }
    for (kind, remove) in [("tasks", &["rm", "--force"][..]), ("containers", &["rm"])] {
        let listed = Tool::new("ctr")
            .args(["--namespace", "k8s.io", kind, "ls", "--quiet"])
            .timeout(CONTAINER_LIMIT)
            .ok()
            .await;
        let Ok(listed) = listed else {
            context.say(
                "the containers cannot be listed: those that still run end with the next reboot",
            );
            return;
        };
        let names: Vec<&str> = listed.stdout.split_whitespace().collect();
        if names.is_empty() {
            continue;
        }
        let removed = Tool::new("ctr")
            .args(["--namespace", "k8s.io", kind])
            .args(remove.iter().copied())
            .args(names)
            .timeout(CONTAINER_LIMIT)
            .ok()
            .await;
        if let Err(problem) = removed {
            context.say(format!("some containers stay: {problem}"));
        }
    }
}

/// Volumes of pods are mounts below the kubelet's folder; removing files through them would remove the volumes' content.
fn unmount_pods(context: &Context) -> Result<(), Problem> {
    let table = files::read_text(Path::new("/proc/self/mountinfo"))?;
    for mount in mounts_below(&table, &context.paths.at(KUBELET)) {
        nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH).map_err(|error| {
            Problem::new("mount", format!("cannot unmount a pod's volume: {error}"))
                .at(mount.display().to_string())
        })?;
    }
    Ok(())
}

/// Deepest first; the folder itself, which may be a disk of its own, stays.
fn mounts_below(table: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(folder) && path != folder)
        .collect();
    found.sort();
    found.reverse();
    found
}

fn remove_files(context: &Context) -> Result<(), Problem> {
    let paths = &context.paths;
    let layout = Layout::of(paths);
    for name in KUBECONFIGS.iter().chain([&SUPER_ADMIN, &BOOTSTRAP_KUBELET]) {
        files::remove(&layout.kubernetes(name))?;
    }
    files::remove(&layout.member_record())?;
    files::remove_tree(&layout.staged_pki())?;
    files::remove_tree(&paths.runtime().join("kubeadm"))?;
    let folders = [layout.manifests(), layout.pki(), layout.kubernetes("tmp")];
    let others = [KUBELET, ETCD_DATA].into_iter().chain(NETWORK_FOLDERS);
    for folder in folders.into_iter().chain(others.map(|it| paths.at(it))) {
        empty(&folder)?;
    }
    if let Some(data) = own_etcd_data(context) {
        files::remove_tree(&paths.at(&data).join("member"))?;
    }
    Ok(())
}

/// Where the user's documents put etcd's data, if anywhere else.
fn own_etcd_data(context: &Context) -> Option<String> {
    let (cluster, node) = (context.cluster().ok()?, context.node().ok()?);
    let config = Config::build(cluster, node).ok()?;
    Some(config.etcd_data().to_owned()).filter(|data| data != ETCD_DATA)
}

/// Removes all that is in the folder; the folder may be a mount point.
fn empty(folder: &Path) -> Result<(), Problem> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(
                Problem::new("file", format!("cannot list a folder: {error}"))
                    .at(folder.display().to_string()),
            );
        }
    };
    for entry in entries.flatten() {
        // A link to a folder is removed as the link that it is.
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => files::remove_tree(&entry.path())?,
            false => files::remove(&entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::write_atomic;

    #[test]
    fn unmounts_the_deepest_first_and_never_the_folder_itself() {
        let table = "\
21 1 0:20 / /var/lib/kubelet rw - ext4 /dev/vdb rw
22 1 0:21 / /var/lib/kubelet/pods/a rw - tmpfs tmpfs rw
23 1 0:22 / /var/lib/kubelet/pods/a/b\\040c rw - tmpfs tmpfs rw
24 1 0:23 / /var/lib/kubelet-other rw - tmpfs tmpfs rw
25 1 0:24 / / rw - overlay overlay rw
";
        let found = mounts_below(table, Path::new("/var/lib/kubelet"));
        let expected = ["/var/lib/kubelet/pods/a/b c", "/var/lib/kubelet/pods/a"];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn empties_without_following_links() {
        let root = tempfile::tempdir().unwrap();
        let keep = root.path().join("keep/file");
        write_atomic(&keep, b"x", 0o600).unwrap();
        let folder = root.path().join("folder");
        write_atomic(&folder.join("sub/file"), b"x", 0o600).unwrap();
        std::os::unix::fs::symlink(root.path().join("keep"), folder.join("link")).unwrap();
        empty(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(keep.exists());
        empty(&root.path().join("missing")).unwrap();
    }
}
