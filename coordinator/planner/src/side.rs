//! Steps beside the membership change: as many at once as there are nodes. One function a concern, one step a node a round.

use crate::facts::{Facts, Marks, MemberList};
use crate::intent::{Balancing, Distribution, Intent, NodeIntent, NodeName};
use crate::leaving;
use crate::membership::held_back;
use crate::rotation::names;
use crate::safety;
use crate::step::{SideStep, StepKind};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// Orders for one agent at a time: some are about other nodes, a thousand of which may need one, and an agent takes a few dozen.
pub const ORDERS_A_NODE: usize = 16;
/// Workers that join at the same time: each of them costs an API server some requests a second for as long as it starts.
pub const JOINS_AT_ONCE: usize = 100;

pub fn steps(facts: &Facts, intent: &Intent, now: Time) -> Vec<SideStep> {
    let gate = preflight_gate(facts, intent);
    let founding = founding_node(facts, intent);
    let mut steps: Vec<SideStep> = intent
        .nodes
        .iter()
        .filter_map(|node| node_step(facts, intent, node, gate, founding.as_ref()))
        .collect();
    steps.extend(cluster_steps(facts, intent));
    steps.extend(verification(facts, intent));
    steps.retain(|step| {
        let (_, subject) = step.nodes();
        !facts.is_running(step.kind(), subject)
            && held_back(facts, step.kind(), subject, now).is_none()
            && facts.failed(subject).is_none()
    });
    bounded(facts, steps)
}

/// Those that there is room for now; the others come when these have ended.
fn bounded(facts: &Facts, steps: Vec<SideStep>) -> Vec<SideStep> {
    let mut on: BTreeMap<&NodeName, usize> = BTreeMap::new();
    let mut joining = 0;
    for run in &facts.running {
        *on.entry(&run.on).or_default() += 1;
        joining += usize::from(run.kind == StepKind::JoinWorker);
    }
    let mut taken = Vec::new();
    for step in &steps {
        let joins = step.kind() == StepKind::JoinWorker;
        let there = on.entry(step.nodes().0).or_default();
        if *there < ORDERS_A_NODE && (!joins || joining < JOINS_AT_ONCE) {
            *there += 1;
            joining += usize::from(joins);
            taken.push(step.clone());
        }
    }
    taken
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    Open,
    /// Some connected node has not been looked at yet.
    Looking,
    /// A node has a fatal finding: nothing is touched anywhere.
    Shut,
}

/// Nothing is installed anywhere before every new node that can be reached has passed its preflight.
pub fn preflight_gate(facts: &Facts, intent: &Intent) -> Gate {
    let mut gate = Gate::Open;
    for node in &intent.nodes {
        let known = facts.node(&node.name);
        let leaves = intent.is_leaving(&node.name);
        if leaves || joined(facts, node) || installed(facts, node) || !known.connected {
            continue;
        }
        if !known.preflight_fatal.is_empty()
            || facts
                .trouble(StepKind::Preflight, &node.name)
                .is_some_and(|t| t.given_up())
        {
            return Gate::Shut;
        }
        if !passed(facts, node) {
            gate = Gate::Looking;
        }
    }
    gate
}

/// The node that is to form the cluster: the one named before, or the first member of the file that is connected.
fn founding_node(facts: &Facts, intent: &Intent) -> Option<NodeName> {
    if facts.formed {
        return None;
    }
    if facts.founder.is_some() {
        return facts.founder.clone();
    }
    // Etcd that runs on a node of ours without a founder on record would be another cluster; preflight says so.
    intent
        .members()
        .find(|node| facts.node(&node.name).connected)
        .map(|node| node.name.clone())
}

fn node_step(
    facts: &Facts,
    intent: &Intent,
    node: &NodeIntent,
    gate: Gate,
    founding: Option<&NodeName>,
) -> Option<SideStep> {
    let name = &node.name;
    let known = facts.node(name);
    let marks = known.marks.known()?;
    if !known.connected || facts.busy(name) || holds_slot(facts, name) {
        return None;
    }
    if intent.is_leaving(name) {
        return node
            .balancer
            .then(|| balancer_step(facts, intent, name))
            .flatten();
    }
    if facts.dirty.contains(name) {
        return Some(SideStep::Reset { node: name.clone() });
    }
    // It was away when its cluster was started.
    if marks.stopped {
        return Some(SideStep::StartNode { node: name.clone() });
    }
    if !joined(facts, node) {
        if !installed(facts, node) && !passed(facts, node) {
            let looked = !known.preflight_fatal.is_empty();
            return (!looked).then(|| SideStep::Preflight { node: name.clone() });
        }
        if !installed(facts, node) {
            return (gate == Gate::Open).then(|| SideStep::Install { node: name.clone() });
        }
    }
    if node.balancer
        && let Some(step) = balancer_step(facts, intent, name)
    {
        return Some(step);
    }
    if node.member {
        return member_step(facts, intent, node, marks, founding);
    }
    if node.worker && !marks.worker {
        return worker_step(facts, intent, name);
    }
    None
}

