//! Whether the new address is fit to be moved to, before anything changes.

use crate::engine::lower::{self, Ground};
use crate::engine::plan::current_facts;
use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use crate::engine::{balancer, wants};
use quorate_planner::endpoint::Rotation;
use quorate_planner::facts::{Facts, MemberList};
use quorate_planner::intent::{Intent, NodeName};
use quorate_planner::quorum;
use quorate_planner::rotation::presence;
use quorate_planner::safety;
use quorate_planner::step::StepKind;
use quorate_planner::time::Time;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::{OrderStatus, ProbeEndpoint, Problem};
use std::sync::Arc;
use std::time::Duration;

/// Beyond the order's own deadline: the way there and back.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);
/// Nodes that a foreign load balancer is looked at from. The rest of them prove it in the first stage.
const NODES_THAT_LOOK: usize = 8;

pub async fn refusals(
    shared: &Arc<Shared>,
    record: &ClusterRecord,
    rotation: &Rotation,
) -> Result<Vec<Problem>, Problem> {
    if record.rotation.is_some() {
        return Ok(Vec::new()); // it goes on; nothing changes without a proof there either
    }
    let intent = wants::intent(record);
    let now = Time(shared.now_ms());
    let facts = current_facts(shared, record, &intent, now)?;
    let mut refusals = unhealthy(record, &facts, &intent);
    if !refusals.is_empty() {
        return Ok(refusals);
    }
    if rotation.external {
        refusals.extend(look_from_nodes(shared, record, rotation, &facts, &intent).await);
    } else {
        refusals.extend(balancer_away(record, rotation, &facts));
    }
    Ok(refusals)
}

fn unhealthy(record: &ClusterRecord, facts: &Facts, intent: &Intent) -> Vec<Problem> {
    let status = format!("quorate status {}", record.name);
    let voters = match &facts.etcd.list {
        MemberList::Known(members) => members,
        MemberList::Unknown | MemberList::Conflict(_) => {
            return vec![
                Problem::new(
                    "refused-unhealthy",
                    "no member gives a linearizable member list",
                )
                .at(record.name.clone())
                .next(status),
            ];
        }
    };
    let count = voters.iter().filter(|member| !member.learner).count();
    let healthy = safety::healthy_voters(voters);
    let mut problems = Vec::new();
    if healthy < quorum::quorum(count) {
        problems.push(
            Problem::new(
                "refused-unhealthy",
                format!(
                    "{healthy} of {count} voters are healthy; {} are needed",
                    quorum::quorum(count)
                ),
            )
            .at(record.name.clone())
            .next(status.clone()),
        );
    }
    for node in presence::members(facts, intent) {
        if facts.node(&node.name).endpoint.known().is_none() {
            problems.push(
                Problem::new(
                    "refused-unknown",
                    format!("it is not known which certificate {} serves", node.name),
                )
                .at(node.name.0.clone())
                .because("its agent is older than the coordinator, or has not reported yet")
                .next(format!("on {}: systemctl status quorate-agent", node.name)),
            );
        }
    }
    problems
}

/// The machine that the new address names has to be a load balancer of this cluster that runs.
fn balancer_away(record: &ClusterRecord, rotation: &Rotation, facts: &Facts) -> Option<Problem> {
    let to_member = record
        .spec
        .members()
        .any(|node| node.config.address == rotation.target.host);
    if to_member {
        return None;
    }
    let serving: Vec<&str> = record
        .spec
        .nodes
        .iter()
        .filter(|node| node.config.load_balancer)
        .map(|node| node.config.name.as_str())
        .filter(|name| {
            !balancer::retired_after(record, rotation).contains(*name)
                && facts
                    .node(&NodeName((*name).to_owned()))
                    .balancer
                    .known()
                    .is_some_and(|balancer| balancer.running)
        })
        .collect();
    serving.is_empty().then(|| {
        Problem::new(
            "refused-load-balancer",
            format!("no load balancer runs that could serve {}", rotation.target),
        )
        .at(record.name.clone())
        .because("its machine is not part of the cluster, its agent is away, or HAProxy does not run there")
        .next("add it to the cluster file as a node with the role load-balancer and apply that; or say --external if it is somebody else's")
    })
}

