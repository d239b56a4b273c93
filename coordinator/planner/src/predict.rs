//! Unrolls rounds on predicted facts: each step is assumed to succeed, and its effect is written into a copy. This is the plan that
//! people are shown, made by the same rules that later act.

use crate::endpoint::Rotation;
use crate::facts::*;
use crate::intent::{Distribution, Intent, NodeName};
use crate::quorum;
use crate::rotation::{self, Advance};
use crate::round::{self, Outcome};
use crate::safety::{self, STABLE_FOR_MS};
use crate::step::{Membership, MembershipStep, SideStep};
use crate::storage::{Answer, Verdict};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    pub side: Vec<SideStep>,
    pub membership: Option<MembershipStep>,
    /// Voters after this stage, if it changed them.
    pub voters: Option<usize>,
}

/// A plan of more stages than this would be a loop: every node passes through about ten.
fn most_stages(intent: &Intent) -> usize {
    20 + 12 * intent.nodes.len()
}

/// The stages until the cluster is settled, or as far as it gets.
pub fn unroll(facts: &Facts, intent: &Intent, now: Time) -> Vec<Stage> {
    let (mut facts, mut intent) = (facts.clone(), intent.clone());
    let mut now = now;
    let mut stages = Vec::new();
    for _ in 0..most_stages(&intent) {
        // Whoever leaves is given the time it needs to be forgotten by its clients.
        facts.out_since = intent.leaving.as_ref().map(|_| Time(0));
        let round = round::next(&facts, &intent, now);
        if round.outcome == Outcome::Settled {
            break;
        }
        if round.departure.complete && intent.leaving.is_some() {
            depart(&mut facts, &mut intent);
            continue;
        }
        let before = voters(&facts);
        let slot = facts.change.is_some();
        let step = apply_membership(&mut facts, round.membership, now);
        for side in &round.side {
            apply_side(&mut facts, &intent, side);
            note(&mut intent, side);
        }
        now = now.plus(STABLE_FOR_MS + 1);
        for node in facts.nodes.values_mut().filter(|node| node.connected) {
            node.heard = now;
        }
        let after = voters(&facts);
        let quiet = step.is_none() && round.side.is_empty();
        if quiet && slot == facts.change.is_some() {
            break; // waits for something that no step of ours brings about
        }
        if !quiet {
            let voters = (after != before).then_some(after);
            stages.push(Stage {
                side: round.side,
                membership: step,
                voters,
            });
        }
    }
    stages
}

/// What the record would say of the node that leaves.
fn note(intent: &mut Intent, step: &SideStep) {
    let Some(leaving) = intent
        .leaving
        .as_mut()
        .filter(|it| &it.node == step.nodes().1)
    else {
        return;
    };
    leaving.drained |= matches!(step, SideStep::Drain { .. });
    leaving.reset |= matches!(step, SideStep::Reset { .. });
    leaving.deleted |= matches!(step, SideStep::DeleteNode { .. });
}

/// It is gone; one of the same name would have to enrol first.
fn depart(facts: &mut Facts, intent: &mut Intent) {
    let Some(leaving) = intent.leaving.take() else {
        return;
    };
    let connected = facts.node(&leaving.node).connected;
    if leaving.successor.as_ref() != Some(&leaving.node) {
        intent.nodes.retain(|node| node.name != leaving.node);
        facts.nodes.remove(&leaving.node);
    } else if leaving.reset || !connected {
        // Foretold as if the machine came: that is what the operator waits for.
        let machine = NodeFacts {
            enrolled: true,
            connected: true,
            marks: Observed::Known(Marks::default()),
            etcd_running: Observed::Known(false),
            ..NodeFacts::default()
        };
        facts.nodes.insert(leaving.node, machine);
    }
}

fn voters(facts: &Facts) -> usize {
    facts.members().iter().filter(|m| !m.learner).count()
}

/// Quorum and tolerance of a cluster of this many healthy voters.
pub fn effect(voters: usize) -> (usize, i64) {
    (quorum::quorum(voters), quorum::tolerance(voters, voters))
}