fn member_step(
    facts: &Facts,
    intent: &Intent,
    node: &NodeIntent,
    marks: &Marks,
    founding: Option<&NodeName>,
) -> Option<SideStep> {
    let name = &node.name;
    if founding == Some(name) && !marks.authority {
        return Some(SideStep::CreateAuthority { node: name.clone() });
    }
    let voter = facts
        .member(&node.peer_url)
        .is_some_and(|m| !m.learner && m.started());
    if voter {
        return (!marks.finished).then(|| SideStep::Finish { node: name.clone() });
    }
    if founding == Some(name) || marks.prepared {
        return None; // its turn comes with the membership change
    }
    let from = authority_holder(facts, intent)?;
    Some(SideStep::Prepare {
        node: name.clone(),
        from,
    })
}

/// A node that can hand out the cluster's authorities.
fn authority_holder(facts: &Facts, intent: &Intent) -> Option<NodeName> {
    let holds = |name: &NodeName| {
        let known = facts.node(name);
        known.connected
            && known
                .marks
                .known()
                .is_some_and(|m| m.authority || m.finished)
    };
    let stays = |name: &NodeName| holds(name) && !intent.is_leaving(name);
    let founder = facts.founder.clone().filter(stays);
    founder
        .or_else(|| facts.nodes.keys().find(|name| stays(name)).cloned())
        .or_else(|| facts.nodes.keys().find(|name| holds(name)).cloned())
}

fn worker_step(facts: &Facts, intent: &Intent, node: &NodeName) -> Option<SideStep> {
    if !endpoint_serves(facts, intent) {
        return None;
    }
    let via = api_member(facts, intent)?;
    Some(SideStep::JoinWorker {
        node: node.clone(),
        via,
    })
}

fn balancer_step(facts: &Facts, intent: &Intent, node: &NodeName) -> Option<SideStep> {
    let known = facts.node(node);
    let balancer = known.balancer.known()?;
    let members = wanted_backends(facts, intent, &balancer.members);
    let pool = balancer.retired || balancer.members == members;
    let right = balancer.running && balancer.current && pool;
    (!right).then(|| SideStep::ConfigureBalancer {
        node: node.clone(),
        members,
    })
}

/// Members that serve, and those already there whose state is unknown: the load balancer's own health check deals with these.
fn wanted_backends(
    facts: &Facts,
    intent: &Intent,
    present: &BTreeSet<NodeName>,
) -> BTreeSet<NodeName> {
    intent
        .members()
        .filter(|node| !misleads(facts, intent, node))
        .filter(|node| !leaving::leaves_pool(facts, intent, &node.name))
        .filter(|node| match serves(facts, intent, node) {
            Some(true) => true,
            Some(false) | None => {
                present.contains(&node.name)
                    && !facts.dirty.contains(&node.name)
                    && facts.member(&node.peer_url).is_none_or(|m| !m.learner)
            }
        })
        .map(|node| node.name.clone())
        .collect()
}

/// Clients that come by the endpoint would find a certificate without its name: the member was away when the endpoint moved.
fn misleads(facts: &Facts, intent: &Intent, node: &NodeIntent) -> bool {
    facts.behind.contains(&node.name) && !names::complete(facts, intent, node)
}

/// Whether this member answers clients; none if that is not known.
pub fn serves(facts: &Facts, intent: &Intent, node: &NodeIntent) -> Option<bool> {
    let member = facts.member(&node.peer_url)?;
    match intent.distribution {
        Distribution::Etcd => Some(safety::healthy_voters(std::slice::from_ref(member)) == 1),
        Distribution::Kubeadm => facts.node(&node.name).api_ready.known().copied(),
    }
}

fn endpoint_serves(facts: &Facts, intent: &Intent) -> bool {
    match intent.balancing {
        Balancing::Managed => intent.nodes.iter().filter(|n| n.balancer).any(|n| {
            facts
                .node(&n.name)
                .balancer
                .known()
                .is_some_and(|b| b.running && !b.up.is_empty())
        }),
        Balancing::None | Balancing::External => api_member(facts, intent).is_some(),
    }
}

