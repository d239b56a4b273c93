//! Storage that has a quorum of its own is asked before a node is taken down or given up, by what the cluster file names. Nothing is
//! known of what it is: it says that the node may go, or that it may not, or it does not answer, which counts as a no.

#[cfg(test)]
mod tests;

use crate::facts::Facts;
use crate::intent::{Intent, NodeName};
use crate::side;
use crate::step::{SideStep, StepKind};
use crate::time::Time;
use crate::waiting::WaitingOn;

/// A yes holds for this long: what is begun upon it begins within seconds, and a drain may take minutes.
pub const HOLDS_MS: u64 = 30_000;
/// After a no. Storage heals in minutes.
pub const AGAIN_MS: u64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The node may go.
    Yes,
    No(String),
    Unanswered(String),
}

/// What it said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub node: NodeName,
    pub at: Time,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Gate {
    Open,
    Shut {
        /// To be asked now.
        step: Option<SideStep>,
        waits: Vec<WaitingOn>,
    },
}

/// Whether the node may be taken down now, as far as storage is concerned.
pub fn gate(facts: &Facts, intent: &Intent, node: &NodeName, now: Time) -> Gate {
    if !intent.storage {
        return Gate::Open;
    }
    let answer = facts.storage.as_ref().filter(|it| &it.node == node);
    let age = answer.map(|it| now.since(it.at));
    let (why, asks_again) = match (answer.map(|it| &it.verdict), age) {
        (Some(Verdict::Yes), Some(age)) if age < HOLDS_MS => return Gate::Open,
        (Some(Verdict::Yes), _) | (None, _) => (None, true),
        (Some(Verdict::No(detail)), age) => (
            Some(WaitingOn::StorageUnhealthy {
                node: node.clone(),
                detail: detail.clone(),
            }),
            age.is_none_or(|age| age >= AGAIN_MS),
        ),
        (Some(Verdict::Unanswered(detail)), age) => (
            Some(WaitingOn::StorageUnanswered {
                node: node.clone(),
                detail: detail.clone(),
            }),
            age.is_none_or(|age| age >= AGAIN_MS),
        ),
    };
    let waits = vec![why.unwrap_or_else(|| WaitingOn::StorageAsked(node.clone()))];
    let running = facts.is_running(StepKind::CheckStorage, node);
    if running || !asks_again {
        return Gate::Shut { step: None, waits };
    }
    match via(facts, intent, node) {
        None => Gate::Shut {
            step: None,
            waits: vec![WaitingOn::NoMemberToAsk],
        },
        Some(via) => Gate::Shut {
            step: Some(SideStep::CheckStorage {
                node: node.clone(),
                via,
            }),
            waits,
        },
    }
}

/// A control plane that serves, and stays. The one that is to go is asked only where there is no other.
fn via(facts: &Facts, intent: &Intent, node: &NodeName) -> Option<NodeName> {
    let serves = intent.members().filter(|it| {
        facts.node(&it.name).connected && side::serves(facts, intent, it) == Some(true)
    });
    let mut serves: Vec<&NodeName> = serves.map(|it| &it.name).collect();
    serves.sort_by_key(|it| *it == node);
    serves.first().map(|it| (*it).clone())
}