fn apply_membership(
    facts: &mut Facts,
    membership: Membership,
    now: Time,
) -> Option<MembershipStep> {
    let step = match membership {
        Membership::Begin(change, step) => {
            facts.change = Some(change);
            step
        }
        Membership::Continue(step) => step,
        Membership::Complete(_) | Membership::Release(_) => {
            facts.change = None;
            return None;
        }
        Membership::Abandon(node) => {
            facts.change = None;
            facts.dirty.insert(node);
            return None;
        }
        Membership::Settled | Membership::Underway(..) | Membership::Wait(_) => return None,
    };
    match &step {
        MembershipStep::Found { node } => {
            let url = facts
                .change
                .as_ref()
                .map(|c| c.peer_url.clone())
                .unwrap_or_default();
            facts.etcd.list = MemberList::Known(vec![predicted(facts, 1, node, &url, false, now)]);
            edit(facts, node, |known, marks| {
                marks.founded = true;
                known.etcd_running = Observed::Known(true);
                known.api_ready = Observed::Known(true);
            });
        }
        MembershipStep::Add { node, peer_url, .. } => {
            let id = facts.members().iter().map(|m| m.id).max().unwrap_or(0) + 1;
            let mut learner = predicted(facts, id, node, peer_url, true, now);
            learner.name = None;
            learner.health = Observed::Unknown;
            if let MemberList::Known(members) = &mut facts.etcd.list {
                members.push(learner);
            }
        }
        MembershipStep::Start { node, .. } => {
            if let Some(change) = &mut facts.change {
                change.started = true;
            }
            edit(facts, node, |known, _| {
                known.etcd_running = Observed::Known(true);
                known.etcd_down_since = None;
            });
        }
        MembershipStep::Promote {
            node,
            peer_url,
            member,
            ..
        } => {
            let voter = predicted(facts, *member, node, peer_url, false, now);
            if let MemberList::Known(members) = &mut facts.etcd.list
                && let Some(member) = members.iter_mut().find(|m| &m.peer_url == peer_url)
            {
                *member = voter;
            }
            facts.etcd.stable_since = Some(now);
            edit(facts, node, |known, _| {
                known.etcd_running = Observed::Known(true);
                known.api_ready = Observed::Known(true);
            });
        }
        // Its rounds are not predicted: what it comes to is said in its own plan.
        MembershipStep::Recover { .. } => {}
        MembershipStep::Remove { peer_url, .. } => {
            if let MemberList::Known(members) = &mut facts.etcd.list {
                lose(members, peer_url, true);
                members.retain(|m| &m.peer_url != peer_url);
            }
            facts.etcd.stable_since = Some(now);
        }
    }
    Some(step)
}

/// As well as those that are there.
fn predicted(
    facts: &Facts,
    id: u64,
    node: &NodeName,
    peer_url: &str,
    learner: bool,
    now: Time,
) -> Member {
    let others = facts.members().iter().filter(|m| safety::able(m));
    let health = others.filter_map(|m| m.health.known()).next().cloned();
    let health = health.unwrap_or(MemberHealth {
        serving: true,
        leader: 1,
        term: 2,
        applied: 10,
        db_size: 0,
        alarms: vec![],
    });
    Member {
        id,
        name: Some(node.0.clone()),
        peer_url: peer_url.to_owned(),
        learner,
        seen_since: now,
        health: Observed::Known(health),
    }
}

