//! One round of decisions: everything that may be done now, and what it all means for the operation.

use crate::facts::Facts;
use crate::intent::{Intent, NodeName};
use crate::membership;
use crate::progress::{self, Progress};
use crate::side;
use crate::step::{Membership, SideStep};
use crate::time::Time;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    pub membership: Membership,
    pub side: Vec<SideStep>,
    pub progress: BTreeMap<NodeName, Progress>,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The cluster is as the file says.
    Settled,
    Working,
    /// Nothing more can be done without the operator.
    Stuck(Vec<NodeName>),
}

pub fn next(facts: &Facts, intent: &Intent, now: Time) -> Round {
    let membership = membership::next(facts, intent, now);
    let side = side::steps(facts, intent, now);
    let progress = progress::all(facts, intent, &membership, now);
    let outcome = outcome(facts, &membership, &side, &progress);
    Round {
        membership,
        side,
        progress,
        outcome,
    }
}

fn outcome(
    facts: &Facts,
    membership: &Membership,
    side: &[SideStep],
    progress: &BTreeMap<NodeName, Progress>,
) -> Outcome {
    if !side.is_empty() || !facts.running.is_empty() || facts.change.is_some() {
        return Outcome::Working;
    }
    let moves = match membership {
        Membership::Settled | Membership::Wait(_) => false,
        Membership::Begin(..)
        | Membership::Continue(_)
        | Membership::Underway(..)
        | Membership::Complete(_)
        | Membership::Abandon(_) => true,
    };
    if moves {
        return Outcome::Working;
    }
    let failed: Vec<NodeName> = progress
        .iter()
        .filter(|(_, p)| p.phase == progress::Phase::Failed)
        .map(|(name, _)| name.clone())
        .collect();
    let others_rest = progress.values().all(|p| match p.phase {
        progress::Phase::Ready | progress::Phase::Failed => true,
        // With a failed node these wait for the operator, not for time to pass.
        progress::Phase::Waiting => !failed.is_empty() && !p.may_pass,
        progress::Phase::Preflight
        | progress::Phase::Install
        | progress::Phase::Prepare
        | progress::Phase::Join
        | progress::Phase::Finish
        | progress::Phase::Reset => false,
    });
    match (failed.is_empty(), others_rest) {
        (true, true) if *membership == Membership::Settled => Outcome::Settled,
        (false, true) => Outcome::Stuck(failed),
        _ => Outcome::Working,
    }
}
