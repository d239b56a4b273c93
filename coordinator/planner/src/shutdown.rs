//! A cluster stands still on the operator's word, and runs again on the operator's word. Decided from what nodes show, so that it goes
//! on wherever it was cut short, and takes in machines in whatever order they come back.
//!
//! ```text
//!   stop:   workers ─> load balancers ─> members, one after the other, the first of the file last ─> stopped, until the next word
//!   start:  all members at once ─> they serve ─> load balancers ─> workers ─> healthy, and the word is gone
//! ```
//!
//! Whoever is away when the word is given follows it on its return: see also [`crate::side`], which starts those that come back after
//! the start has ended.

#[cfg(test)]
mod tests;

use crate::facts::{Facts, MemberList, Observed};
use crate::intent::{Balancing, Distribution, Intent, NodeIntent, NodeName};
use crate::membership::held_back;
use crate::side;
use crate::step::SideStep;
use crate::time::Time;
use crate::waiting::WaitingOn;
use serde::{Deserialize, Serialize};

/// From the word to start, for machines that are still away and members that do not serve. A server with much memory needs several
/// minutes to boot; beyond that it is the operator's to look at, and what else the operator wants is not to be held up by it.
pub const AWAITED_MS: u64 = 10 * 60 * 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    Stopped,
    Running,
}

/// The operator's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    pub wanted: Wanted,
    /// When it was given.
    pub since: Time,
}

/// One round of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standstill {
    pub steps: Vec<SideStep>,
    pub waits: Vec<WaitingOn>,
    /// Everything that can be reached is as wanted.
    pub complete: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Worker,
    Balancer,
    Member,
}

/// By what others need of it. A load balancer that works too has to run before workers can.
fn rank(node: &NodeIntent) -> Rank {
    if node.member {
        Rank::Member
    } else if node.balancer {
        Rank::Balancer
    } else {
        Rank::Worker
    }
}

/// Who is stopped or started together, one group after the other. Members stop one by one, the first of the file last, so that whoever
/// reads it knows which etcd has seen the most.
pub fn order(intent: &Intent, wanted: Wanted) -> Vec<Vec<&NodeIntent>> {
    let of = |wanted: Rank| intent.nodes.iter().filter(move |it| rank(it) == wanted);
    let (members, balancers, workers): (Vec<_>, Vec<_>, Vec<_>) = (
        of(Rank::Member).collect(),
        of(Rank::Balancer).collect(),
        of(Rank::Worker).collect(),
    );
    let groups = match wanted {
        Wanted::Running => vec![members, balancers, workers],
        Wanted::Stopped => {
            let one_by_one = members.into_iter().rev().map(|it| vec![it]);
            [workers, balancers].into_iter().chain(one_by_one).collect()
        }
    };
    groups.into_iter().filter(|it| !it.is_empty()).collect()
}

pub fn next(facts: &Facts, intent: &Intent, shutdown: &Shutdown, now: Time) -> Standstill {
    let mut standstill = Standstill::default();
    match shutdown.wanted {
        Wanted::Stopped => standstill.stop(facts, intent, now),
        Wanted::Running => standstill.start(facts, intent, shutdown, now),
    }
    standstill
}

/// Whether nothing of the cluster runs there: it was stopped in order, and nobody has started it by hand since.
pub fn is_down(facts: &Facts, node: &NodeIntent) -> Observed<bool> {
    let known = facts.node(&node.name);
    let Observed::Known(marks) = &known.marks else {
        return Observed::Unknown;
    };
    let runs = known.etcd_running.is(&true) || known.api_ready.is(&true);
    let balances = node.balancer && known.balancer.known().is_some_and(|it| it.running);
    Observed::Known(marks.stopped && !runs && !balances)
}

impl Standstill {
    fn stop(&mut self, facts: &Facts, intent: &Intent, now: Time) {
        for group in order(intent, Wanted::Stopped) {
            for node in group {
                self.stop_one(facts, node, now);
            }
            if self.holds() {
                return;
            }
        }
        self.complete = true;
        let away = intent.nodes.iter().map(|it| &it.name);
        let away = away.filter(|it| !facts.node(it).connected);
        self.waits
            .extend(away.cloned().map(WaitingOn::StoppedOnReturn));
    }

