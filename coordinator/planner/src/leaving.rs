//! A node leaves on the operator's word: out of the load balancers, drained, out of etcd, reset, forgotten. Decided from what is
//! observed, so that it goes on wherever it was cut short.
//!
//! ```text
//!   its successor serves ─> no load balancer has it ─> drained ─> connections had time to end ─> it leads no more
//!     ─> it serves nobody ─> removed from etcd (the one membership change) ─> reset ─> its Node object deleted ─> complete
//! ```
//!
//! What cannot be done on a machine that is gone for good is left out, on the operator's word that it is.

#[cfg(test)]
mod tests;

use crate::facts::{BalancerFacts, Facts, Member, MemberHealth, MemberList, Observed};
use crate::intent::{Balancing, Distribution, Intent, NodeIntent, NodeName};
use crate::membership::held_back;
use crate::quorum::{self, Replacement};
use crate::safety;
use crate::side;
use crate::step::SideStep;
use crate::storage::{self, Gate};
use crate::time::Time;
use crate::waiting::WaitingOn;
use serde::{Deserialize, Serialize};

/// From when no load balancer sends it new connections: requests end within seconds. Connections that stay open for longer are
/// told to go elsewhere when the member stops serving.
pub const CONNECTIONS_END_MS: u64 = 5_000;

/// The operator's word, and what is done of it that no observation tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    pub node: NodeName,
    /// Whose certificate is taken back at the end; empty: the machine has enrolled anew already.
    pub identity: String,
    /// It is gone for good: nothing is waited for that only it could do.
    pub dead: bool,
    /// Who takes its place. The same name: another machine, or the same one reinstalled.
    pub successor: Option<NodeName>,
    /// On the operator's word it goes whatever storage says.
    #[serde(default)]
    pub without_storage: bool,
    #[serde(default)]
    pub drained: bool,
    #[serde(default)]
    pub stopped: bool,
    #[serde(default)]
    pub reset: bool,
    #[serde(default)]
    pub deleted: bool,
}

/// One round of a removal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Departure {
    pub steps: Vec<SideStep>,
    pub waits: Vec<WaitingOn>,
    /// It is the turn of etcd's membership.
    pub removes: bool,
    pub complete: bool,
}

enum Due {
    Wait(Vec<WaitingOn>),
    Step(SideStep),
    /// Of every voter at once: all of them, or none.
    HandOver(Vec<SideStep>),
    Member,
}

/// The machine that leaves, as far as it matters to its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Part of the cluster, and its agent answers.
    Here,
    /// Its agent answers, and nothing of the cluster is on it: it was reset, or is another machine.
    Clean,
    Away,
    /// Its agent answers, but what is on it was not told yet.
    Unknown,
}

pub fn next(facts: &Facts, intent: &Intent, now: Time) -> Departure {
    let mut departure = Departure::default();
    let Some(leaving) = &intent.leaving else {
        return departure;
    };
    match due(facts, intent, leaving, now) {
        None => departure.complete = true,
        Some(due) if held_by_storage(facts, intent, leaving, &due, now, &mut departure) => {}
        Some(Due::Member) => departure.removes = true,
        Some(Due::Wait(waits)) => departure.waits = waits,
        Some(Due::Step(step)) => together(facts, vec![step], now, &mut departure),
        Some(Due::HandOver(steps)) => together(facts, steps, now, &mut departure),
    }
    departure
}

/// Before what takes the node down, or gives it up. A change that holds the slot is brought to its end.
fn held_by_storage(
    facts: &Facts,
    intent: &Intent,
    leaving: &Leaving,
    due: &Due,
    now: Time,
    departure: &mut Departure,
) -> bool {
    let takes_down = match due {
        // Asked while its connections end, so that nobody waits for one and then for the other.
        Due::Wait(waits) => matches!(waits.as_slice(), [WaitingOn::Draining { .. }]),
        Due::Member => facts.change.is_none(),
        Due::HandOver(_) => true,
        Due::Step(step) => matches!(
            step,
            SideStep::Drain { .. } | SideStep::StopServing { .. } | SideStep::Reset { .. }
        ),
    };
    let node = intent.node(&leaving.node);
    let stores = node.is_some_and(|it| it.member || it.worker);
    if leaving.without_storage || !takes_down || !stores {
        return false;
    }
    match storage::gate(facts, intent, &leaving.node, now) {
        Gate::Open => false,
        Gate::Shut { step, waits } => {
            departure.waits = waits;
            let running = step
                .as_ref()
                .is_some_and(|it| facts.is_running(it.kind(), it.nodes().1));
            departure.steps.extend(step.filter(|_| !running));
            true
        }
    }
}

