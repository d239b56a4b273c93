//! What operators are shown of nodes that are dead, or that stopped their pods.

use crate::clock;
use crate::engine::agents::AgentState;
use crate::engine::records::ClusterRecord;
use quorate_planner::dead::{Dead, State};
use quorate_planner::facts::Facts;
use quorate_planner::intent::NodeName;
use quorate_planner::time::Time;
use quorate_proto::v1::Problem;
use std::collections::BTreeMap;

/// In `quorate status`.
pub fn detail(
    dead: &Dead,
    facts: &Facts,
    agent: Option<&AgentState>,
    node: &NodeName,
) -> Option<String> {
    let Some((_, state)) = dead.states.iter().find(|(name, _)| name == node) else {
        let stopped = agent.is_some_and(stopped);
        return stopped.then(|| "it stopped its pods, as nobody could see it".to_owned());
    };
    let silent = facts.node(node).life.silent_since.known();
    let silent = since(silent.copied().flatten());
    Some(match state {
        State::Silent => format!("its agent is silent{silent}"),
        State::Dead => format!("dead: agent, kubelet and etcd are silent{silent}"),
        State::OutOfService => {
            let out = facts.out_of_service.get(node).map(|it| it.since);
            format!(
                "dead: declared out of service, so that its pods move{}",
                since(out)
            )
        }
    })
}

/// In `quorate check`: with the cause and the next step.
pub fn findings(record: &ClusterRecord, agents: &BTreeMap<String, AgentState>) -> Vec<Problem> {
    let out = record.out_of_service.iter().map(|(node, out)| {
        let what = format!("{node} is out of service{}", since(Some(out.since)));
        Problem::new("node-dead", what)
            .at(node.clone())
            .because("its agent, its kubelet and its etcd fell silent")
            .next(format!(
                "start the machine: it is taken back by itself; or, if it is gone for good: quorate node remove {node} --dead"
            ))
    });
    let stopped = agents.iter().filter(|(_, agent)| stopped(agent));
    let stopped = stopped.map(|(node, _)| {
        Problem::new("node-isolated", format!("{node} has stopped its pods"))
            .at(node.clone())
            .because("the coordinator did not answer it and its lease could not be renewed, so that others may run them (deadNodes.policy)")
            .next(format!(
                "none if it is back in a moment; else look whether it reaches the API: on {node}: journalctl -u quorate-agent"
            ))
    });
    out.chain(stopped).collect()
}

/// By its own word; it says so again as soon as it is heard.
fn stopped(agent: &AgentState) -> bool {
    let report = agent.report.as_deref().filter(|_| agent.connected);
    let isolation = report.and_then(|it| it.isolation.as_ref());
    isolation.is_some_and(|it| it.stopped)
}

fn since(time: Option<Time>) -> String {
    let unix_ms = time.map(|it| i64::try_from(it.0).unwrap_or(i64::MAX));
    unix_ms.map_or_else(String::new, |it| format!(", since {}", clock::rfc3339(it)))
}
