//! What operators may ask for. Refused, or taken as an operation; nothing waits here.

use super::refuse::{self, Case};
use crate::engine::endpoint::refuse as others;
use crate::engine::operation::{self, Asked};
use crate::engine::plan::{current_facts, quorum_effects, taken_nodes, wire_stage};
use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use crate::engine::{apply, wants};
use crate::spec::file::Mode;
use crate::spec::{SpecNode, resolve};
use crate::store::{Entry, Transaction};
use quorate_planner::facts::Facts;
use quorate_planner::intent::{Intent, NodeName};
use quorate_planner::leaving::{Leaving, Presence, presence};
use quorate_planner::predict;
use quorate_planner::quorum;
use quorate_planner::time::Time;
use quorate_proto::v1::*;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What was asked for, looked at.
struct Considered {
    entry: Entry<ClusterRecord>,
    /// The record as it would be.
    wish: ClusterRecord,
    leaving: Leaving,
    intent: Intent,
    facts: Facts,
    now: Time,
    refusals: Vec<Problem>,
}

pub fn plan(
    shared: &Arc<Shared>,
    request: &RemovalRequest,
) -> Result<PlanRemovalResponse, Problem> {
    let considered = match consider(shared, request) {
        Ok(considered) => considered,
        Err(problem) => {
            return Ok(PlanRemovalResponse {
                node: request.node.clone(),
                refusals: vec![problem],
                ..PlanRemovalResponse::default()
            });
        }
    };
    let mut answer = PlanRemovalResponse {
        cluster: considered.wish.name.clone(),
        node: request.node.clone(),
        successor: successor(&considered.leaving),
        revision: considered.entry.value.revision,
        refusals: considered.refusals.clone(),
        ..PlanRemovalResponse::default()
    };
    if answer.refusals.is_empty() {
        let (facts, intent) = (&considered.facts, &considered.intent);
        let stages = predict::unroll(facts, intent, considered.now);
        let before = facts.members().iter().filter(|m| !m.learner).count();
        answer.quorum = quorum_effects(before, &stages);
        answer.warnings = warnings(shared, &considered, &answer.quorum);
        answer.stages = stages
            .iter()
            .map(|stage| wire_stage(stage, &considered.wish))
            .collect();
    }
    Ok(answer)
}

fn successor(leaving: &Leaving) -> String {
    leaving.successor.iter().map(|it| it.0.clone()).collect()
}

pub async fn begin(
    shared: &Arc<Shared>,
    caller: &str,
    request: &RemovalRequest,
) -> Result<ApplyResponse, Problem> {
    let considered = consider(shared, request)?;
    if !considered.refusals.is_empty() {
        return Err(apply::first_of(considered.refusals));
    }
    let present = &considered.entry.value;
    if let Some(operation) = &present.operation
        && present.leaving.as_ref() == Some(&considered.leaving)
    {
        return Ok(ApplyResponse {
            operation: operation.clone(),
            nothing_to_do: false,
        });
    }
    let kind = match considered.leaving.successor {
        None => "node-remove",
        Some(_) => "node-replace",
    };
    let asked = Asked { caller, kind };
    let known = Some(considered.entry.revision);
    operation::begin(shared, &asked, considered.wish, known, Transaction::new()).await
}

fn consider(shared: &Arc<Shared>, request: &RemovalRequest) -> Result<Considered, Problem> {
    let cluster = shared
        .cluster_of(&request.node)
        .ok_or_else(|| no_part(&request.node))?;
    let entry = others::known(shared, &cluster)?;
    let resumed = resumed(&entry.value, request);
    let (entry, leaving) = match resumed {
        Some(leaving) => (entry, leaving),
        None => {
            let entry = others::free(shared, &cluster)?;
            (entry, fresh(shared, request))
        }
    };
    let mut wish = entry.value.clone();
    // From here on only members hand on what makes this cluster.
    wish.formed = true;
    wish.leaving = Some(leaving.clone());
    let node = wish.spec.node(&request.node).cloned();
    let node = node.ok_or_else(|| no_part(&request.node))?;
    if entry.value.leaving.is_none() {
        place_successor(shared, &mut wish, &node, request)?;
    }
    let intent = wants::intent(&wish);
    let now = Time(shared.now_ms());
    let facts = current_facts(shared, &wish, &intent, now)?;
    let leaving = match entry.value.leaving {
        None => settled(leaving, &facts, &intent),
        Some(_) => leaving,
    };
    wish.leaving = Some(leaving.clone());
    let case = Case {
        shared,
        record: &wish,
        intent: &intent,
        facts: &facts,
        leaving: &leaving,
        node: &node,
    };
    // What has begun has passed them; from then on the planner waits where it would not be safe.
    let refusals = match entry.value.leaving {
        None => refuse::refusals(&case),
        Some(_) => Vec::new(),
    };
    Ok(Considered {
        entry,
        wish,
        leaving,
        intent,
        facts,
        now,
        refusals,
    })
}