    /// A machine that is away is most likely off; it is not waited for.
    fn stop_one(&mut self, facts: &Facts, node: &NodeIntent, now: Time) {
        if !facts.node(&node.name).connected && !facts.busy(&node.name) {
            return;
        }
        match is_down(facts, node) {
            Observed::Known(true) if !facts.busy(&node.name) => {}
            Observed::Unknown => self
                .waits
                .push(WaitingOn::ServingUnknown(node.name.clone())),
            Observed::Known(_) => self.act(facts, now, |node| SideStep::StopNode { node }, node),
        }
    }

    fn start(&mut self, facts: &Facts, intent: &Intent, shutdown: &Shutdown, now: Time) {
        let patient = now.since(shutdown.since) < AWAITED_MS;
        for group in order(intent, Wanted::Running) {
            for node in &group {
                self.start_one(facts, node, now);
            }
            if self.holds() {
                return;
            }
            match group.first().map(|it| rank(it)) {
                Some(Rank::Member) => self.members_serve(facts, intent, patient),
                Some(Rank::Balancer) => self.endpoint_serves(facts, intent, patient),
                Some(Rank::Worker) | None => self.nodes_ready(facts, intent, patient),
            }
            if self.holds() {
                return;
            }
        }
        if patient {
            let away = intent.nodes.iter().map(|it| &it.name);
            let away = away.filter(|it| !facts.node(it).connected);
            self.waits.extend(away.cloned().map(WaitingOn::Offline));
        }
        self.complete = !self.holds();
    }

    fn start_one(&mut self, facts: &Facts, node: &NodeIntent, now: Time) {
        let known = facts.node(&node.name);
        if !known.connected {
            return;
        }
        match &known.marks {
            Observed::Unknown => self
                .waits
                .push(WaitingOn::ServingUnknown(node.name.clone())),
            Observed::Known(marks) if marks.stopped || facts.busy(&node.name) => {
                self.act(facts, now, |node| SideStep::StartNode { node }, node);
            }
            Observed::Known(_) => {}
        }
    }

    /// A linearizable list is one that a quorum has answered for.
    fn members_serve(&mut self, facts: &Facts, intent: &Intent, patient: bool) {
        if !matches!(facts.etcd.list, MemberList::Known(_)) {
            let away = intent
                .members()
                .filter(|it| !facts.node(&it.name).connected);
            self.waits.push(WaitingOn::MemberListUnknown);
            self.waits
                .extend(away.map(|it| WaitingOn::Offline(it.name.clone())));
            return;
        }
        if side::api_member(facts, intent).is_none() {
            self.waits.push(WaitingOn::NoMemberToAsk);
            return;
        }
        let here = intent.members().filter(|it| facts.node(&it.name).connected);
        for node in here.filter(|_| patient) {
            if side::serves(facts, intent, node) != Some(true) {
                let name = node.name.0.clone();
                self.waits.push(WaitingOn::MemberNotServing { name });
            }
        }
    }

    fn endpoint_serves(&mut self, facts: &Facts, intent: &Intent, patient: bool) {
        if intent.balancing != Balancing::Managed || !patient {
            return;
        }
        let balancers = intent.nodes.iter().filter(|it| it.balancer);
        let mut here = balancers.filter(|it| facts.node(&it.name).connected);
        let leads = |node: &NodeIntent| {
            let known = facts.node(&node.name).balancer.known();
            known.is_some_and(|it| it.running && (it.retired || !it.up.is_empty()))
        };
        if here.any(|node| !leads(node)) {
            self.waits.push(WaitingOn::BalancerNotReady);
        }
    }

    fn nodes_ready(&mut self, facts: &Facts, intent: &Intent, patient: bool) {
        if intent.distribution != Distribution::Kubeadm || !patient {
            return;
        }
        for node in intent.nodes.iter().filter(|it| it.member || it.worker) {
            let known = facts.node(&node.name);
            if known.connected && !known.node_ready.is(&true) {
                self.waits.push(WaitingOn::NodeNotReady(node.name.clone()));
            }
        }
    }

    fn act(
        &mut self,
        facts: &Facts,
        now: Time,
        step: impl FnOnce(NodeName) -> SideStep,
        node: &NodeIntent,
    ) {
        let step = step(node.name.clone());
        if let Some(wait) = held_back(facts, step.kind(), &node.name, now) {
            self.waits.push(wait);
        } else if facts.busy(&node.name) {
            self.waits.push(WaitingOn::Underway(node.name.clone()));
        } else {
            self.steps.push(step);
        }
    }

    fn holds(&self) -> bool {
        !self.steps.is_empty() || !self.waits.is_empty()
    }
}
