//! What speaks against a removal, before anything changes.

use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use crate::spec::SpecNode;
use crate::spec::file::Mode;
use quorate_planner::facts::{Facts, MemberList};
use quorate_planner::intent::Intent;
use quorate_planner::leaving::{Leaving, Presence, presence};
use quorate_planner::quorum::{self, Replacement};
use quorate_planner::safety;
use quorate_proto::v1::Problem;

/// The code that the command line has an exit code of its own for.
pub const QUORUM: &str = "refused-quorum-loss";

pub struct Case<'a> {
    pub shared: &'a Shared,
    pub record: &'a ClusterRecord,
    pub intent: &'a Intent,
    pub facts: &'a Facts,
    pub leaving: &'a Leaving,
    pub node: &'a SpecNode,
}

pub fn refusals(case: &Case<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(word(case));
    problems.extend(endpoint(case));
    problems.extend(balancer(case));
    problems.extend(quorum(case));
    problems
}

fn name<'a>(case: &'a Case<'_>) -> &'a str {
    &case.node.config.name
}

/// Whether what the operator says of the machine is so.
fn word(case: &Case<'_>) -> Option<Problem> {
    let name = name(case);
    let node = case.intent.node(&case.leaving.node)?;
    match (presence(case.facts, node), case.leaving.dead) {
        (Presence::Here | Presence::Unknown, true) => Some(
            Problem::new("refused-alive", format!("{name} is alive: its agent answers"))
                .at(name)
                .next(format!("without --dead it leaves in order: {}", super::command(case.leaving))),
        ),
        (Presence::Away, false) => Some(
            Problem::new("refused-away", format!("{name} cannot be reached"))
                .at(name)
                .because("its agent is not connected; it can be neither drained nor reset")
                .next(format!(
                    "on {name}: systemctl status quorate-agent; if the machine is gone for good: {} --dead",
                    super::command(case.leaving)
                )),
        ),
        (Presence::Here | Presence::Unknown, false)
        | (Presence::Away, true)
        | (Presence::Clean, _) => None,
    }
}

/// Clients would be left with an address that leads nowhere.
fn endpoint(case: &Case<'_>) -> Option<Problem> {
    let config = &case.node.config;
    let endpoint = case.record.spec.cluster.endpoint.as_ref()?;
    [&config.name, &config.address]
        .contains(&&endpoint.host)
        .then(|| {
            let cluster = &case.record.name;
            Problem::new(
                "refused-endpoint",
                format!("the cluster's endpoint is {}'s own address", config.name),
            )
            .at(endpoint.host.clone())
            .because("every client would have to be told another one")
            .next(format!(
                "move it first: quorate endpoint rotate --cluster {cluster} HOST:PORT"
            ))
        })
}

fn balancer(case: &Case<'_>) -> Option<Problem> {
    let spec = &case.record.spec;
    let balancers = spec.nodes.iter().filter(|it| it.config.load_balancer);
    let last = case.node.config.load_balancer && balancers.count() == 1;
    (spec.mode == Mode::Managed && last && case.leaving.successor.is_none()).then(|| {
        Problem::new(
            "refused-load-balancer",
            format!("{} is the last load balancer", name(case)),
        )
        .at(name(case))
        .next("add another node with the role load-balancer to the cluster file, and apply it")
    })
}

fn quorum(case: &Case<'_>) -> Option<Problem> {
    if !case.node.config.member {
        return None;
    }
    let members = match &case.facts.etcd.list {
        MemberList::Known(members) => members,
        MemberList::Unknown | MemberList::Conflict(_) => return Some(undecided(case)),
    };
    let peer_url = case.node.peer_url();
    let target = members.iter().find(|it| it.peer_url == peer_url)?;
    if target.learner {
        return None;
    }
    let voters = members.iter().filter(|it| !it.learner).count();
    let others = safety::able_others(members, target.id);
    let another = case.leaving.successor.as_ref() != Some(&case.leaving.node);
    let successor = case.leaving.successor.is_some() && another;
    let joins_first =
        quorum::replacement(voters, others, safety::able(target)) == Replacement::JoinFirst;
    let joins = successor && joins_first && quorum::can_add(voters, others + 1);
    if quorum::can_remove(voters, others) || joins {
        return None;
    }
    Some(would_lose(case, voters, others))
}

fn would_lose(case: &Case<'_>, voters: usize, healthy: usize) -> Problem {
    let stay = voters - 1;
    let what = match stay {
        0 => format!("{} is the last voter: its data is the cluster", name(case)),
        _ => format!(
            "without {} {healthy} of {stay} voters would be healthy; {} are needed",
            name(case),
            quorum::quorum(stay)
        ),
    };
    Problem::new(QUORUM, what).at(name(case)).next(match stay {
        0 => format!(
            "let another take its place: quorate node replace {} NEW",
            name(case)
        ),
        _ => format!(
            "bring the others up first: quorate status {}",
            case.record.name
        ),
    })
}

/// Nobody gives a list that a majority agrees on: then nothing can be removed either.
fn undecided(case: &Case<'_>) -> Problem {
    let members: Vec<&SpecNode> = case.record.spec.members().collect();
    let answers = |node: &&&SpecNode| {
        let agent = case.shared.agents.get(&node.config.name);
        let report = agent.filter(|it| it.connected).and_then(|it| it.report);
        report.is_some_and(|it| it.etcd.as_ref().is_some_and(|etcd| etcd.running))
    };
    let answering = members.iter().filter(answers).count();
    Problem::new(
        QUORUM,
        format!(
            "{answering} of {} voters answer; {} have to agree before one is removed",
            members.len(),
            quorum::quorum(members.len())
        ),
    )
    .at(case.record.name.clone())
    .because("without a majority etcd takes no change of its members")
    .next(format!(
        "bring members back: quorate status {}; if they are lost, the cluster has to be restored from a snapshot",
        case.record.name
    ))
}