fn no_part(node: &str) -> Problem {
    Problem::new("not-found-node", format!("no cluster has a node {node:?}"))
        .because("it never joined one, or has left already")
        .next("quorate nodes lists them; to shut out an agent: quorate node revoke NAME")
}

/// The removal under way, if it is the one that is asked for; that the machine is gone may be said later.
fn resumed(record: &ClusterRecord, request: &RemovalRequest) -> Option<Leaving> {
    let leaving = record.leaving.as_ref()?;
    let same = leaving.node.0 == request.node && leaving.successor == wanted(request);
    same.then(|| Leaving {
        dead: leaving.dead || request.dead,
        without_storage: leaving.without_storage || request.without_storage,
        ..leaving.clone()
    })
}

fn wanted(request: &RemovalRequest) -> Option<NodeName> {
    let name = match request.successor.as_str() {
        "" => &request.node,
        other => other,
    };
    request.replace.then(|| NodeName(name.to_owned()))
}

fn fresh(shared: &Shared, request: &RemovalRequest) -> Leaving {
    let agent = shared.agents.get(&request.node);
    Leaving {
        node: NodeName(request.node.clone()),
        identity: agent.map(|it| it.node_id).unwrap_or_default(),
        dead: request.dead,
        successor: wanted(request),
        without_storage: request.without_storage,
        drained: false,
        stopped: false,
        reset: false,
        deleted: false,
    }
}

/// A machine that has enrolled anew under the same name keeps its certificate.
fn settled(mut leaving: Leaving, facts: &Facts, intent: &Intent) -> Leaving {
    let node = intent.node(&leaving.node);
    let clean = node.is_some_and(|node| presence(facts, node) == Presence::Clean);
    if clean && leaving.successor.as_ref() == Some(&leaving.node) {
        leaving.identity.clear();
    }
    leaving
}

/// It takes the old one's roles, and its place in the file.
fn place_successor(
    shared: &Shared,
    wish: &mut ClusterRecord,
    old: &SpecNode,
    request: &RemovalRequest,
) -> Result<(), Problem> {
    if !request.replace || request.successor.is_empty() || request.successor == request.node {
        if !request.address.is_empty() && request.address != old.config.address {
            return Err(Problem::new(
                "invalid-address",
                "a machine of the same name comes under the same address",
            )
            .at(request.address.clone())
            .next("give the new machine a name of its own, or leave the address out"));
        }
        return Ok(());
    }
    if waits_already(shared, wish, old, request)? {
        return Ok(());
    }
    let mut new = old.clone();
    new.config.name = named(&request.successor)?;
    new.config.address = address(shared, wish, request)?;
    let at = wish.spec.nodes.iter().position(|it| it == old);
    wish.spec.nodes.insert(at.map_or(0, |at| at + 1), new);
    let mut taken = taken_nodes(shared, &wish.spec)?;
    match taken.is_empty() {
        true => Ok(()),
        false => Err(taken.remove(0)),
    }
}

fn named(name: &str) -> Result<String, Problem> {
    if resolve::is_name(name) {
        return Ok(name.to_owned());
    }
    let what = "not a node's name: lower-case letters, digits, '-' and '.'";
    Err(Problem::new("invalid-name", what).at(name))
}

/// Whether an earlier try has put it into the wish, and it has not joined since.
fn waits_already(
    shared: &Shared,
    wish: &ClusterRecord,
    old: &SpecNode,
    request: &RemovalRequest,
) -> Result<bool, Problem> {
    let Some(known) = wish.spec.node(&request.successor) else {
        return Ok(false);
    };
    let (new, old) = (&known.config, &old.config);
    let roles = |it: &NodeConfig| (it.member, it.worker, it.load_balancer);
    let agent = shared.agents.get(&new.name);
    let marks = agent.and_then(|it| it.report.as_ref()?.marks.clone());
    let joined = marks.is_some_and(|it| {
        it.cluster_id == wish.id && !(it.finished.is_empty() && it.worker.is_empty())
    });
    let moved = !request.address.is_empty() && request.address != new.address;
    if joined || moved || roles(new) != roles(old) {
        return Err(Problem::new(
            "invalid-name",
            format!("{} is part of the cluster already", new.name),
        )
        .at(new.name.clone())
        .next(format!(
            "to do without {0}: quorate node remove {0}",
            old.name
        )));
    }
    Ok(true)
}

