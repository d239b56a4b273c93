//! What `quorate status` shows, from the same facts that decisions are made from.

use super::agents::AgentState;
use super::handle::unknown_cluster;
use super::observe::FRESH_AT_REST_MS;
use super::plan::current_facts;
use super::records::ClusterRecord;
use super::shared::Shared;
use super::wants;
use crate::authority::NodeRecord;
use crate::store::Key;
use quorate_planner::facts::{Facts, Member, MemberList, Observed};
use quorate_planner::intent::{Intent, NodeName};
use quorate_planner::round;
use quorate_planner::safety;
use quorate_planner::shutdown::Wanted;
use quorate_planner::step::Membership;
use quorate_planner::time::Time;
use quorate_planner::{progress, quorum};
use quorate_proto::v1::*;
use std::collections::BTreeMap;

pub fn status(shared: &Shared, name: &str) -> Result<StatusResponse, Problem> {
    let records = if name.is_empty() {
        shared.clusters()?
    } else {
        vec![shared.cluster(name)?.ok_or_else(|| unknown_cluster(name))?]
    };
    let clusters = records
        .iter()
        .map(|record| one(shared, record))
        .collect::<Result<_, _>>()?;
    Ok(StatusResponse {
        clusters,
        epoch: shared.epoch,
        version: shared.version.clone(),
        notices: shared.store.notices(),
    })
}

fn one(shared: &Shared, record: &ClusterRecord) -> Result<ClusterStatus, Problem> {
    let intent = wants::intent(record);
    let now = Time(shared.now_ms());
    let facts = current_facts(shared, record, &intent, now)?;
    let round = round::next(&facts, &intent, now);
    let agents = shared.agents_of(record);
    let etcd = etcd(&facts, &agents);
    Ok(ClusterStatus {
        id: record.id.clone(),
        name: record.name.clone(),
        distribution: record.spec.cluster.distribution,
        version: record.spec.cluster.version.clone(),
        endpoint: record.spec.cluster.endpoint.clone(),
        health: health(record, &intent, &facts, &round, &etcd).to_owned(),
        nodes: nodes(record, &facts, &round, &agents),
        etcd: Some(etcd),
        load_balancers: load_balancers(record, &agents, now),
        certificates: certificates(shared, &agents),
        operation: record.operation.clone().unwrap_or_default(),
        membership: membership_line(&facts, &round.membership, record.shutdown.is_some()),
        waiting_on: waiting_on(&round),
        shutdown_unix: record
            .shutdown
            .as_ref()
            .and_then(|it| i64::try_from(it.since.0 / 1_000).ok())
            .unwrap_or_default(),
    })
}

/// Of the membership change, of a rotation, of a renewal, of dead nodes, of a stop or a start.
fn waiting_on(round: &round::Round) -> Vec<String> {
    let membership = match &round.membership {
        Membership::Wait(reasons) => reasons.as_slice(),
        Membership::Settled
        | Membership::Begin(..)
        | Membership::Continue(_)
        | Membership::Underway(..)
        | Membership::Complete(_)
        | Membership::Abandon(_)
        | Membership::Release(_) => &[],
    };
    let others = round.endpoint.waits.iter().chain(&round.renewing.waits);
    membership
        .iter()
        .chain(others)
        .chain(&round.departure.waits)
        .chain(&round.standstill.waits)
        .chain(&round.dead.waits)
        .map(ToString::to_string)
        .collect()
}

fn membership_line(facts: &Facts, membership: &Membership, stands: bool) -> String {
    if stands {
        return String::new();
    }
    if let Some(change) = &facts.change {
        return format!("{:?} of {} holds the slot", change.kind, change.node).to_lowercase();
    }
    match membership {
        Membership::Settled => "settled".into(),
        Membership::Underway(kind, node) => format!("{node}: {}", progress::describe(*kind)),
        Membership::Wait(reasons) if reasons.is_empty() => "not formed yet".into(),
        Membership::Wait(_) => "waits".into(),
        Membership::Begin(change, _) => format!("{} is next", change.node),
        Membership::Continue(_)
        | Membership::Complete(_)
        | Membership::Abandon(_)
        | Membership::Release(_) => "under way".into(),
    }
}

