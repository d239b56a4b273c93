//! Stops what the kubelet runs on this node, and lets it run again. Static pods go on: nobody takes them over, and etcd is safe by its
//! own quorum. Everything here is safe to be cut short and done again.

use super::terms;
use crate::host::service;
use crate::host::tool::{Output, Tool};
use crate::paths::Paths;
use quorate_proto::v1::Problem;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

const KUBELET: &str = "kubelet.service";
/// The kubelet has nothing to wait for when it stops; one that hangs is killed.
const KUBELET_STOPS: Duration = Duration::from_millis(1_500);
/// One look, or one signal.
const CTR: Duration = Duration::from_secs(2);
/// Signals at once: each is a process of its own, of some 20 MiB, and ends within a twentieth of a second.
const AT_ONCE: usize = 8;

/// In this order: nobody starts the kubelet any more, it stops, and so nobody starts its containers any more, which are killed.
pub async fn stop(paths: &Paths, node: &str) -> Result<(), Problem> {
    terms::forbid(paths)?;
    stop_kubelet().await?;
    kill_all(&victims(paths, node).await?).await
}

/// Only after [`terms::allow`] does the kubelet of a worker start.
pub async fn start(paths: &Paths) -> Result<(), Problem> {
    terms::allow(paths)?;
    // A node that has left its cluster has nothing to run.
    match paths.kubernetes().join("kubelet.conf").exists() {
        true => service::start(KUBELET).await,
        false => Ok(()),
    }
}

pub async fn remains(paths: &Paths, node: &str) -> bool {
    let stopped = service::active_state(KUBELET).await;
    let stopped = stopped.is_ok_and(|it| matches!(it.as_str(), "inactive" | "failed"));
    !stopped || !victims(paths, node).await.is_ok_and(|it| it.is_empty())
}

async fn stop_kubelet() -> Result<(), Problem> {
    let stop = Tool::new("systemctl").args(["stop", KUBELET]);
    if stop.timeout(KUBELET_STOPS).ok().await.is_ok() {
        return Ok(());
    }
    let kill = ["kill", "--kill-whom=main", "--signal=KILL", KUBELET];
    Tool::new("systemctl")
        .args(kill)
        .timeout(KUBELET_STOPS)
        .ok()
        .await
        .map(drop)
}

/// Every container of a pod that runs, but those of static pods.
async fn victims(paths: &Paths, node: &str) -> Result<BTreeSet<String>, Problem> {
    let mut running = running(&ctr(&["tasks", "ls"]).ok().await?.stdout);
    for (namespace, name) in static_pods(paths) {
        let filter = format!(
            "labels.\"io.kubernetes.pod.namespace\"=={namespace},labels.\"io.kubernetes.pod.name\"=={name}-{node}"
        );
        let ours = ctr(&["containers", "ls", "-q", &filter]).ok().await?.stdout;
        for id in ours.lines() {
            running.remove(id.trim());
        }
    }
    Ok(running)
}

fn of(ended: Result<Result<Output, Problem>, JoinError>) -> Option<Problem> {
    match ended {
        Ok(ended) => ended.err(),
        Err(error) => Some(Problem::new("tool-failed", error.to_string()).at("ctr")),
    }
}

/// Side by side: they have the same few seconds.
async fn kill_all(ids: &BTreeSet<String>) -> Result<(), Problem> {
    let mut kills = JoinSet::new();
    let mut failed = None;
    for id in ids {
        if kills.len() >= AT_ONCE {
            failed = failed.or(kills.join_next().await.and_then(of));
        }
        let kill = ctr(&["tasks", "kill", "--all", "--signal", "SIGKILL", id]);
        kills.spawn(async move { kill.ok().await });
    }
    while let Some(ended) = kills.join_next().await {
        failed = failed.or(of(ended));
    }
    // One that has ended meanwhile is an error too: whether any is left is looked at next.
    failed.map_or(Ok(()), Err)
}

fn ctr(arguments: &[&str]) -> Tool<'static> {
    Tool::new("ctr")
        .args(["--namespace", "k8s.io"])
        .args(arguments.iter().copied())
        .timeout(CTR)
}

/// Of the table TASK, PID, STATUS: everything that is not over.
fn running(table: &str) -> BTreeSet<String> {
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (id, status) = (words.next()?, words.nth(1)?);
        (status != "STOPPED").then(|| id.to_owned())
    });
    rows.collect()
}

/// Namespace and name of what lies in the kubelet's folder of manifests.
fn static_pods(paths: &Paths) -> Vec<(String, String)> {
    let folder = std::fs::read_dir(paths.kubernetes().join("manifests"));
    let files = folder.into_iter().flatten().flatten();
    files
        .filter_map(|file| {
            let text = std::fs::read_to_string(file.path()).ok()?;
            let pod: serde_json::Value = serde_saphyr::from_str(&text).ok()?;
            let name = pod["metadata"]["name"].as_str()?.to_owned();
            let namespace = pod["metadata"]["namespace"].as_str().unwrap_or("default");
            Some((namespace.to_owned(), name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_by_ctrs_table() {
        let table = "TASK    PID    STATUS    \nab1     12     RUNNING\ncd2     0      STOPPED\nef3     13     PAUSED\n";
        assert_eq!(
            running(table),
            BTreeSet::from(["ab1".to_owned(), "ef3".to_owned()])
        );
        assert!(running("TASK    PID    STATUS    \n").is_empty());
        assert!(running("").is_empty());
    }

    #[test]
    fn static_pods_are_known_by_their_files() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        assert!(static_pods(&paths).is_empty());
        let folder = paths.kubernetes().join("manifests");
        std::fs::create_dir_all(&folder).unwrap();
        let etcd = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: etcd\n  namespace: kube-system\n";
        std::fs::write(folder.join("etcd.yaml"), etcd).unwrap();
        std::fs::write(folder.join("notes"), "\0").unwrap();
        assert_eq!(
            static_pods(&paths),
            [("kube-system".to_owned(), "etcd".to_owned())]
        );
    }
}
