//! One round of decisions: everything that may be done now, and what it all means for the operation.

use crate::dead::{self, Dead};
use crate::facts::Facts;
use crate::intent::{Intent, NodeIntent, NodeName};
use crate::leaving::{self, Departure};
use crate::membership;
use crate::progress::{self, Progress};
use crate::recovery::{self, Recovery};
use crate::renewal::{self, Renewing};
use crate::rotation::{self, Turn};
use crate::shutdown::{self, Shutdown, Standstill};
use crate::side;
use crate::step::{Membership, SideStep, StepKind};
use crate::time::Time;
use crate::waiting::WaitingOn;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    pub membership: Membership,
    pub side: Vec<SideStep>,
    /// Of the endpoint; its steps are among `side`.
    pub endpoint: Turn,
    /// Of the certificates; its steps are among `side`.
    pub renewing: Renewing,
    /// Of the node that leaves; its steps are among `side`.
    pub departure: Departure,
    /// Nodes that have fallen silent; its steps are among `side`.
    pub dead: Dead,
    /// Of a cluster that is to stand still, or to run again; its steps are among `side`.
    pub standstill: Standstill,
    /// The cluster of one that a recovery makes is seen to serve.
    pub recovered: bool,
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
    if let Some(recovery) = &intent.recovery {
        return of_recovery(facts, intent, recovery, now);
    }
    if let Some(shutdown) = &intent.shutdown {
        return of_shutdown(facts, intent, shutdown, now);
    }
    let mut membership = membership::next(facts, intent, now);
    let mut side = side::steps(facts, intent, now);
    let mut renewing = Renewing::default();
    let endpoint = rotation::next(facts, intent, now);
    if intent.endpoint.rotation.is_some() {
        membership = hold_joins(membership);
        side.retain(|step| goes_on_while_rotating(step) || makes_balancer(step, intent));
        side.extend(endpoint.steps.iter().cloned());
    } else {
        renewing = renewal::next(facts, intent, now);
        side.extend(renewing.steps.iter().cloned());
    }
    let departure = leaving::next(facts, intent, now);
    side.extend(departure.steps.iter().cloned());
    let dead = dead::next(facts, intent, now);
    side.extend(dead.steps.iter().cloned());
    let mut progress = progress::all(facts, intent, &membership, now);
    progress::tell_endpoint(&mut progress, &endpoint, &renewing);
    progress::tell_departure(&mut progress, facts, intent, &departure, &membership);
    let changing = intent.endpoint.rotation.is_some()
        || (intent.endpoint.renewal.is_some() && !renewing.complete);
    let outcome = if changing {
        outcome_of_change(facts, &side, &endpoint)
    } else if intent.leaving.is_some() {
        outcome_of_departure(facts, &membership, &side)
    } else {
        outcome(facts, intent, &membership, &side, &progress)
    };
    Round {
        membership,
        side,
        endpoint,
        renewing,
        departure,
        dead,
        standstill: Standstill::default(),
        recovered: false,
        progress,
        outcome,
    }
}

/// Nothing else is done meanwhile.
fn of_recovery(facts: &Facts, intent: &Intent, recovery: &Recovery, now: Time) -> Round {
    let rescue = recovery::next(facts, intent, recovery, now);
    let ends = matches!(rescue.membership, Membership::Wait(_)) && !rescue.complete;
    let failed: BTreeSet<NodeName> = facts
        .troubles
        .iter()
        .filter(|trouble| trouble.given_up())
        .map(|trouble| trouble.subject.clone())
        .collect();
    let rests = ends && rescue.steps.is_empty() && facts.running.is_empty();
    let outcome = if rests && !failed.is_empty() {
        Outcome::Stuck(failed.into_iter().collect())
    } else {
        Outcome::Working
    };
    Round {
        dead: Dead::default(),
        progress: progress::all(facts, intent, &rescue.membership, now),
        membership: rescue.membership,
        side: rescue.steps,
        endpoint: Turn::default(),
        renewing: Renewing::default(),
        departure: Departure::default(),
        standstill: Standstill::default(),
        recovered: rescue.complete,
        outcome,
    }
}

/// Nothing else is done meanwhile: nobody joins, is moved, or is taken for dead. It ends in the record, not here.
fn of_shutdown(facts: &Facts, intent: &Intent, shutdown: &Shutdown, now: Time) -> Round {
    let standstill = shutdown::next(facts, intent, shutdown, now);
    Round {
        membership: Membership::Settled,
        side: standstill.steps.clone(),
        endpoint: Turn::default(),
        renewing: Renewing::default(),
        departure: Departure::default(),
        dead: Dead::default(),
        progress: progress::all(facts, intent, &Membership::Settled, now),
        standstill,
        recovered: false,
        outcome: Outcome::Working,
    }
}