fn apply_side(facts: &mut Facts, intent: &Intent, step: &SideStep) {
    let wants = |name: &NodeName| {
        intent
            .node(name)
            .map(|n| n.wants.clone())
            .unwrap_or_default()
    };
    match step {
        SideStep::Preflight { node } => {
            let want = wants(node).preflight;
            edit(facts, node, |_, marks| marks.preflight = want);
        }
        SideStep::Install { node } => {
            let want = wants(node).install;
            let kubernetes = intent.distribution == Distribution::Kubeadm;
            edit(facts, node, |known, marks| {
                marks.install = want;
                if known.balancer == Observed::Unknown {
                    known.balancer = Observed::Known(BalancerFacts::default());
                }
                if kubernetes && known.api_ready == Observed::Unknown {
                    known.api_ready = Observed::Known(false);
                }
            });
        }
        SideStep::ConfigureBalancer { node, members } => {
            let members = members.clone();
            edit(facts, node, |known, _| {
                known.balancer = Observed::Known(BalancerFacts {
                    running: true,
                    up: members.clone(),
                    members,
                    current: true,
                    retired: false,
                });
            });
        }
        SideStep::CreateAuthority { node } => {
            facts.founder = Some(node.clone());
            edit(facts, node, |_, marks| marks.authority = true);
        }
        SideStep::Prepare { node, .. } => edit(facts, node, |_, marks| marks.prepared = true),
        SideStep::Finish { node } => edit(facts, node, |_, marks| marks.finished = true),
        SideStep::JoinWorker { node, .. } => edit(facts, node, |_, marks| marks.worker = true),
        SideStep::ApplyManifests { via } => {
            let want = intent.manifests.clone().unwrap_or_default();
            edit(facts, via, |_, marks| marks.manifests = want);
        }
        SideStep::ConfigureNode { node, via } => {
            let want = wants(node).configure.unwrap_or_default();
            let node = node.clone();
            edit(facts, via, |_, marks| {
                marks.configured.insert(node, want);
            });
        }
        SideStep::DeleteNode { node, via } => {
            let node = node.clone();
            edit(facts, via, |_, marks| {
                marks.configured.remove(&node);
            });
        }
        SideStep::Drain { .. }
        | SideStep::TaintNode { .. }
        | SideStep::UntaintNode { .. }
        | SideStep::StopNode { .. }
        | SideStep::StartNode { .. } => {}
        // Foretold as a yes that lasts.
        SideStep::CheckStorage { node, .. } => {
            facts.storage = Some(Answer {
                node: node.clone(),
                at: Time(u64::MAX),
                verdict: Verdict::Yes,
            });
        }
        SideStep::HandOver { leader, .. } => {
            if let MemberList::Known(members) = &mut facts.etcd.list {
                let url = members.iter().find(|it| it.id == *leader);
                let url = url.map(|it| it.peer_url.clone()).unwrap_or_default();
                lose(members, &url, true);
            }
        }
        SideStep::StopServing { node } => {
            let url = intent.node(node).map(|it| it.peer_url.clone());
            let kubernetes = intent.distribution == Distribution::Kubeadm;
            if let (MemberList::Known(members), Some(url)) = (&mut facts.etcd.list, url) {
                lose(members, &url, kubernetes);
            }
            edit(facts, node, |known, _| {
                known.etcd_running = Observed::Known(kubernetes);
                known.api_ready = Observed::Known(false);
            });
        }
        SideStep::SetNames { .. }
        | SideStep::Probe { .. }
        | SideStep::SetObjects { .. }
        | SideStep::SetCarriers { .. }
        | SideStep::RestartProxies { .. }
        | SideStep::Renew { .. }
        | SideStep::ApproveServing { .. } => apply_endpoint(facts, intent, step),
        SideStep::Reset { node } => {
            facts.dirty.remove(node);
            edit(facts, node, |known, marks| {
                known.etcd_running = Observed::Known(false);
                *marks = Marks {
                    preflight: std::mem::take(&mut marks.preflight),
                    install: std::mem::take(&mut marks.install),
                    ..Marks::default()
                };
            });
        }
    }
}

