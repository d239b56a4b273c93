//! Coordinators with a rule missing, to show that the checks notice. Each sees or does less than the planner; nothing of the
//! product can be switched off.

use quorate::engine::shared::Decide;
use quorate_planner::facts::{Change, ChangeKind, Facts, MemberList};
use quorate_planner::intent::Intent;
use quorate_planner::membership::{self, is_membership};
use quorate_planner::round::{self, Round};
use quorate_planner::step::{Membership, MembershipStep};
use quorate_planner::time::Time;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Joins that are in flight are hidden from it.
    Serialization,
    /// A learner whose joiner died stays.
    GhostCleanup,
    /// It takes every voter for healthy, so that no target is unsafe.
    Target,
}

impl Missing {
    pub fn decide(self) -> Decide {
        match self {
            Missing::Serialization => Arc::new(without_serialization),
            Missing::GhostCleanup => Arc::new(without_cleanup),
            Missing::Target => Arc::new(without_target),
        }
    }
}

fn without_serialization(facts: &Facts, intent: &Intent, now: Time) -> Round {
    let mut round = round::next(facts, intent, now);
    let Some(Change {
        kind: ChangeKind::Join,
        node,
        ..
    }) = &facts.change
    else {
        return round;
    };
    let mut blind = facts.clone();
    blind.change = None;
    blind.running.retain(|run| !is_membership(run.kind));
    if let MemberList::Known(members) = &mut blind.etcd.list {
        members.retain(|member| !member.learner);
    }
    let mut others = intent.clone();
    others.nodes.retain(|other| &other.name != node);
    if let Membership::Begin(_, step) = membership::next(&blind, &others, now) {
        round.membership = Membership::Continue(step);
    }
    round
}

fn without_cleanup(facts: &Facts, intent: &Intent, now: Time) -> Round {
    let mut round = round::next(facts, intent, now);
    let removes = matches!(
        &round.membership,
        Membership::Begin(_, MembershipStep::Remove { .. })
            | Membership::Continue(MembershipStep::Remove { .. })
    );
    if removes {
        round.membership = Membership::Wait(Vec::new());
    }
    round
}

fn without_target(facts: &Facts, intent: &Intent, now: Time) -> Round {
    let mut rosy = facts.clone();
    if let MemberList::Known(members) = &mut rosy.etcd.list {
        let sample = members
            .iter()
            .find(|member| !member.learner && member.health.known().is_some_and(|it| it.serving))
            .map(|member| member.health.clone());
        if let Some(sample) = sample {
            for member in members.iter_mut().filter(|member| !member.learner) {
                if !member.health.known().is_some_and(|it| it.serving) {
                    member.health = sample.clone();
                }
            }
        }
        rosy.etcd.stable_since = Some(Time(0));
    }
    round::next(&rosy, intent, now)
}