/// A change under way is brought to its end; none begins while the endpoint moves.
fn hold_joins(membership: Membership) -> Membership {
    use crate::facts::ChangeKind;
    match membership {
        Membership::Begin(change, step) => match change.kind {
            ChangeKind::DropGhost => Membership::Begin(change, step),
            ChangeKind::Found | ChangeKind::Join | ChangeKind::Leave | ChangeKind::Recover => {
                Membership::Wait(vec![WaitingOn::Rotating])
            }
        },
        other @ (Membership::Settled
        | Membership::Continue(_)
        | Membership::Underway(..)
        | Membership::Wait(_)
        | Membership::Complete(_)
        | Membership::Abandon(_)
        | Membership::Release(_)) => other,
    }
}

fn goes_on_while_rotating(step: &SideStep) -> bool {
    match step {
        SideStep::ConfigureBalancer { .. }
        | SideStep::Reset { .. }
        | SideStep::Finish { .. }
        | SideStep::DeleteNode { .. }
        | SideStep::SetNames { .. }
        | SideStep::Probe { .. }
        | SideStep::SetObjects { .. }
        | SideStep::SetCarriers { .. }
        | SideStep::RestartProxies { .. }
        | SideStep::Renew { .. }
        | SideStep::Drain { .. }
        | SideStep::HandOver { .. }
        | SideStep::StopServing { .. }
        | SideStep::TaintNode { .. }
        | SideStep::UntaintNode { .. }
        | SideStep::StopNode { .. }
        | SideStep::StartNode { .. }
        | SideStep::CheckStorage { .. }
        | SideStep::ApproveServing { .. } => true,
        SideStep::Preflight { .. }
        | SideStep::Install { .. }
        | SideStep::CreateAuthority { .. }
        | SideStep::Prepare { .. }
        | SideStep::JoinWorker { .. }
        | SideStep::ApplyManifests { .. }
        | SideStep::ConfigureNode { .. } => false,
    }
}

/// A load balancer that came back empty is made anew: the endpoint may not be able to move without it.
fn makes_balancer(step: &SideStep, intent: &Intent) -> bool {
    let (_, subject) = step.nodes();
    let balances = |node: &NodeIntent| node.balancer && !node.member && !node.worker;
    matches!(step, SideStep::Preflight { .. } | SideStep::Install { .. })
        && intent.node(subject).is_some_and(balances)
}

/// Of a rotation or a renewal: it ends when its record is gone, or when only nodes are left whose steps will not be tried again.
fn outcome_of_change(facts: &Facts, side: &[SideStep], endpoint: &Turn) -> Outcome {
    let moves = !side.is_empty() || !facts.running.is_empty() || endpoint.advance.is_some();
    let failed: Vec<NodeName> = facts
        .troubles
        .iter()
        .filter(|trouble| trouble.given_up())
        .map(|trouble| trouble.subject.clone())
        .collect();
    if moves || failed.is_empty() {
        Outcome::Working
    } else {
        Outcome::Stuck(failed)
    }
}

/// It ends when its record is gone, or when a step of it will not be tried again.
fn outcome_of_departure(facts: &Facts, membership: &Membership, side: &[SideStep]) -> Outcome {
    let slot = facts.change.is_some() || matches!(membership, Membership::Begin(..));
    let failed: BTreeSet<NodeName> = facts
        .troubles
        .iter()
        .filter(|trouble| trouble.given_up())
        .map(|trouble| trouble.subject.clone())
        .collect();
    if slot || !side.is_empty() || !facts.running.is_empty() || failed.is_empty() {
        Outcome::Working
    } else {
        Outcome::Stuck(failed.into_iter().collect())
    }
}

fn outcome(
    facts: &Facts,
    intent: &Intent,
    membership: &Membership,
    side: &[SideStep],
    progress: &BTreeMap<NodeName, Progress>,
) -> Outcome {
    // Kubelets' requests are answered, and dead nodes dealt with, at any time: no operation waits for that.
    let of_file = |kind: StepKind| {
        let any_time = [
            StepKind::ApproveServing,
            StepKind::TaintNode,
            StepKind::UntaintNode,
        ];
        !any_time.contains(&kind)
    };
    let steps = side.iter().map(SideStep::kind);
    let mut work = steps.chain(facts.running.iter().map(|run| run.kind));
    if work.any(of_file) || facts.change.is_some() {
        return Outcome::Working;
    }
    let moves = match membership {
        Membership::Settled | Membership::Wait(_) => false,
        Membership::Begin(..)
        | Membership::Continue(_)
        | Membership::Underway(..)
        | Membership::Complete(_)
        | Membership::Abandon(_)
        | Membership::Release(_) => true,
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
        | progress::Phase::Reset
        | progress::Phase::Endpoint
        | progress::Phase::Renew
        | progress::Phase::Stop
        | progress::Phase::Stopped
        | progress::Phase::Start
        | progress::Phase::Leave => false,
    });
    // Also while it is not known whether all members serve, without which none begins to prove.
    let proven = side::unproven(facts, intent).next().is_none();
    match (failed.is_empty(), others_rest) {
        (true, true) if proven && *membership == Membership::Settled => Outcome::Settled,
        (false, true) => Outcome::Stuck(failed),
        _ => Outcome::Working,
    }
}
