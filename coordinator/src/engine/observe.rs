//! From agents' reports and durable records to the planner's facts. The only place where wire types meet planner types inwards.

use super::agents::AgentState;
use super::records::{ClusterRecord, FindingsRecord};
use super::tracker::Tracker;
use quorate_planner::facts::*;
use quorate_planner::intent::{Digest, Intent, NodeName};
use quorate_planner::time::Time;
use quorate_proto::v1::{EtcdView, NodeReport};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// While work is under way agents report twice a second: silence of six seconds means that something is wrong.
pub const FRESH_AT_WORK_MS: u64 = 6_000;
/// At rest reports come every 15 s: three of them may be missed.
pub const FRESH_AT_REST_MS: u64 = 45_000;

/// All that facts are made of.
pub struct Sources<'a> {
    pub record: &'a ClusterRecord,
    pub intent: &'a Intent,
    pub agents: &'a BTreeMap<String, AgentState>,
    pub change: Option<Change>,
    pub troubles: &'a [Trouble],
    pub running: Vec<Running>,
    pub findings: &'a BTreeMap<String, Arc<FindingsRecord>>,
    pub fresh_ms: u64,
    /// When the last order of each node ended, and the last membership order of all: what was reported before tells of a
    /// world that is gone.
    pub ended: &'a BTreeMap<String, Ended>,
    pub membership_ended_ms: u64,
    /// Likewise for the cluster's own objects.
    pub objects_ended_ms: u64,
    /// When requests for serving certificates were last looked at: what was left then stays for a person.
    pub approved_ms: u64,
    /// Nodes from which the rotation's target was proven, in this run.
    pub proven: &'a BTreeSet<NodeName>,
    /// Whether the operation under way is to prove a foreign load balancer.
    pub verify: bool,
    /// What storage said last.
    pub storage: Option<quorate_planner::storage::Answer>,
    pub now: Time,
}

/// The end of an order, as its node's reports are judged by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    pub at_ms: u64,
    /// The first report of the session that was begun after it: one that was on its way then still shows what was before. 0: unknown.
    pub report: u64,
}

impl Ended {
    fn is_before(self, agent: &AgentState) -> bool {
        let report = agent.report.as_deref();
        agent.reported_ms >= self.at_ms && report.is_some_and(|it| it.sequence >= self.report)
    }
}

pub fn facts(sources: &Sources<'_>, tracker: &mut Tracker) -> Facts {
    let mut nodes = BTreeMap::new();
    let mut views: Vec<(&str, &EtcdView)> = Vec::new();
    for node in &sources.intent.nodes {
        let agent = sources.agents.get(&node.name.0);
        if let Some(view) = agent.and_then(|agent| etcd_view(sources, agent)) {
            views.push((&node.name.0, view));
        }
        let mut known = node_facts(sources, &node.name, agent);
        let running = known.etcd_running.known();
        let ended = sources.ended.get(&node.name.0).copied().unwrap_or_default();
        known.etcd_down_since =
            tracker.observe_etcd(&node.name, running, Time(ended.at_ms), sources.now);
        nodes.insert(node.name.clone(), known);
    }
    let dialers = super::endpoint::observe::dialers(sources);
    tracker.observe_dialers(&dialers, sources.now);
    let dialers = dialers.by;
    tracker.observe_pools(out_of_pools(sources, &nodes), sources.now);
    let list = tracker.observe(member_list(&views), sources.now);
    super::dead::observe(sources, &list, &mut nodes, &mut tracker.lives);
    Facts {
        nodes,
        etcd: EtcdFacts {
            list,
            stable_since: tracker.stable_since(),
        },
        founder: sources.record.founder.clone().map(NodeName),
        change: sources.change.clone(),
        dirty: sources.record.dirty.iter().cloned().map(NodeName).collect(),
        running: sources.running.clone(),
        troubles: sources.troubles.to_vec(),
        objects: super::endpoint::observe::objects(sources),
        behind: sources
            .record
            .behind
            .iter()
            .cloned()
            .map(NodeName)
            .collect(),
        verify: sources.verify,
        proven: sources.proven.clone(),
        quiet_since: tracker.quiet_since(),
        dialers,
        formed: sources.record.formed,
        out_since: tracker.out_since(),
        out_of_service: sources
            .record
            .out_of_service
            .iter()
            .map(|(name, out)| (NodeName(name.clone()), out.clone()))
            .collect(),
        storage: sources.storage.clone(),
        armed: super::isolation::armed(sources.record, sources.intent),
    }
}

