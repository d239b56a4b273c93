//! A quorum that is lost for good is given up on the operator's word: one survivor becomes the only member of its cluster. Likewise
//! a cluster goes back to a snapshot: the member that holds it is put back to it and becomes the only one.
//!
//! ```text
//!   every other member is stopped, or said to be gone ─> the survivor forms a cluster of one ─> complete
//! ```
//!
//! The slot is held from the word to the end, so that nobody is added meanwhile. What follows is a join like any other: the others
//! that live are reset first.

use crate::facts::{Facts, MemberList, Observed};
use crate::intent::{Intent, NodeName};
use crate::membership::{held_back, underway};
use crate::step::{Membership, MembershipStep, SideStep, StepKind};
use crate::time::Time;
use crate::waiting::WaitingOn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The operator's word, and what is done of it that no observation tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The agent makes a cluster of one only once for each.
    pub id: String,
    /// Whose data becomes the cluster's.
    pub node: NodeName,
    /// It is put back to this snapshot first, which lies on its machine.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// Machines that do not come back, on the operator's word.
    pub gone: BTreeSet<NodeName>,
    /// Members whose etcd was stopped for it.
    #[serde(default)]
    pub stopped: BTreeSet<NodeName>,
    /// The cluster of one was made.
    #[serde(default)]
    pub made: bool,
}

/// One round of a recovery.
#[derive(Clone, Debug, PartialEq)]
pub struct Rescue {
    pub steps: Vec<SideStep>,
    pub membership: Membership,
    pub complete: bool,
}

pub fn next(facts: &Facts, intent: &Intent, recovery: &Recovery, now: Time) -> Rescue {
    let mut rescue = Rescue {
        steps: Vec::new(),
        membership: Membership::Wait(Vec::new()),
        complete: false,
    };
    if let Some((kind, node)) = underway(facts) {
        rescue.membership = Membership::Underway(kind, node);
    } else if recovery.made {
        rescue.complete = alone(facts, intent, recovery);
        if !rescue.complete {
            rescue.membership = Membership::Wait(vec![WaitingOn::MemberListUnknown]);
        }
    } else {
        let (steps, waits) = stop_others(facts, intent, recovery, now);
        if steps.is_empty() && waits.is_empty() {
            rescue.membership = make(facts, recovery, now);
        } else {
            rescue.membership = Membership::Wait(waits);
        }
        rescue.steps = steps;
    }
    rescue
}

/// Before anything is forced: none of them may form the old quorum again. One that comes back unawaited is stopped as well.
fn stop_others(
    facts: &Facts,
    intent: &Intent,
    recovery: &Recovery,
    now: Time,
) -> (Vec<SideStep>, Vec<WaitingOn>) {
    let (mut steps, mut waits) = (Vec::new(), Vec::new());
    for node in intent.members().filter(|it| it.name != recovery.node) {
        let (name, known) = (&node.name, facts.node(&node.name));
        if !known.connected {
            if !recovery.gone.contains(name) {
                waits.push(WaitingOn::Offline(name.clone()));
            }
            continue;
        }
        let down = match known.etcd_running {
            Observed::Unknown => {
                waits.push(WaitingOn::ServingUnknown(name.clone()));
                continue;
            }
            Observed::Known(running) => !running,
        };
        if down && recovery.stopped.contains(name) {
            continue;
        }
        let step = SideStep::StopServing { node: name.clone() };
        if let Some(wait) = held_back(facts, step.kind(), name, now) {
            waits.push(wait);
        } else if facts.busy(name) {
            waits.push(WaitingOn::ServingUnknown(name.clone()));
        } else {
            steps.push(step);
        }
    }
    (steps, waits)
}

fn make(facts: &Facts, recovery: &Recovery, now: Time) -> Membership {
    let node = &recovery.node;
    if !facts.node(node).connected {
        return Membership::Wait(vec![WaitingOn::Offline(node.clone())]);
    }
    if let Some(wait) = held_back(facts, StepKind::Recover, node, now) {
        return Membership::Wait(vec![wait]);
    }
    if facts.busy(node) {
        return Membership::Wait(vec![WaitingOn::ServingUnknown(node.clone())]);
    }
    Membership::Continue(MembershipStep::Recover { node: node.clone() })
}

/// Seen to serve, by itself.
fn alone(facts: &Facts, intent: &Intent, recovery: &Recovery) -> bool {
    let Some(node) = intent.node(&recovery.node) else {
        return false;
    };
    match &facts.etcd.list {
        MemberList::Known(members) => {
            matches!(members.as_slice(), [only] if only.peer_url == node.peer_url && !only.learner)
        }
        MemberList::Unknown | MemberList::Conflict(_) => false,
    }
}

#[cfg(test)]
mod tests;
