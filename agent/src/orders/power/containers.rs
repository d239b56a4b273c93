//! Ends containers as the end of a machine would, but in order: workloads, then the API server, then etcd. By containerd's own tool,
//! which comes with it. The kubelet is down already, so that none comes back. The pods' sandboxes, which only hold their networks,
//! stay.

use crate::context::Context;
use crate::host::tool::Tool;
use quorate_proto::v1::Problem;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A pod's grace period, unless its author set another: the kubelet, which would know, is down.
const GRACE: Duration = Duration::from_secs(30);
/// After a signal that cannot be ignored.
const KILLED_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(500);
const CALL: Duration = Duration::from_secs(20);

/// What ends together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Workloads,
    ApiServer,
    Etcd,
}

impl Stage {
    pub const ALL: [Stage; 3] = [Stage::Workloads, Stage::ApiServer, Stage::Etcd];

    fn filter(self) -> String {
        let kind = "labels.\"io.cri-containerd.kind\"==container";
        let name = "labels.\"io.kubernetes.container.name\"";
        match self {
            Stage::Workloads => format!("{kind},{name}!=kube-apiserver,{name}!=etcd"),
            Stage::ApiServer => format!("{kind},{name}==kube-apiserver"),
            Stage::Etcd => format!("{kind},{name}==etcd"),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Stage::Workloads => "workloads",
            Stage::ApiServer => "the API server",
            Stage::Etcd => "etcd",
        }
    }
}

pub async fn end(context: &Context, stage: Stage) -> Result<(), Problem> {
    let begun = running(stage).await?;
    if begun.is_empty() {
        return Ok(());
    }
    context.say(format!(
        "stopping {}: {} containers",
        stage.words(),
        begun.len()
    ));
    signal(&begun, "SIGTERM").await;
    let left = wait(stage, GRACE.min(context.time_left())).await?;
    if left.is_empty() {
        return Ok(());
    }
    context.say(format!(
        "killing {} containers that have not ended within {} s",
        left.len(),
        GRACE.as_secs()
    ));
    signal(&left, "SIGKILL").await;
    let left = wait(stage, KILLED_WITHIN.min(context.time_left())).await?;
    if left.is_empty() {
        return Ok(());
    }
    Err(Problem::new(
        "containers-stay",
        format!("{} containers do not end", left.len()),
    )
    .at(left.into_iter().collect::<Vec<_>>().join(", "))
    .because("their processes wait for a disk or a network file system")
    .next("look at them: ctr --namespace k8s.io tasks ls; it is tried again"))
}

/// What is left of the stage at the end of this time.
async fn wait(stage: Stage, within: Duration) -> Result<BTreeSet<String>, Problem> {
    let since = Instant::now();
    loop {
        let left = running(stage).await?;
        if left.is_empty() || since.elapsed() >= within {
            return Ok(left);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn running(stage: Stage) -> Result<BTreeSet<String>, Problem> {
    let filter = stage.filter();
    let listed = ctr(&["containers", "ls", "--quiet", &filter]).await?;
    let tasks = ctr(&["tasks", "ls"]).await?;
    let running = alive(&tasks);
    Ok(listed
        .split_whitespace()
        .filter(|id| running.contains(*id))
        .map(str::to_owned)
        .collect())
}

/// One that has ended meanwhile is what was wanted; what is left is counted afterwards.
async fn signal(containers: &BTreeSet<String>, signal: &str) {
    for id in containers {
        if let Err(problem) = ctr(&["tasks", "kill", "--signal", signal, id]).await {
            tracing::debug!(%problem, %id, "a container was not signalled");
        }
    }
}

async fn ctr(words: &[&str]) -> Result<String, Problem> {
    let output = Tool::new("ctr")
        .args(["--namespace", "k8s.io"])
        .args(words.iter().copied())
        .timeout(CALL)
        .ok()
        .await?;
    Ok(output.stdout)
}

/// From the table of tasks: TASK, PID, STATUS. A state that is not known counts as alive.
fn alive(table: &str) -> BTreeSet<&str> {
    let rows = table.lines().skip(1);
    rows.filter_map(|row| {
        let mut words = row.split_whitespace();
        let (id, _pid, state) = (words.next()?, words.next()?, words.next()?);
        (state != "STOPPED").then_some(id)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_not_stopped_is_alive() {
        let table = "TASK    PID     STATUS    \naa      123     RUNNING\nbb      124     STOPPED\ncc      0       UNKNOWN\n";
        assert_eq!(alive(table), ["aa", "cc"].into());
        assert_eq!(alive("TASK PID STATUS\n"), BTreeSet::new());
    }

    #[test]
    fn every_container_is_of_one_stage() {
        let of = |name: &str| {
            let holds = |part: &str| match part.split_once("!=") {
                Some((_, other)) => other != name,
                None => part
                    .split_once("==")
                    .is_some_and(|(_, it)| it == name || it == "container"),
            };
            let takes = |stage: &&Stage| stage.filter().split(',').all(holds);
            let all: Vec<Stage> = Stage::ALL.iter().filter(takes).copied().collect();
            all
        };
        assert_eq!(of("etcd"), [Stage::Etcd]);
        assert_eq!(of("kube-apiserver"), [Stage::ApiServer]);
        assert_eq!(of("kube-scheduler"), [Stage::Workloads]);
        assert_eq!(of("web"), [Stage::Workloads]);
    }
}