/// None while one of them is under way, or may not be tried.
fn together(facts: &Facts, steps: Vec<SideStep>, now: Time, departure: &mut Departure) {
    let held = |step: &SideStep| held_back(facts, step.kind(), step.nodes().1, now);
    let busy = |step: &SideStep| {
        let subject = step.nodes().1;
        facts.is_running(step.kind(), subject) || facts.failed(subject).is_some()
    };
    let waits: Vec<WaitingOn> = steps.iter().filter_map(held).collect();
    if waits.is_empty() && !steps.iter().any(busy) {
        departure.steps = steps;
    }
    departure.waits.extend(waits);
}

/// The first thing that is not done yet.
fn due(facts: &Facts, intent: &Intent, leaving: &Leaving, now: Time) -> Option<Due> {
    let node = intent.node(&leaving.node)?;
    if let Some(successor) = awaited(facts, intent) {
        return Some(wait(WaitingOn::Successor(successor)));
    }
    let presence = presence(facts, node);
    if !leaving.reset {
        match presence {
            Presence::Away if !leaving.dead => {
                return Some(wait(WaitingOn::Gone(node.name.clone())));
            }
            Presence::Unknown => return Some(wait(WaitingOn::ServingUnknown(node.name.clone()))),
            Presence::Away | Presence::Here | Presence::Clean => {}
        }
    }
    let here = presence == Presence::Here && !leaving.reset;
    pool(facts, intent, node)
        .or_else(|| drain(facts, intent, leaving, node, here))
        .or_else(|| member(facts, intent, node, here, now))
        .or_else(|| reset(node, here))
        .or_else(|| delete(facts, intent, leaving, node))
}

fn wait(reason: WaitingOn) -> Due {
    Due::Wait(vec![reason])
}

pub fn presence(facts: &Facts, node: &NodeIntent) -> Presence {
    let known = facts.node(&node.name);
    if !known.connected {
        return Presence::Away;
    }
    let Observed::Known(marks) = &known.marks else {
        return Presence::Unknown;
    };
    let of_cluster = marks.authority || marks.founded || marks.prepared || marks.finished;
    let balances = node.balancer && known.balancer.known().is_some_and(|it| it.running);
    if of_cluster || marks.worker || balances || known.etcd_running.is(&true) {
        Presence::Here
    } else {
        Presence::Clean
    }
}

/// Who has to be there before it goes, if that is the safer order and is not so yet.
fn awaited(facts: &Facts, intent: &Intent) -> Option<NodeName> {
    let leaving = intent.leaving.as_ref()?;
    let successor = leaving.successor.as_ref()?;
    if successor == &leaving.node {
        return None;
    }
    let (old, new) = (intent.node(&leaving.node)?, intent.node(successor)?);
    let serves = !new.member || side::serves(facts, intent, new) == Some(true);
    if side::joined(facts, new) && serves {
        return None;
    }
    (first(facts, old) == Replacement::JoinFirst).then(|| successor.clone())
}

fn first(facts: &Facts, old: &NodeIntent) -> Replacement {
    if !old.member {
        return match facts.node(&old.name).connected {
            true => Replacement::JoinFirst,
            false => Replacement::RemoveFirst,
        };
    }
    let MemberList::Known(members) = &facts.etcd.list else {
        return Replacement::JoinFirst; // nothing is removed unseen
    };
    let Some(target) = members.iter().find(|it| it.peer_url == old.peer_url) else {
        return Replacement::RemoveFirst; // it is gone from etcd
    };
    let voters = members.iter().filter(|it| !it.learner).count();
    let others = safety::able_others(members, target.id);
    quorum::replacement(voters, others, safety::able(target))
}

/// Whether the load balancers are to be without it.
pub fn leaves_pool(facts: &Facts, intent: &Intent, node: &NodeName) -> bool {
    intent.is_leaving(node) && awaited(facts, intent).is_none()
}

/// Those that cannot be asked are no help and no hindrance: their own health checks leave it out once it stops serving.
fn pool(facts: &Facts, intent: &Intent, node: &NodeIntent) -> Option<Due> {
    let has_it = |balancer: &&NodeIntent| {
        let known = facts.node(&balancer.name);
        let has = |it: &BalancerFacts| !it.current || it.members.contains(&node.name);
        known.connected && known.balancer.known().is_none_or(has)
    };
    let others = intent.nodes.iter().filter(|it| it.balancer);
    let behind: Vec<WaitingOn> = others
        .filter(|it| it.name != node.name)
        .filter(has_it)
        .map(|it| WaitingOn::BalancerBehind(it.name.clone()))
        .collect();
    let served = node.member || node.worker;
    (served && !behind.is_empty()).then_some(Due::Wait(behind))
}

fn is_kubernetes(intent: &Intent, node: &NodeIntent) -> bool {
    intent.distribution == Distribution::Kubeadm && (node.member || node.worker)
}

fn drain(
    facts: &Facts,
    intent: &Intent,
    leaving: &Leaving,
    node: &NodeIntent,
    here: bool,
) -> Option<Due> {
    if !here || leaving.drained || !is_kubernetes(intent, node) {
        return None;
    }
    Some(through(facts, intent, node, |via| SideStep::Drain {
        node: node.name.clone(),
        via,
    }))
}