fn health(
    record: &ClusterRecord,
    intent: &Intent,
    facts: &Facts,
    round: &round::Round,
    etcd: &EtcdStatus,
) -> &'static str {
    if let Some(shutdown) = &record.shutdown {
        return match shutdown.wanted {
            Wanted::Running => "starting",
            Wanted::Stopped if round.standstill.complete => "stopped",
            Wanted::Stopped => "stopping",
        };
    }
    if record.founder.is_none() || (record.operation.is_some() && etcd.voters == 0) {
        return "forming";
    }
    if !etcd.known {
        return "unknown";
    }
    if etcd.failure_tolerance < 0 {
        return "unavailable";
    }
    let all_ready = round
        .progress
        .values()
        .all(|p| p.phase == progress::Phase::Ready);
    let all_serve = intent
        .members()
        .all(|node| quorate_planner::side::serves(facts, intent, node) == Some(true));
    if all_ready && all_serve && etcd.healthy_voters == etcd.voters {
        "healthy"
    } else {
        "degraded"
    }
}

fn nodes(
    record: &ClusterRecord,
    facts: &Facts,
    round: &round::Round,
    agents: &BTreeMap<String, AgentState>,
) -> Vec<ClusterNodeStatus> {
    let kube = kube_nodes(agents);
    record
        .spec
        .nodes
        .iter()
        .map(|node| {
            let name = NodeName(node.config.name.clone());
            let known = facts.node(&name);
            let progress = round.progress.get(&name);
            let state = super::dead::shown::detail(&round.dead, facts, agents.get(&name.0), &name);
            let object = kube.get(&node.config.name);
            let component = if record.spec.is_kubeadm() {
                "kubelet"
            } else {
                "etcd"
            };
            let version = agents.get(&name.0).and_then(|agent| {
                agent
                    .report
                    .as_ref()?
                    .host
                    .as_ref()?
                    .versions
                    .get(component)
                    .cloned()
            });
            ClusterNodeStatus {
                name: name.0.clone(),
                roles: roles(&node.config),
                address: node.config.address.clone(),
                zone: node.config.zone.clone(),
                connected: known.connected,
                phase: progress
                    .map(|p| p.phase.word().to_owned())
                    .unwrap_or_default(),
                version: version.unwrap_or_default(),
                ready: object.map_or(
                    progress.is_some_and(|p| p.phase == progress::Phase::Ready),
                    |o| o.ready,
                ),
                detail: match (progress, object) {
                    _ if state.is_some() => state.unwrap_or_default(),
                    (Some(p), _) if !p.detail.is_empty() => p.detail.clone(),
                    (_, Some(object)) if !object.ready => {
                        format!("Node is not Ready: {}", object.reason)
                    }
                    _ => String::new(),
                },
            }
        })
        .collect()
}

pub fn roles(node: &NodeConfig) -> String {
    let mut roles = Vec::new();
    for (has, role) in [
        (node.member, "member"),
        (node.worker, "worker"),
        (node.load_balancer, "load-balancer"),
    ] {
        if has {
            roles.push(role);
        }
    }
    roles.join(",")
}

/// The newest list of Node objects that any control plane reported.
fn kube_nodes(agents: &BTreeMap<String, AgentState>) -> BTreeMap<String, KubeNode> {
    let newest = agents
        .values()
        .filter(|agent| agent.connected)
        .filter_map(|agent| Some((agent.reported_ms, agent.report.as_ref()?.kube.as_ref()?)))
        .filter(|(_, kube)| kube.nodes_known)
        .max_by_key(|(at, _)| *at);
    newest
        .map(|(_, kube)| {
            kube.nodes
                .iter()
                .map(|n| (n.name.clone(), n.clone()))
                .collect()
        })
        .unwrap_or_default()
}

