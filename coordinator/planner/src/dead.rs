//! Nodes that have fallen silent: which of them are dead, and what is done about it. Off unless the cluster file says so.
//!
//! Three witnesses that do not depend on each other have to say so for the configured time: its agent, its kubelet's lease as control
//! planes read it, and its etcd member as the others see it. Unknown is no witness.
//!
//! A partition of the coordinator looks like the death of many: nothing is done unless the silent ones are a minority, and enough
//! healthy ones are left.

#[cfg(test)]
mod tests;

use crate::facts::{Facts, Lease, Observed, OutOfService};
use crate::intent::{Distribution, Intent, NodeIntent, NodeName};
use crate::membership::held_back;
use crate::quorum;
use crate::side;
use crate::step::SideStep;
use crate::time::Time;
use crate::waiting::{Role, WaitingOn, Witness};
use serde::{Deserialize, Serialize};

/// Nodes that control planes look at for us at the same time: each costs three reads, twice a second.
pub const MOST_WATCHED: usize = 16;

/// An agent that was not heard of for three heartbeats is looked at more closely: from then on its lease is timed, and what is later
/// here is later for its pods.
pub const SUSPECT_MS: u64 = 3_000;
/// A node that nobody can see stops its pods this much before it counts as dead: four seconds to end them, two for clocks that go
/// differently and for the machine's other work.
const STOPPED_AHEAD_MS: u64 = 6_000;
/// With `fence` a node has to be sure of its own silence first, which takes some tries.
pub const AFTER_FENCED_MS: u64 = 18_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    #[default]
    Off,
    /// Declared out of service, so that its pods and volumes are freed; taken back when it returns.
    Taint,
    /// The same, once it is certain that a living node has stopped its own pods.
    Fence,
    /// The same, and it is removed from the cluster after a further time.
    Purge,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadNodes {
    pub policy: Policy,
    pub after_ms: u64,
    #[serde(default)]
    pub purge_after_ms: u64,
    /// None: a quorum of them.
    pub min_healthy_control_planes: Option<usize>,
    /// None: one, where there are any.
    pub min_healthy_workers: Option<usize>,
}