/// Never through the node itself.
fn through(
    facts: &Facts,
    intent: &Intent,
    node: &NodeIntent,
    step: impl FnOnce(NodeName) -> SideStep,
) -> Due {
    match side::api_member(facts, intent).filter(|via| via != &node.name) {
        Some(via) => Due::Step(step(via)),
        None => wait(WaitingOn::NoMemberToAsk),
    }
}

fn member(facts: &Facts, intent: &Intent, node: &NodeIntent, here: bool, now: Time) -> Option<Due> {
    if !node.member {
        return None;
    }
    let members = match &facts.etcd.list {
        MemberList::Unknown => return Some(wait(WaitingOn::MemberListUnknown)),
        MemberList::Conflict(detail) => {
            return Some(wait(WaitingOn::MemberListConflict(detail.clone())));
        }
        MemberList::Known(members) => members,
    };
    let target = members.iter().find(|it| it.peer_url == node.peer_url);
    if facts.change.is_some() {
        return Some(Due::Member); // whoever holds the slot, this one too, ends that first
    }
    let target = target?;
    if here && let Some(due) = hand_over(facts, intent, node, target, now) {
        return Some(due);
    }
    let against = safety::against_removing(facts, target, now);
    Some(if against.is_empty() {
        Due::Member
    } else {
        Due::Wait(against)
    })
}

/// While it still serves: its clients get time, and are then told to go.
fn hand_over(
    facts: &Facts,
    intent: &Intent,
    node: &NodeIntent,
    target: &Member,
    now: Time,
) -> Option<Due> {
    let known = facts.node(&node.name);
    let running = match intent.distribution {
        Distribution::Etcd => &known.etcd_running,
        Distribution::Kubeadm => &known.api_ready,
    };
    match running {
        Observed::Unknown => return Some(wait(WaitingOn::ServingUnknown(node.name.clone()))),
        Observed::Known(false) => return None,
        Observed::Known(true) => {}
    }
    if intent.balancing == Balancing::Managed {
        let out_ms = facts.out_since.map_or(0, |since| now.since(since));
        if out_ms < CONNECTIONS_END_MS {
            return Some(wait(WaitingOn::Draining {
                node: node.name.clone(),
                remaining_ms: CONNECTIONS_END_MS - out_ms,
            }));
        }
    }
    let against = safety::against_removing(facts, target, now);
    if !against.is_empty() {
        return Some(Due::Wait(against));
    }
    let steps = leadership(facts, intent, target);
    if !steps.is_empty() {
        return Some(Due::HandOver(steps));
    }
    safety::can_stop(facts.members(), target).then(|| {
        Due::Step(SideStep::StopServing {
            node: node.name.clone(),
        })
    })
}

/// Of the leader, as it says itself: its own view is from after whatever its node did last. On every voter, as each has clients whose
/// writes would be lost while nobody leads. The heir is the one of the others that is furthest.
fn leadership(facts: &Facts, intent: &Intent, target: &Member) -> Vec<SideStep> {
    let leads = |health: &MemberHealth| health.leader == target.id;
    let applied = |member: &&Member| member.health.known().map(|health| health.applied);
    let others = facts.members().iter().filter(|it| it.id != target.id);
    let heir = others.filter(|it| safety::able(it)).max_by_key(applied);
    let Some(heir) = heir.filter(|_| target.health.known().is_some_and(leads)) else {
        return Vec::new();
    };
    let voters = facts.members().iter().filter(|member| !member.learner);
    let nodes = voters.filter_map(|member| intent.by_peer_url(&member.peer_url));
    nodes
        .map(|node| SideStep::HandOver {
            node: node.name.clone(),
            leader: target.id,
            heir: heir.id,
        })
        .collect()
}

fn reset(node: &NodeIntent, here: bool) -> Option<Due> {
    here.then(|| {
        Due::Step(SideStep::Reset {
            node: node.name.clone(),
        })
    })
}

/// Also through every member that remembers having labelled it: a node of the same name is another one.
fn delete(facts: &Facts, intent: &Intent, leaving: &Leaving, node: &NodeIntent) -> Option<Due> {
    if !is_kubernetes(intent, node) {
        return None;
    }
    let remembers = |member: &&NodeIntent| {
        let known = facts.node(&member.name);
        let marks = known.marks.known();
        known.connected && marks.is_some_and(|it| it.configured.contains_key(&node.name))
    };
    let others = || intent.members().filter(|it| it.name != node.name);
    let step = |via: NodeName| SideStep::DeleteNode {
        node: node.name.clone(),
        via,
    };
    if let Some(via) = others().find(remembers) {
        return Some(Due::Step(step(via.name.clone())));
    }
    (!leaving.deleted).then(|| through(facts, intent, node, step))
}
