//! The duty of nodes to stop their pods when nobody can see them: what they are told, and who has taken it on.
//!
//! A node counts as one that has it only when it has said so for these very terms, and on record: it may be silent ever after.

use super::agents::AgentState;
use super::records::{ClusterRecord, IsolationRecord};
use quorate_planner::dead;
use quorate_planner::intent::{Intent, NodeName};
use quorate_proto::v1::Isolation;
use std::collections::{BTreeMap, BTreeSet};

/// Of everybody, with a policy: silence has to be noticed in good time. A heartbeat is a few bytes.
const HEARTBEAT_MS: u32 = 1_000;

pub fn heartbeat_ms(intent: &Intent) -> u32 {
    match dead::acts(intent) {
        true => HEARTBEAT_MS,
        false => 0,
    }
}

/// What nodes are told; nothing where no terms were ever given.
pub fn told(record: &ClusterRecord) -> Option<Isolation> {
    let IsolationRecord {
        fence_ms,
        generation,
        ..
    } = record.isolation;
    (generation > 0).then_some(Isolation {
        fence_ms,
        generation,
        stopped: false,
    })
}

/// On the terms of the file as it is now.
pub fn armed(record: &ClusterRecord, intent: &Intent) -> BTreeSet<NodeName> {
    let known = &record.isolation;
    let current = dead::fence_ms(intent) == Some(known.fence_ms);
    let armed = known.armed.iter().filter(|_| current);
    armed.cloned().map(NodeName).collect()
}

/// What the record is to say, if it does not. Written before nodes are told.
pub fn next(
    record: &ClusterRecord,
    intent: &Intent,
    agents: &BTreeMap<String, AgentState>,
) -> Option<IsolationRecord> {
    let fence_ms = dead::fence_ms(intent).unwrap_or_default();
    let mut next = record.isolation.clone();
    if next.fence_ms != fence_ms {
        next = IsolationRecord {
            fence_ms,
            generation: next.generation + 1,
            ..IsolationRecord::default()
        };
    }
    let wanted = |name: &String| fence_ms > 0 && intent.nodes.iter().any(|it| it.name.0 == *name);
    next.armed.retain(wanted);
    for (name, agent) in agents.iter().filter(|(name, _)| wanted(name)) {
        // Of a node that is away stands what it said last.
        let Some(report) = agent.report.as_deref().filter(|_| agent.connected) else {
            continue;
        };
        let same = |it: &Isolation| (it.fence_ms, it.generation) == (fence_ms, next.generation);
        if report.isolation.as_ref().is_some_and(same) {
            next.armed.insert(name.clone());
        } else {
            next.armed.remove(name);
        }
    }
    (next != record.isolation).then_some(next)
}