/// Whether no load balancer that can be asked has the node that leaves; none if one has not told.
fn out_of_pools(sources: &Sources<'_>, nodes: &BTreeMap<NodeName, NodeFacts>) -> Option<bool> {
    let leaving = &sources.record.leaving.as_ref()?.node;
    let mut out = true;
    for balancer in sources.intent.nodes.iter().filter(|it| it.balancer) {
        let Some(known) = nodes.get(&balancer.name).filter(|it| it.connected) else {
            continue;
        };
        out &= !known.balancer.known()?.members.contains(leaving);
    }
    Some(out)
}

fn is_fresh(sources: &Sources<'_>, at_ms: u64) -> bool {
    sources.now.0.saturating_sub(at_ms) <= sources.fresh_ms
}

/// Orders that touch no membership leave it as good as it was: no gap, in which stability would have to be waited for anew.
fn etcd_view<'a>(sources: &Sources<'_>, agent: &'a AgentState) -> Option<&'a EtcdView> {
    let fresh = agent.connected
        && is_fresh(sources, agent.reported_ms)
        && agent.reported_ms >= sources.membership_ended_ms;
    let report = agent.report.as_deref().filter(|_| fresh)?;
    report.etcd.as_ref()
}

pub(super) fn fresh_report<'a>(
    sources: &Sources<'_>,
    agent: &'a AgentState,
) -> Option<&'a NodeReport> {
    let ended = sources.ended.get(&agent.name).copied().unwrap_or_default();
    let fresh = agent.connected && is_fresh(sources, agent.reported_ms) && ended.is_before(agent);
    agent.report.as_deref().filter(|_| fresh)
}

fn node_facts(sources: &Sources<'_>, name: &NodeName, agent: Option<&AgentState>) -> NodeFacts {
    let Some(agent) = agent.filter(|agent| !agent.revoked) else {
        return NodeFacts::default();
    };
    let mut facts = NodeFacts {
        enrolled: true,
        connected: agent.connected && is_fresh(sources, agent.heard_ms),
        heard: Time(agent.heard_ms),
        preflight_fatal: preflight_fatal(sources, name),
        ..NodeFacts::default()
    };
    let Some(report) = fresh_report(sources, agent) else {
        return facts;
    };
    let marks = marks(sources, report);
    facts.etcd_running = Observed::Known(report.etcd.as_ref().is_some_and(|view| view.running));
    if let Some(kube) = &report.kube {
        facts.api_ready = Observed::Known(kube.api_ready);
    } else {
        facts.api_ready = Observed::Known(false);
    }
    facts.balancer = Observed::Known(balancer(sources, name, report));
    facts.marks = Observed::Known(marks);
    facts.endpoint = super::endpoint::observe::endpoint(report);
    facts.oldest_issue_unix = super::endpoint::observe::oldest_issue(report);
    facts
}

fn preflight_fatal(sources: &Sources<'_>, name: &NodeName) -> Vec<String> {
    let wanted = sources
        .intent
        .node(name)
        .map(|node| node.wants.preflight.0.clone());
    match sources.findings.get(&name.0) {
        Some(record) if Some(&record.digest) == wanted.as_ref() => record.fatal(),
        Some(_) | None => Vec::new(),
    }
}