/// A foreign load balancer: calls through it from several machines, while nothing depends on it yet.
async fn look_from_nodes(
    shared: &Arc<Shared>,
    record: &ClusterRecord,
    rotation: &Rotation,
    facts: &Facts,
    intent: &Intent,
) -> Vec<Problem> {
    let asked: Vec<_> = presence::nodes(facts, intent)
        .into_iter()
        .take(NODES_THAT_LOOK)
        .map(|node| {
            let member = intent.node(&node).is_some_and(|it| it.member);
            let action = Action::ProbeEndpoint(ProbeEndpoint {
                endpoint: Some(wants::endpoint(&rotation.target)),
                servers: if member {
                    super::observe::servers(facts)
                } else {
                    Vec::new()
                },
                names_pending: true,
            });
            tokio::spawn(look(Arc::clone(shared), record.clone(), node, action))
        })
        .collect();
    let mut problems: Vec<Problem> = Vec::new();
    for task in asked {
        let Ok(Some(problem)) = task.await else {
            continue;
        };
        // The same finding from several machines is one finding.
        if !problems.iter().any(|known| known.code == problem.code) {
            problems.push(problem);
        }
    }
    problems
}

async fn look(
    shared: Arc<Shared>,
    record: ClusterRecord,
    node: NodeName,
    action: Action,
) -> Option<Problem> {
    let seconds = lower::timeout_seconds(StepKind::Probe);
    let order = Ground {
        record: &record,
        intent: &wants::intent(&record),
        epoch: shared.epoch,
        now_ms: shared.now_ms(),
        ids: &shared.ids,
        operation: "",
        artifacts: &|_, _| Vec::new(),
        servers: Vec::new(),
        leases: Default::default(),
    }
    .order(&node.0, seconds, action);
    let patience = Duration::from_secs(seconds.into()) + ANSWER_MARGIN;
    let found = match shared.ask(&node.0, order, patience).await {
        Err(problem) => Some(problem),
        Ok(done) => {
            let result = done.result.unwrap_or_default();
            (result.status() != OrderStatus::Succeeded).then(|| result.problem.unwrap_or_default())
        }
    };
    found.map(|mut problem| {
        problem.code = format!("refused-{}", problem.code);
        problem.r#where = format!("{} as seen from {node}", problem.r#where);
        problem
    })
}

/// Whether a foreign load balancer leaves a dead member out shows only while one is dead: with all of them alive every check passes.
fn unproven_checks(record: &ClusterRecord, facts: &Facts, intent: &Intent) -> Option<String> {
    let rotation = record.rotation.as_ref().filter(|it| it.external)?;
    let all_alive = intent.members().count() == presence::members(facts, intent).len();
    all_alive.then(|| {
        format!(
            "{} is not quorate's: that its health check leaves a dead member out is proven only while a member is down",
            rotation.target
        )
    })
}

pub fn warnings(record: &ClusterRecord, facts: &Facts, intent: &Intent) -> Vec<String> {
    let mut warnings = Vec::new();
    for node in presence::away(facts, intent) {
        warnings.push(format!(
            "{node} cannot be reached: the others move without it, the old name stays until it has followed"
        ));
    }
    warnings.extend(unproven_checks(record, facts, intent));
    let other = record.rotation.as_ref().and_then(|it| it.other.as_ref());
    if let Some(other) = other {
        warnings.push(format!(
            "kubeconfigs of people, CI and other machines that name {other} are theirs to change before it is dropped"
        ));
        if record.spec.is_kubeadm() {
            warnings.push(format!(
                "'kubeadm join' lines that were handed out for {other} fail once it is dropped; print new ones after the switch: kubeadm token create --print-join-command"
            ));
        }
        let retired = record
            .rotation
            .as_ref()
            .map(|it| balancer::retired_after(record, it));
        for node in retired.into_iter().flatten() {
            warnings.push(format!(
                "{node} serves the API no more at the end; its other front ends stay"
            ));
        }
    }
    warnings
}
