//! Dead nodes: what witnesses report of silent nodes, what is written down before something is done, and what operators are shown.

pub mod shown;
#[cfg(test)]
mod tests;

use super::agents::AgentState;
use super::observe::Sources;
use super::records::ClusterRecord;
use super::view::View;
use crate::store::{Key, Transaction};
use quorate_planner::dead;
use quorate_planner::facts::{
    Facts, Lease, Life, MemberList, NodeFacts, NodeObject, Observed, OutOfService,
};
use quorate_planner::intent::{Distribution, NodeName};
use quorate_planner::time::Time;
use quorate_proto::limits::REPORT_AT_WORK_MS;
use quorate_proto::v1::{EtcdView, KubeView};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// In whose name the audit trail says it.
const WHO: &str = "coordinator";
/// A node that was taken out of service may be away for days: nobody waits for a second.
const AWAITED_MS: u32 = 5_000;
/// That, and a report that takes its two seconds.
const CURRENT_MS: u64 = 7_500;

/// Since when each witness has seen nothing. In memory: after a restart of the coordinator it is observed anew.
#[derive(Default)]
pub struct Witnesses {
    leases: BTreeMap<NodeName, Lease>,
    peers: BTreeMap<NodeName, Time>,
}

/// Fills in what is known of each node's life.
pub fn observe(
    sources: &Sources<'_>,
    list: &MemberList,
    nodes: &mut BTreeMap<NodeName, NodeFacts>,
    witnesses: &mut Witnesses,
) {
    let off = !dead::acts(sources.intent) && sources.record.out_of_service.is_empty();
    // A start ends only once nodes are seen to be ready, whatever is done about dead ones.
    let off = off && sources.record.shutdown.is_none();
    if off || sources.intent.distribution != Distribution::Kubeadm {
        return;
    }
    let views: Vec<&AgentState> = sources
        .intent
        .members()
        .filter_map(|node| sources.agents.get(&node.name.0))
        .filter(|agent| is_current(agent, sources.now))
        .collect();
    let ready = ready(&views);
    for node in sources
        .intent
        .nodes
        .iter()
        .filter(|it| it.member || it.worker)
    {
        let Some(facts) = nodes.get_mut(&node.name) else {
            continue;
        };
        facts.node_ready = match (
            &ready,
            ready.as_ref().and_then(|it| it.get(node.name.0.as_str())),
        ) {
            (None, _) => Observed::Unknown,
            (Some(_), known) => Observed::Known(known.copied().unwrap_or_default()),
        };
        let agent = sources.agents.get(&node.name.0);
        facts.life = Life {
            silent_since: silent_since(agent, dead::SUSPECT_MS, sources.now),
            ..witnesses.look(&node.name, &views, sources)
        };
        let member = match list {
            MemberList::Known(members) => members.iter().find(|it| it.peer_url == node.peer_url),
            MemberList::Unknown | MemberList::Conflict(_) => None,
        };
        let away = member.and_then(|member| peer_away(&views, member.id));
        facts.life.peer_away_since = witnesses.peer(&node.name, away, sources.now);
    }
}

/// Silent nodes are reported on twice a second, and at least as often as [`AWAITED_MS`]; what is older is not what is.
fn is_current(agent: &AgentState, now: Time) -> bool {
    agent.connected && now.since(Time(agent.reported_ms)) <= CURRENT_MS
}

fn kube(agent: &AgentState) -> Option<&KubeView> {
    agent.report.as_deref()?.kube.as_ref()
}

fn etcd(agent: &AgentState) -> Option<&EtcdView> {
    agent.report.as_deref()?.etcd.as_ref()
}

/// By name, whether every control plane that tells has it as ready; none if none tells.
fn ready<'a>(views: &[&'a AgentState]) -> Option<BTreeMap<&'a str, bool>> {
    let mut all: Option<BTreeMap<&str, bool>> = None;
    for kube in views.iter().filter_map(|agent| kube(agent)) {
        if kube.nodes_known {
            let known = all.get_or_insert_default();
            for node in &kube.nodes {
                *known.entry(&node.name).or_insert(true) &= node.ready;
            }
        }
    }
    all
}

/// An agent whose certificate was taken back, or that never enrolled, tells nothing by its silence.
fn silent_since(agent: Option<&AgentState>, suspect_ms: u64, now: Time) -> Observed<Option<Time>> {
    let Some(agent) = agent.filter(|agent| !agent.revoked) else {
        return Observed::Unknown;
    };
    let heard = Time(agent.heard_ms);
    let silent = !agent.connected || now.since(heard) >= suspect_ms;
    Observed::Known(silent.then_some(heard))
}

/// None: nobody tells. A member that has a connection proves that the other one lives, whatever the others say.
fn peer_away(views: &[&AgentState], id: u64) -> Option<bool> {
    let told: Vec<bool> = views
        .iter()
        .filter_map(|agent| etcd(agent))
        .filter(|view| view.peers_known && view.member_id != id)
        .map(|view| view.peers_away.contains(&id))
        .collect();
    (!told.is_empty()).then(|| told.iter().all(|away| *away))
}