fn address(
    shared: &Shared,
    wish: &ClusterRecord,
    request: &RemovalRequest,
) -> Result<String, Problem> {
    let invalid = |what: String, next: &str| {
        let problem = Problem::new("invalid-address", what).at(request.successor.clone());
        Err(problem.next(next))
    };
    let reported = || {
        let report = shared.agents.get(&request.successor)?.report?;
        report.host.as_ref()?.addresses.first().cloned()
    };
    let text = match request.address.as_str() {
        "" => reported(),
        given => Some(given.to_owned()),
    };
    let Some(text) = text else {
        return invalid(
            "no address: none is given, and its agent has reported none".to_owned(),
            "add --address, or enrol it first: quorate token create --node NAME",
        );
    };
    let ip: IpAddr = match text.parse() {
        Ok(ip) => ip,
        Err(_) => return invalid(format!("{text:?} is not an IP address"), "add --address"),
    };
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
        return invalid(
            format!("{ip} is not an address that others reach"),
            "add --address",
        );
    }
    let ip = ip.to_string();
    if let Some(other) = wish.spec.nodes.iter().find(|it| it.config.address == ip) {
        return invalid(
            format!("{ip} is the address of {}", other.config.name),
            "a machine that comes back under the same address keeps its name: quorate node replace NAME",
        );
    }
    Ok(ip)
}

fn warnings(shared: &Shared, considered: &Considered, effects: &[QuorumEffect]) -> Vec<String> {
    let mut warnings = Vec::new();
    let (wish, leaving) = (&considered.wish, &considered.leaving);
    let node = &leaving.node;
    let config = wish.spec.node(&node.0).map(|it| it.config.clone());
    let config = config.unwrap_or_default();
    if let (Some(first), Some(last)) = (effects.first(), effects.last())
        && config.member
        && last.tolerance < first.tolerance
    {
        warnings.push(format!(
            "{} voters tolerate {} failures, the {} that stay tolerate {}",
            first.voters, first.tolerance, last.voters, last.tolerance
        ));
    }
    if leaving.without_storage && wish.spec.storage.is_some() {
        warnings.push(format!(
            "storage is not asked whether it can do without {node}: what only {node} holds is lost"
        ));
    }
    let lowest = effects.iter().min_by_key(|it| it.tolerance);
    if let Some(lowest) = lowest
        && leaving.successor.is_some()
        && config.member
        && lowest.tolerance == 0
    {
        warnings.push(format!(
            "for a while there are {} voters, which tolerate no failure",
            lowest.voters
        ));
    }
    let external = wish.spec.mode == Mode::External || wish.external;
    if external && config.member {
        warnings.push(format!(
            "the load balancer is not quorate's: take {node} ({}) out of it before you go on",
            config.address
        ));
    }
    if wish.spec.mode == Mode::None && config.member {
        warnings.push(format!(
            "there is no load balancer: clients that call {} itself have to be told another address",
            config.address
        ));
    }
    for balancer in wish.spec.nodes.iter().filter(|it| it.config.load_balancer) {
        let name = NodeName(balancer.config.name.clone());
        if config.member && &name != node && !considered.facts.node(&name).connected {
            warnings.push(format!(
                "{name} cannot be reached: if it serves, requests through it may fail until its health check notices"
            ));
        }
    }
    if let Some(new) = leaving.successor.as_ref().filter(|it| *it != node)
        && shared.agents.get(&new.0).is_none()
    {
        warnings.push(format!(
            "{new} is not enrolled yet, and is waited for: quorate token create --node {new}"
        ));
    }
    warnings.extend(even(wish, leaving));
    warnings
}

fn even(wish: &ClusterRecord, leaving: &Leaving) -> Option<String> {
    let names: BTreeSet<&str> = wish
        .spec
        .members()
        .map(|it| it.config.name.as_str())
        .collect();
    let left = names.len() - usize::from(names.contains(leaving.node.0.as_str()));
    let goes = leaving.successor.is_none() && names.contains(leaving.node.0.as_str());
    (goes && left > 0 && left.is_multiple_of(2)).then(|| {
        format!(
            "an even number of voters stays: {left} tolerate {}, as {} would",
            quorum::tolerance(left, left),
            left - 1
        )
    })
}
