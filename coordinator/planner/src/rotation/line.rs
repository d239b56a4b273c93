//! Every place that carries the address: the cluster's objects, then members one at a time, then workers in batches, then kube-proxy.

use super::{Turn, presence};
use crate::facts::{Facts, ObjectFacts, Observed};
use crate::intent::{Distribution, Intent, NodeIntent, NodeName};
use crate::side;
use crate::step::{SideStep, StepKind};
use crate::waiting::WaitingOn;
use std::collections::BTreeSet;

/// Kubelets that are restarted at once: a fault in the new address shows on few nodes before it is on all.
pub const WORKERS_AT_ONCE: usize = 10;

pub fn bring(facts: &Facts, intent: &Intent, turn: &mut Turn) {
    if intent.distribution == Distribution::Etcd {
        return; // nothing on etcd's machines carries the address but the certificates
    }
    objects(facts, intent, turn);
    if turn.is_idle() {
        members(facts, intent, turn);
    }
    if turn.is_idle() {
        workers(facts, intent, turn);
    }
    if turn.is_idle() {
        proxies(facts, intent, turn);
    }
}

fn objects(facts: &Facts, intent: &Intent, turn: &mut Turn) {
    let Observed::Known(objects) = &facts.objects else {
        turn.waits.push(WaitingOn::ObjectsUnknown);
        return;
    };
    if objects_in_line(objects, intent) {
        return;
    }
    match side::api_member(facts, intent) {
        None => turn.waits.push(WaitingOn::NoMemberToAsk),
        Some(via) => turn.steps.push(SideStep::SetObjects { via }),
    }
}

pub fn objects_in_line(objects: &ObjectFacts, intent: &Intent) -> bool {
    let wanted = intent.endpoint.address.to_string();
    let names = intent.endpoint.wanted_names();
    let unwanted = intent.endpoint.unwanted_names();
    objects.kubeadm == wanted
        && names.is_subset(&objects.names)
        && unwanted.is_disjoint(&objects.names)
        && objects.info == wanted
        && objects.info_signed
        && (objects.proxy.is_empty() || objects.proxy == wanted)
}

/// None: not known.
pub fn node_in_line(facts: &Facts, intent: &Intent, node: &NodeName) -> Option<bool> {
    let wanted = intent.endpoint.address.to_string();
    let known = facts.node(node);
    let carriers = &known.endpoint.known()?.carriers;
    let strays = carriers
        .iter()
        .filter(|it| it.follows && it.value != wanted);
    Some(strays.count() == 0)
}

fn members(facts: &Facts, intent: &Intent, turn: &mut Turn) {
    let in_line = |node: &NodeIntent| node_in_line(facts, intent, &node.name);
    presence::one_by_one(facts, intent, turn, in_line, |node| SideStep::SetCarriers {
        node,
    });
}

fn workers(facts: &Facts, intent: &Intent, turn: &mut Turn) {
    let under_way = facts
        .running
        .iter()
        .filter(|run| run.kind == StepKind::SetCarriers)
        .count();
    let running = |name: &NodeName| facts.is_running(StepKind::SetCarriers, name);
    let mut behind = Vec::new();
    for node in presence::workers(facts, intent) {
        match node_in_line(facts, intent, &node.name) {
            None => turn
                .waits
                .push(WaitingOn::ServingUnknown(node.name.clone())),
            // Its files come first, and the kubelet that is to read them after: until the order has ended it is not done.
            Some(true) if running(&node.name) => behind.push(node.name.clone()),
            Some(true) => {}
            Some(false) => behind.push(node.name.clone()),
        }
    }
    // Those under way are among them, and count.
    let room = WORKERS_AT_ONCE.saturating_sub(under_way);
    let (now, later): (Vec<_>, Vec<_>) = behind.into_iter().partition(running);
    let begin = later.into_iter().take(room);
    let steps = now.into_iter().chain(begin);
    turn.steps
        .extend(steps.map(|node| SideStep::SetCarriers { node }));
    if !turn.steps.is_empty() {
        turn.waits.clear(); // a step is what happens next
    }
}

/// A pod without a mark is as kubeadm made it: right until the endpoint first moves, and on a node that was away then.
fn is_old(facts: &Facts, intent: &Intent, node: &NodeName, held: &str, wanted: &str) -> bool {
    let rotation = intent.endpoint.rotation.as_ref();
    let moves = rotation.is_some_and(|it| it.other.is_some() && !it.rolling_back);
    match held {
        "" => moves || facts.behind.contains(node),
        held => held != wanted,
    }
}

/// Proxies that run with an earlier configuration, of nodes that can be reached. One batch at a time.
fn proxies(facts: &Facts, intent: &Intent, turn: &mut Turn) {
    let Observed::Known(objects) = &facts.objects else {
        return;
    };
    if objects.proxy.is_empty() {
        return;
    }
    let wanted = intent.endpoint.address.to_string();
    let present: BTreeSet<NodeName> = presence::nodes(facts, intent).into_iter().collect();
    let old: BTreeSet<NodeName> = objects
        .proxies
        .iter()
        .filter(|(node, address)| {
            present.contains(*node) && is_old(facts, intent, node, address, &wanted)
        })
        .map(|(node, _)| node.clone())
        .take(WORKERS_AT_ONCE)
        .collect();
    if old.is_empty() {
        return;
    }
    match side::api_member(facts, intent) {
        None => turn.waits.push(WaitingOn::NoMemberToAsk),
        Some(via) => turn
            .steps
            .push(SideStep::RestartProxies { via, nodes: old }),
    }
}