impl Witnesses {
    /// Leases only grow: an API server whose memory is behind shows an older one.
    fn look(&mut self, name: &NodeName, views: &[&AgentState], sources: &Sources<'_>) -> Life {
        let now = sources.now;
        let told = views.iter().filter_map(|agent| {
            let lives = &kube(agent)?.lives;
            let life = lives.iter().find(|life| life.name == name.0)?;
            Some((life, agent.reported_ms))
        });
        let newest = told.max_by_key(|(life, at)| (life.lease_unix_us, *at));
        let Some((told, at)) = newest else {
            return Life::default();
        };
        let lease = self.leases.entry(name.clone()).or_insert(Lease {
            renewed_us: told.lease_unix_us,
            unchanged_since: now,
        });
        if told.lease_unix_us > lease.renewed_us {
            *lease = Lease {
                renewed_us: told.lease_unix_us,
                unchanged_since: now,
            };
        }
        // What was read before an order ended tells of a world that is gone.
        let ended = sources
            .ended
            .values()
            .map(|it| it.at_ms)
            .max()
            .unwrap_or_default();
        let object = match at >= ended {
            true => Observed::Known(NodeObject {
                ready: told.ready,
                tainted: told.tainted,
                terminating: told.terminating,
                to_free: told.to_free,
            }),
            false => Observed::Unknown,
        };
        Life {
            lease: Observed::Known(*lease),
            object,
            ..Life::default()
        }
    }

    /// What nobody tells for a moment begins anew: a connection may have been there in between.
    fn peer(&mut self, name: &NodeName, away: Option<bool>, now: Time) -> Observed<Option<Time>> {
        if away != Some(true) {
            self.peers.remove(name);
        }
        match away {
            None => Observed::Unknown,
            Some(false) => Observed::Known(None),
            Some(true) => {
                let since = self.peers.entry(name.clone()).or_insert(now);
                Observed::Known(Some(*since))
            }
        }
    }
}

/// Of control planes: with somebody silent they look closely.
pub fn looking_ms(facts: &Facts, suspects: &[NodeName], usual: u32) -> u32 {
    let known = |node: &NodeName| facts.out_of_service.contains_key(node);
    if suspects.is_empty() {
        usual
    } else if suspects.iter().all(known) {
        AWAITED_MS.min(usual)
    } else {
        REPORT_AT_WORK_MS.min(usual)
    }
}

pub fn leases(facts: &Facts) -> BTreeMap<NodeName, i64> {
    let known = facts.nodes.iter().filter_map(|(name, node)| {
        let lease = node.life.lease.known()?;
        Some((name.clone(), lease.renewed_us))
    });
    known.collect()
}

/// Written together with the order: whatever becomes of that, the taint is not forgotten on a node that comes back.
pub fn taken_out(view: &View, node: &NodeName) -> Transaction {
    let mut record = ClusterRecord::clone(&view.record);
    let lease = view.facts.node(node).life.lease.known().copied();
    let lease_us = lease.unwrap_or_default().renewed_us;
    let since = view.now;
    let out = record.out_of_service.entry(node.0.clone());
    out.or_insert(OutOfService { since, lease_us }).lease_us = lease_us;
    Transaction::new()
        .unchanged(Key::cluster(&record.name), view.stored)
        .put(Key::cluster(&record.name), &record)
        .audit(
            WHO,
            "node-out-of-service",
            format!("{}: {node} is dead", record.name),
        )
}

/// The taint is off.
pub fn put_back(mut record: ClusterRecord, node: &str, transaction: Transaction) -> Transaction {
    record.out_of_service.remove(node);
    let detail = format!("{}: {node} is back", record.name);
    transaction
        .put(Key::cluster(&record.name), &record)
        .audit(WHO, "node-in-service", detail)
}

/// What the loops last saw of silent nodes, for those who only look: since when takes time to learn.
#[derive(Default)]
pub struct Lives(Mutex<BTreeMap<String, BTreeMap<NodeName, Life>>>);

impl Lives {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<NodeName, Life>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn keep(&self, cluster: &str, facts: &Facts) {
        let silent = facts
            .nodes
            .iter()
            .filter(|(_, node)| node.life.lease.known().is_some());
        let lives: BTreeMap<_, _> = silent
            .map(|(name, node)| (name.clone(), node.life.clone()))
            .collect();
        self.lock().insert(cluster.to_owned(), lives);
    }

    pub fn recall(&self, cluster: &str, facts: &mut Facts) {
        let all = self.lock();
        for (name, life) in all.get(cluster).into_iter().flatten() {
            if let Some(node) = facts.nodes.get_mut(name) {
                node.life = Life {
                    silent_since: node.life.silent_since.clone(),
                    ..life.clone()
                };
            }
        }
    }
}