fn apply_endpoint(facts: &mut Facts, intent: &Intent, step: &SideStep) {
    let wanted = intent.endpoint.address.to_string();
    match step {
        SideStep::SetNames { node } => {
            let unwanted = intent.endpoint.unwanted_names();
            let names = intent.endpoint.wanted_names();
            edit_endpoint(facts, node, |known| {
                let serving = known.serving.get_or_insert_default();
                serving.names.retain(|name| !unwanted.contains(name));
                serving.names.extend(names);
            });
        }
        SideStep::Probe { node } => {
            facts.proven.insert(node.clone());
        }
        SideStep::SetObjects { .. } => {
            let proxies = match &facts.objects {
                Observed::Known(objects) => objects.proxies.clone(),
                Observed::Unknown => BTreeMap::default(),
            };
            facts.objects = Observed::Known(ObjectFacts {
                kubeadm: wanted.clone(),
                names: intent.endpoint.wanted_names(),
                info: wanted.clone(),
                info_signed: true,
                proxy: wanted,
                proxies,
                serving_requests: BTreeSet::default(),
            });
        }
        SideStep::SetCarriers { node } => edit_endpoint(facts, node, |known| {
            for carrier in known.carriers.iter_mut().filter(|it| it.follows) {
                carrier.value.clone_from(&wanted);
            }
        }),
        SideStep::RestartProxies { nodes, .. } => {
            if let Observed::Known(objects) = &mut facts.objects {
                for node in nodes {
                    objects.proxies.insert(node.clone(), wanted.clone());
                }
            }
        }
        SideStep::Renew { node } => {
            let since = intent.endpoint.renewal.as_ref().map(|it| it.since_unix);
            facts
                .nodes
                .entry(node.clone())
                .or_default()
                .oldest_issue_unix = Observed::Known(since);
        }
        SideStep::ApproveServing { .. } => {
            if let Observed::Known(objects) = &mut facts.objects {
                objects.serving_requests.clear();
            }
        }
        SideStep::Preflight { .. }
        | SideStep::Install { .. }
        | SideStep::ConfigureBalancer { .. }
        | SideStep::CreateAuthority { .. }
        | SideStep::Prepare { .. }
        | SideStep::Finish { .. }
        | SideStep::JoinWorker { .. }
        | SideStep::ApplyManifests { .. }
        | SideStep::ConfigureNode { .. }
        | SideStep::DeleteNode { .. }
        | SideStep::Drain { .. }
        | SideStep::TaintNode { .. }
        | SideStep::StopNode { .. }
        | SideStep::CheckStorage { .. }
        | SideStep::StartNode { .. }
        | SideStep::UntaintNode { .. }
        | SideStep::HandOver { .. }
        | SideStep::StopServing { .. }
        | SideStep::Reset { .. } => {}
    }
}

/// Another one leads from here on; where etcd itself ends, nobody hears of this one any more.
fn lose(members: &mut [Member], peer_url: &str, still_runs: bool) {
    let gone = members
        .iter()
        .find(|m| m.peer_url == peer_url)
        .map(|m| m.id);
    let heir = members.iter().map(|m| m.id).find(|id| Some(*id) != gone);
    for member in members {
        match &mut member.health {
            Observed::Known(_) if Some(member.id) == gone && !still_runs => {
                member.health = Observed::Unknown;
            }
            Observed::Known(health) if Some(health.leader) == gone => {
                health.leader = heir.unwrap_or_default();
            }
            Observed::Known(_) | Observed::Unknown => {}
        }
    }
}

fn edit_endpoint(facts: &mut Facts, node: &NodeName, change: impl FnOnce(&mut EndpointFacts)) {
    let known = facts.nodes.entry(node.clone()).or_default();
    let mut endpoint = known.endpoint.known().cloned().unwrap_or_default();
    change(&mut endpoint);
    known.endpoint = Observed::Known(endpoint);
}

/// The stages of a rotation to its end, or as far as it gets without somebody who is away now. Load balancers are assumed to follow.
pub fn unroll_rotation(facts: &Facts, intent: &Intent, now: Time) -> Vec<Stage> {
    let (mut facts, mut intent) = (facts.clone(), intent.clone());
    let mut stages = Vec::new();
    for node in facts.nodes.values_mut() {
        if let Observed::Known(balancer) = &mut node.balancer {
            (balancer.current, balancer.running) = (true, true);
        }
    }
    for _ in 0..most_stages(&intent) {
        let Some(rotation) = intent.endpoint.rotation.clone() else {
            break;
        };
        facts.quiet_since = Some(Time(0));
        let turn = rotation::next(&facts, &intent, now);
        for step in &turn.steps {
            apply_side(&mut facts, &intent, step);
        }
        match (turn.advance, turn.steps.is_empty()) {
            (Some(Advance::To(stage)), _) => {
                intent.endpoint.address = rotation.target.clone();
                intent.endpoint.rotation = Some(Rotation { stage, ..rotation });
            }
            (Some(Advance::Complete), _) => intent.endpoint.rotation = None,
            (None, true) => break,
            (None, false) => stages.push(Stage {
                side: turn.steps,
                membership: None,
                voters: None,
            }),
        }
    }
    stages
}

fn edit(facts: &mut Facts, node: &NodeName, change: impl FnOnce(&mut NodeFacts, &mut Marks)) {
    let known = facts.nodes.entry(node.clone()).or_default();
    let mut marks = known.marks.known().cloned().unwrap_or_default();
    change(known, &mut marks);
    known.marks = Observed::Known(marks);
}