fn etcd(facts: &Facts, agents: &BTreeMap<String, AgentState>) -> EtcdStatus {
    let MemberList::Known(members) = &facts.etcd.list else {
        return EtcdStatus::default();
    };
    let voters = members.iter().filter(|m| !m.learner).count();
    let healthy = safety::healthy_voters(members);
    let newest = members
        .iter()
        .filter_map(|m| m.health.known())
        .map(|h| h.applied)
        .max()
        .unwrap_or(0);
    EtcdStatus {
        known: true,
        voters: voters as u32,
        healthy_voters: healthy as u32,
        learners: (members.len() - voters) as u32,
        quorum: quorum::quorum(voters) as u32,
        failure_tolerance: quorum::tolerance(voters, healthy) as i32,
        members: members
            .iter()
            .map(|member| etcd_row(member, newest, agents))
            .collect(),
    }
}

fn etcd_row(member: &Member, newest: u64, agents: &BTreeMap<String, AgentState>) -> EtcdRow {
    let name = member.name.clone().unwrap_or_default();
    let view = agents
        .get(&name)
        .and_then(|a| a.report.as_ref()?.etcd.clone())
        .unwrap_or_default();
    let mut row = EtcdRow {
        id: member.id,
        name,
        peer_url: member.peer_url.clone(),
        learner: member.learner,
        healthy: safety::healthy_voters(std::slice::from_ref(member)) == 1,
        version: view.version,
        ..EtcdRow::default()
    };
    match &member.health {
        Observed::Unknown if member.started() => row.detail = "its agent does not report it".into(),
        Observed::Unknown => row.detail = "not started".into(),
        Observed::Known(health) => {
            row.leader = health.leader == member.id;
            row.term = health.term;
            row.applied_index = health.applied;
            row.lag = newest.saturating_sub(health.applied);
            row.db_size = health.db_size;
            row.alarms = health.alarms.join(",");
        }
    }
    row
}

fn load_balancers(
    record: &ClusterRecord,
    agents: &BTreeMap<String, AgentState>,
    now: Time,
) -> Vec<LoadBalancerStatus> {
    record
        .spec
        .nodes
        .iter()
        .filter(|node| node.config.load_balancer)
        .map(|node| {
            let agent = agents.get(&node.config.name);
            let fresh = agent
                .filter(|a| a.connected && now.0.saturating_sub(a.reported_ms) <= FRESH_AT_REST_MS);
            let view = fresh.and_then(|a| a.report.as_ref()?.load_balancer.clone());
            let detail = match (&view, fresh) {
                (Some(view), _) => view
                    .problem
                    .as_ref()
                    .map(|p| p.what.clone())
                    .unwrap_or_default(),
                (None, Some(_)) => "not configured yet".into(),
                (None, None) => "its agent does not report".into(),
            };
            let view = view.unwrap_or_default();
            LoadBalancerStatus {
                node: node.config.name.clone(),
                running: view.running,
                backends: view.backends,
                detail,
            }
        })
        .collect()
}

/// The agents' own certificates, the next to end first. Renewed by themselves: one near its end means that its agent is away.
fn certificates(shared: &Shared, agents: &BTreeMap<String, AgentState>) -> Vec<CertificateStatus> {
    let mut certificates: Vec<CertificateStatus> = agents
        .values()
        .filter_map(|agent| {
            let record = shared.store.read::<NodeRecord>(&Key::node(&agent.node_id));
            let record = record.ok().flatten()?;
            Some(CertificateStatus {
                owner: agent.name.clone(),
                name: "agent".to_owned(),
                expires_unix: record.certificate_expires_unix,
            })
        })
        .collect();
    certificates.sort_by_key(|certificate| certificate.expires_unix);
    certificates
}