/// A member through which the API can be used now.
pub fn api_member(facts: &Facts, intent: &Intent) -> Option<NodeName> {
    let can = |node: &&NodeIntent| {
        facts.node(&node.name).connected && serves(facts, intent, node) == Some(true)
    };
    let stays = |node: &&NodeIntent| !intent.is_leaving(&node.name);
    let staying = intent.members().filter(stays).find(can);
    staying
        .or_else(|| intent.members().find(can))
        .map(|node| node.name.clone())
}

/// Once all members serve: every one of them calls the others through the foreign load balancer.
fn verification(facts: &Facts, intent: &Intent) -> Vec<SideStep> {
    let all_serve = || {
        intent
            .members()
            .all(|node| joined(facts, node) && serves(facts, intent, node) == Some(true))
    };
    if !all_serve() {
        return Vec::new();
    }
    unproven(facts, intent)
        .map(|node| SideStep::Probe {
            node: node.name.clone(),
        })
        .collect()
}

/// Members that have yet to call the others through the foreign load balancer.
pub fn unproven<'a>(facts: &'a Facts, intent: &'a Intent) -> impl Iterator<Item = &'a NodeIntent> {
    let verify = facts.verify && intent.balancing == Balancing::External;
    let members = intent.members().filter(move |_| verify);
    members.filter(|node| !facts.proven.contains(&node.name))
}

fn cluster_steps(facts: &Facts, intent: &Intent) -> Vec<SideStep> {
    let mut steps = Vec::new();
    if intent.distribution == Distribution::Etcd {
        return steps;
    }
    let Some(via) = api_member(facts, intent) else {
        return steps;
    };
    // Its mark may be on a member whose report is on its way: a step that is done would be done again.
    if intent.members().any(|node| {
        let known = facts.node(&node.name);
        known.connected && known.marks.known().is_none()
    }) {
        return steps;
    }
    let asked = facts
        .objects
        .known()
        .is_some_and(|it| !it.serving_requests.is_empty());
    if asked {
        steps.push(SideStep::ApproveServing { via: via.clone() });
    }
    if let Some(wanted) = &intent.manifests
        && !marked(facts, |marks| &marks.manifests == wanted)
    {
        steps.push(SideStep::ApplyManifests { via: via.clone() });
    }
    for node in &intent.nodes {
        let leaves = intent.is_leaving(&node.name);
        if leaves || !joined(facts, node) || !(node.member || node.worker) {
            continue;
        }
        if let Some(wanted) = &node.wants.configure
            && !marked(facts, |marks| {
                marks.configured.get(&node.name) == Some(wanted)
            })
        {
            steps.push(SideStep::ConfigureNode {
                node: node.name.clone(),
                via: via.clone(),
            });
        }
    }
    steps
}

fn marked(facts: &Facts, holds: impl Fn(&crate::facts::Marks) -> bool) -> bool {
    facts
        .nodes
        .values()
        .any(|node| node.marks.known().is_some_and(&holds))
}

pub fn installed(facts: &Facts, node: &NodeIntent) -> bool {
    let known = facts.node(&node.name);
    known
        .marks
        .known()
        .is_some_and(|m| m.install == node.wants.install)
}

fn passed(facts: &Facts, node: &NodeIntent) -> bool {
    let known = facts.node(&node.name);
    known
        .marks
        .known()
        .is_some_and(|m| m.preflight == node.wants.preflight)
}

/// Whether the node is part of the cluster already; such a node is neither examined nor installed anew.
pub fn joined(facts: &Facts, node: &NodeIntent) -> bool {
    let known = facts.node(&node.name);
    let Some(marks) = known.marks.known() else {
        return false;
    };
    let as_member = match &facts.etcd.list {
        MemberList::Known(_) => {
            marks.finished && facts.member(&node.peer_url).is_some_and(|m| !m.learner)
        }
        MemberList::Unknown | MemberList::Conflict(_) => marks.finished,
    };
    let balancer = known.balancer.known();
    let as_balancer = balancer.is_some_and(|b| b.running && b.current);
    (!node.member || as_member) && (!node.worker || marks.worker) && (!node.balancer || as_balancer)
}

fn holds_slot(facts: &Facts, node: &NodeName) -> bool {
    facts
        .change
        .as_ref()
        .is_some_and(|change| &change.node == node)
}

#[cfg(test)]
mod tests;