impl Default for DeadNodes {
    /// Kubernetes' own answer, eviction after five minutes, goes on as it is.
    fn default() -> Self {
        DeadNodes {
            policy: Policy::Off,
            after_ms: 15_000,
            purge_after_ms: 3_600_000,
            min_healthy_control_planes: None,
            min_healthy_workers: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its agent is silent.
    Silent,
    Dead,
    OutOfService,
}

/// One round of looking after the dead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dead {
    pub steps: Vec<SideStep>,
    pub states: Vec<(NodeName, State)>,
    pub waits: Vec<WaitingOn>,
    /// To be removed from the cluster, as an operator would.
    pub purge: Option<NodeName>,
}

pub fn next(facts: &Facts, intent: &Intent, now: Time) -> Dead {
    let mut dead = Dead::default();
    if intent.distribution != Distribution::Kubeadm {
        return dead;
    }
    let mut lost = Vec::new();
    let mut gone = Vec::new();
    for node in of_kubernetes(intent) {
        if let Some(out) = facts.out_of_service.get(&node.name) {
            dead.states.push((node.name.clone(), State::OutOfService));
            match return_of(facts, node, out) {
                Return::Away => {
                    let object = facts.node(&node.name).life.object.known();
                    let unfinished = object.is_some_and(|it| !it.tainted || it.to_free > 0);
                    let still = acts(intent) && against(facts, intent, node, now).is_empty();
                    if unfinished && still {
                        lost.push(node);
                    } else if object.is_some() && still {
                        gone.push(node);
                    }
                }
                Return::Waits(wait) => dead.waits.push(wait),
                Return::Back => dead.add(facts, intent, now, node, |node, via| {
                    SideStep::UntaintNode { node, via }
                }),
            }
        } else if acts(intent) && is_silent(facts, node) && !intent.is_leaving(&node.name) {
            let against = against(facts, intent, node, now);
            let state = match against.is_empty() {
                true => State::Dead,
                false => State::Silent,
            };
            if against.is_empty() {
                lost.push(node);
            }
            dead.states.push((node.name.clone(), state));
            dead.waits.extend(against);
        } else if is_unarmed(facts, intent, node) {
            dead.waits.push(WaitingOn::NotArmed(node.name.clone()));
        }
    }
    let purged = gone
        .into_iter()
        .find(|it| is_purged(facts, intent, it, now));
    if lost.is_empty() && purged.is_none() {
        return dead;
    }
    let guards = guards(facts, intent);
    if guards.is_empty() {
        dead.purge = purged.map(|it| it.name.clone());
        // One a round: what is left is counted anew after each.
        for node in lost {
            if dead.steps.is_empty() {
                dead.add(facts, intent, now, node, |node, via| SideStep::TaintNode {
                    node,
                    via,
                });
            }
        }
    }
    dead.waits.extend(guards);
    dead
}

/// By the coordinator's own observation only: after its restart the time begins anew.
fn is_purged(facts: &Facts, intent: &Intent, node: &NodeIntent, now: Time) -> bool {
    let policy = &intent.dead_nodes;
    let silent = facts.node(&node.name).life.silent_since.known();
    let silent_ms = silent.copied().flatten().map(|since| now.since(since));
    policy.policy == Policy::Purge
        && !intent.is_leaving(&node.name)
        && silent_ms.is_some_and(|it| it >= policy.after_ms + policy.purge_after_ms)
}

impl Dead {
    fn add(
        &mut self,
        facts: &Facts,
        intent: &Intent,
        now: Time,
        node: &NodeIntent,
        step: impl FnOnce(NodeName, NodeName) -> SideStep,
    ) {
        let Some(via) = via(facts, intent, node) else {
            self.waits.push(WaitingOn::NoMemberToAsk);
            return;
        };
        let step = step(node.name.clone(), via);
        if let Some(wait) = held_back(facts, step.kind(), &node.name, now) {
            self.waits.push(wait);
        } else if !facts.is_running(step.kind(), &node.name) {
            self.steps.push(step);
        }
    }
}

/// A control plane through which the API can be used, and that is no suspect itself.
fn via(facts: &Facts, intent: &Intent, node: &NodeIntent) -> Option<NodeName> {
    let can = |it: &&NodeIntent| {
        let serves = side::serves(facts, intent, it) == Some(true);
        it.name != node.name && is_heard(facts, it) && facts.node(&it.name).connected && serves
    };
    intent.members().find(can).map(|it| it.name.clone())
}

/// Whom control planes are to look at: who has fallen silent, and who was declared out of service.
pub fn watched(facts: &Facts, intent: &Intent) -> Vec<NodeName> {
    if intent.distribution != Distribution::Kubeadm || intent.shutdown.is_some() {
        return Vec::new();
    }
    of_kubernetes(intent)
        .filter(|node| {
            let out = facts.out_of_service.contains_key(&node.name);
            out || (acts(intent) && is_silent(facts, node) && !intent.is_leaving(&node.name))
        })
        .map(|node| node.name.clone())
        .take(MOST_WATCHED)
        .collect()
}

/// Whether anything is done about nodes that die.
pub fn acts(intent: &Intent) -> bool {
    intent.distribution == Distribution::Kubeadm && intent.dead_nodes.policy != Policy::Off
}

/// After how long without contact a node stops its own pods, where it has to.
pub fn fence_ms(intent: &Intent) -> Option<u64> {
    let fences = match intent.dead_nodes.policy {
        Policy::Off | Policy::Taint => false,
        Policy::Fence | Policy::Purge => true,
    };
    let before = intent.dead_nodes.after_ms.saturating_sub(STOPPED_AHEAD_MS);
    (fences && acts(intent)).then_some(before)
}

fn of_kubernetes(intent: &Intent) -> impl Iterator<Item = &NodeIntent> {
    intent.nodes.iter().filter(|it| it.member || it.worker)
}

/// It has joined, answers, and has not said that it stops its pods by itself.
fn is_unarmed(facts: &Facts, intent: &Intent, node: &NodeIntent) -> bool {
    let known = facts.node(&node.name);
    let joined = known.marks.known();
    let joined = joined.is_some_and(|marks| marks.finished || marks.worker);
    fence_ms(intent).is_some() && joined && known.connected && !facts.armed.contains(&node.name)
}

/// Of a node that is not enrolled nothing is expected.
fn is_silent(facts: &Facts, node: &NodeIntent) -> bool {
    let silent = facts.node(&node.name).life.silent_since.known();
    silent.is_some_and(Option::is_some)
}

/// Everything that speaks against taking a node for dead; the same rules for a control plane and a worker.
pub fn against(facts: &Facts, intent: &Intent, node: &NodeIntent, now: Time) -> Vec<WaitingOn> {
    let after = intent.dead_nodes.after_ms;
    let mut reasons = Vec::new();
    let mut remaining_ms = 0;
    for (witness, since) in [
        (Witness::Agent, agent(facts, node)),
        (Witness::Kubelet, kubelet(facts, node)),
        (Witness::Etcd, etcd(facts, node)),
    ] {
        let name = node.name.clone();
        match since {
            Observed::Unknown => reasons.push(WaitingOn::WitnessSilent {
                node: name,
                witness,
            }),
            Observed::Known(Since::Lives) => reasons.push(WaitingOn::WitnessAgainst {
                node: name,
                witness,
            }),
            Observed::Known(Since::Always) => {}
            Observed::Known(Since::Time(since)) => {
                remaining_ms = after.saturating_sub(now.since(since)).max(remaining_ms);
            }
        }
    }
    if fence_ms(intent).is_some() && !facts.armed.contains(&node.name) {
        reasons.push(WaitingOn::NotFenced(node.name.clone()));
    }
    if reasons.is_empty() && remaining_ms > 0 {
        reasons.push(WaitingOn::NotDeadYet {
            node: node.name.clone(),
            remaining_ms,
        });
    }
    reasons
}

/// Since when a witness has seen nothing of a node.
enum Since {
    Lives,
    Time(Time),
    /// There is nothing that it could see.
    Always,
}

fn since(observed: &Observed<Option<Time>>) -> Observed<Since> {
    match observed {
        Observed::Unknown => Observed::Unknown,
        Observed::Known(None) => Observed::Known(Since::Lives),
        Observed::Known(Some(time)) => Observed::Known(Since::Time(*time)),
    }
}

fn agent(facts: &Facts, node: &NodeIntent) -> Observed<Since> {
    since(&facts.node(&node.name).life.silent_since)
}

fn kubelet(facts: &Facts, node: &NodeIntent) -> Observed<Since> {
    let life = &facts.node(&node.name).life;
    match (life.lease.known(), life.object.known()) {
        (
            Some(Lease {
                unchanged_since, ..
            }),
            Some(_),
        ) => Observed::Known(Since::Time(*unchanged_since)),
        // No lease, or no Node: it is not in the cluster yet, or cannot be seen.
        (Some(_) | None, Some(_) | None) => Observed::Unknown,
    }
}

fn etcd(facts: &Facts, node: &NodeIntent) -> Observed<Since> {
    use crate::facts::MemberList;
    if !node.member {
        return Observed::Known(Since::Always);
    }
    match &facts.etcd.list {
        MemberList::Unknown | MemberList::Conflict(_) => Observed::Unknown,
        MemberList::Known(_) if facts.member(&node.peer_url).is_none() => {
            Observed::Known(Since::Always)
        }
        MemberList::Known(_) => since(&facts.node(&node.name).life.peer_away_since),
    }
}

/// What keeps everything from being done, whichever node is dead.
fn guards(facts: &Facts, intent: &Intent) -> Vec<WaitingOn> {
    let mut reasons = Vec::new();
    let nodes = of_kubernetes(intent).count();
    let silent = of_kubernetes(intent)
        .filter(|node| facts.out_of_service.contains_key(&node.name) || !is_heard(facts, node))
        .count();
    if !quorum::is_minority(silent, nodes) {
        reasons.push(WaitingOn::TooManySilent { silent, nodes });
    }
    let healthy = |of: fn(&NodeIntent) -> bool| {
        let some = of_kubernetes(intent).filter(|node| of(node));
        some.filter(|node| is_healthy(facts, node)).count()
    };
    let policy = &intent.dead_nodes;
    let control_planes = intent.members().count();
    let workers = of_kubernetes(intent).any(|node| node.worker);
    for (role, healthy, needed) in [
        (
            Role::ControlPlane,
            healthy(|node| node.member),
            policy
                .min_healthy_control_planes
                .unwrap_or_else(|| quorum::quorum(control_planes)),
        ),
        (
            Role::Worker,
            healthy(|node| node.worker),
            policy.min_healthy_workers.unwrap_or(usize::from(workers)),
        ),
    ] {
        if healthy < needed {
            reasons.push(WaitingOn::TooFewHealthy {
                role,
                healthy,
                needed,
            });
        }
    }
    reasons
}

fn is_heard(facts: &Facts, node: &NodeIntent) -> bool {
    facts.node(&node.name).life.silent_since.is(&None)
}

fn is_healthy(facts: &Facts, node: &NodeIntent) -> bool {
    let known = facts.node(&node.name);
    let out = facts.out_of_service.contains_key(&node.name);
    known.connected && is_heard(facts, node) && known.node_ready.is(&true) && !out
}

enum Return {
    Away,
    Waits(WaitingOn),
    Back,
}

/// It is back when its agent answers, its kubelet has renewed its lease since, and what it had run has ended.
fn return_of(facts: &Facts, node: &NodeIntent, out: &OutOfService) -> Return {
    let life = &facts.node(&node.name).life;
    let renewed = life
        .lease
        .known()
        .is_some_and(|it| it.renewed_us > out.lease_us);
    let Some(object) = life.object.known().filter(|_| is_heard(facts, node)) else {
        return Return::Away;
    };
    if !renewed || !object.ready {
        return Return::Away;
    }
    match object.terminating {
        0 => Return::Back,
        pods => Return::Waits(WaitingOn::NotClean {
            node: node.name.clone(),
            pods,
        }),
    }
}