fn marks(sources: &Sources<'_>, report: &NodeReport) -> Marks {
    let wire = report.marks.clone().unwrap_or_default();
    let ours = !wire.cluster_id.is_empty() && wire.cluster_id == sources.record.id;
    let set = |mark: &str| ours && !mark.is_empty();
    Marks {
        preflight: Digest(wire.preflight.clone()),
        install: Digest(wire.install.clone()),
        authority: set(&wire.authority),
        founded: set(&wire.init),
        prepared: set(&wire.prepared),
        finished: set(&wire.finished),
        worker: set(&wire.worker),
        manifests: Digest(if ours {
            wire.manifests.clone()
        } else {
            String::new()
        }),
        // A load balancer that is nothing else belongs to no cluster by its other marks.
        stopped: !wire.stopped.is_empty() && wire.stopped == sources.record.id,
        configured: if ours {
            wire.configured_nodes
                .into_iter()
                .map(|(k, v)| (NodeName(k), Digest(v)))
                .collect()
        } else {
            BTreeMap::new()
        },
    }
}

fn balancer(sources: &Sources<'_>, name: &NodeName, report: &NodeReport) -> BalancerFacts {
    let Some(view) = &report.load_balancer else {
        return BalancerFacts::default();
    };
    let of_api = || {
        view.backends
            .iter()
            .filter(|b| b.frontend == super::balancer::API)
    };
    let members = of_api().map(|b| NodeName(b.name.clone())).collect();
    let up = of_api()
        .filter(|b| b.up)
        .map(|b| NodeName(b.name.clone()))
        .collect();
    let wanted = super::balancer::action(sources.record, &name.0, &members).digest;
    BalancerFacts {
        running: view.running,
        current: view.digest == wanted,
        retired: !super::balancer::serves_api(sources.record, &name.0),
        members,
        up,
    }
}

/// The list is a function of etcd's log: of the linearizable ones the view with the highest applied index is the newest.
fn member_list(views: &[(&str, &EtcdView)]) -> MemberList {
    let linearizable: Vec<&EtcdView> = views
        .iter()
        .map(|(_, view)| *view)
        .filter(|view| view.linearizable && !view.members.is_empty())
        .collect();
    let Some(newest) = linearizable.iter().max_by_key(|view| view.applied_index) else {
        return MemberList::Unknown;
    };
    if let Some((node, other)) = views
        .iter()
        .find(|(_, v)| v.running && v.cluster_id != 0 && v.cluster_id != newest.cluster_id)
    {
        return MemberList::Conflict(format!(
            "{node} belongs to the etcd cluster {:x}, the others to {:x}",
            other.cluster_id, newest.cluster_id
        ));
    }
    let members = newest.members.iter().map(|member| Member {
        id: member.id,
        name: (!member.name.is_empty()).then(|| member.name.clone()),
        peer_url: member.peer_urls.first().cloned().unwrap_or_default(),
        learner: member.learner,
        seen_since: Time(0),
        health: health(views, member.id),
    });
    MemberList::Known(members.collect())
}

fn health(views: &[(&str, &EtcdView)], id: u64) -> Observed<MemberHealth> {
    let view = views
        .iter()
        .map(|(_, view)| *view)
        .find(|v| v.running && v.member_id == id);
    match view {
        Some(view) if view.alarms_known => Observed::Known(MemberHealth {
            serving: view.linearizable,
            leader: view.leader,
            term: view.term,
            applied: view.applied_index,
            db_size: view.db_size,
            alarms: view
                .alarms
                .iter()
                .filter(|a| a.member_id == id)
                .map(|a| a.kind.clone())
                .collect(),
        }),
        Some(_) | None => Observed::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_was_begun_before_an_orders_end_tells_of_a_world_that_is_gone() {
        let ended = Ended {
            at_ms: 1_000,
            report: 7,
        };
        for (reported_ms, sequence, after) in [
            (999, 7, false),
            (1_000, 6, false),
            (1_000, 7, true),
            (2_000, 6, false),
            (2_000, 8, true),
        ] {
            let agent = AgentState {
                reported_ms,
                report: Some(std::sync::Arc::new(NodeReport {
                    sequence,
                    ..NodeReport::default()
                })),
                ..AgentState::default()
            };
            assert_eq!(ended.is_before(&agent), after, "{reported_ms} {sequence}");
        }
        assert!(!ended.is_before(&AgentState::default()));
    }
}
