//! Removes a member by id and address, never below a quorum of started, healthy voters.

use super::{Ending, Tries, Via, describe, has_peer_url, outcome};
use crate::context::{Context, Done};
use crate::etcd::{EtcdClient, EtcdFailure, EtcdRefusal};
use quorate_proto::etcd::{Member, StatusResponse};
use quorate_proto::v1::{OrderResult, Problem, RemoveMember};
use std::time::{Duration, Instant};

/// A healthy member answers at once; one that needs longer must not be counted on.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// etcd moves leadership within an election timeout (1 s); one more for a slow disk.
const LEADER_MOVES_WITHIN: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(100);

pub async fn run(context: &Context, order: &RemoveMember) -> Done {
    let via = Via::local(context)?;
    let mut tries = Tries::default();
    let ending = remove(&via, order, &mut tries).await;
    Ok(outcome(ending, &tries))
}

/// What the list says of the member to remove.
#[derive(Debug, PartialEq)]
pub enum Decision {
    Gone,
    /// The id is another member's address by now, or always was.
    Mismatch,
    /// The order is for a learner only.
    IsVoter,
    /// The decision was made on other members.
    VotersDiffer,
    /// Removal costs the quorum nothing.
    Learner,
    Voter {
        target: Member,
        rest: Vec<Member>,
    },
}

pub fn decide(members: &[Member], order: &RemoveMember) -> Decision {
    let Some(target) = members.iter().find(|member| member.id == order.member_id) else {
        return Decision::Gone;
    };
    if !has_peer_url(target, &order.peer_url) {
        return Decision::Mismatch;
    }
    if target.is_learner {
        return Decision::Learner;
    }
    if order.learner_only {
        return Decision::IsVoter;
    }
    if super::voters(members) != order.expected_voters.iter().copied().collect() {
        return Decision::VotersDiffer;
    }
    let rest = members
        .iter()
        .filter(|member| !member.is_learner && member.id != target.id)
        .cloned()
        .collect();
    Decision::Voter {
        target: target.clone(),
        rest,
    }
}

/// Whether the voters that stay can decide without the one that goes.
pub fn keeps_quorum(rest: usize, healthy: usize) -> bool {
    rest > 0 && healthy > rest / 2
}

pub(super) async fn remove(
    via: &Via,
    order: &RemoveMember,
    tries: &mut Tries,
) -> Result<OrderResult, Ending> {
    loop {
        let members = match via.members().await {
            Ok(members) => members,
            Err(failure) => {
                tries.after(via, &failure).await?;
                continue;
            }
        };
        match decide(&members, order) {
            Decision::Gone => return Ok(OrderResult::default()),
            Decision::Mismatch => return Err(Ending::Refused(mismatch(&members, order))),
            Decision::IsVoter => return Err(Ending::Refused(is_voter(order))),
            Decision::VotersDiffer => {
                let expected = &order.expected_voters;
                let problem = super::voters_differ(&members, expected, &order.peer_url);
                return Err(Ending::Refused(problem));
            }
            Decision::Learner => {}
            Decision::Voter { target, rest } => {
                make_expendable(via, &target, &rest, order.dead).await?;
            }
        }
        let Err(failure) = via.client.remove(order.member_id).await else {
            return Ok(OrderResult::default());
        };
        match failure.refusal() {
            Some(EtcdRefusal::MemberNotFound) => return Ok(OrderResult::default()),
            Some(EtcdRefusal::Unhealthy | EtcdRefusal::NotEnoughStarted) => {
                tries.rejected(via, &failure).await?;
            }
            Some(_) | None => {
                tries.after(via, &failure).await?;
                continue;
            }
        }
        tries.succeeded();
    }
}

/// Checks that the others can do without this voter, and takes leadership from it.
async fn make_expendable(
    via: &Via,
    target: &Member,
    rest: &[Member],
    dead: bool,
) -> Result<(), Ending> {
    let local = via
        .client
        .status()
        .await
        .map_err(|failure| Ending::Failed(failure.problem()))?;
    let header = local.header.as_ref();
    if header.is_some_and(|header| header.member_id == target.id) {
        return Err(Ending::Refused(removes_itself(target)));
    }
    let cluster = header.map(|header| header.cluster_id).unwrap_or_default();
    let said_dead = dead.then_some(target);
    let said_dead: Vec<Member> = said_dead.into_iter().cloned().collect();
    if !healthy_of(via, &said_dead, cluster).await.is_empty() {
        return Err(Ending::Refused(alive(target)));
    }
    let healthy = healthy_of(via, rest, cluster).await;
    if !keeps_quorum(rest.len(), healthy.len()) {
        return Err(Ending::Refused(would_lose_quorum(target, rest, &healthy)));
    }
    if local.leader == target.id {
        move_leader(via, target, &healthy).await;
    }
    Ok(())
}

/// Hands the local member's leadership to the one of the others that is furthest, if it leads.
pub(crate) async fn give_up_leadership(via: &Via) -> Result<(), Problem> {
    let told = |failure: EtcdFailure| failure.problem();
    let status = via.client.status().await.map_err(told)?;
    let header = status.header.unwrap_or_default();
    if status.leader != header.member_id {
        return Ok(());
    }
    let members = via.members().await.map_err(told)?;
    let others: Vec<Member> = members
        .into_iter()
        .filter(|member| !member.is_learner && member.id != header.member_id)
        .collect();
    let healthy = healthy_of(via, &others, header.cluster_id).await;
    match healthy.iter().max_by_key(|(_, applied)| *applied) {
        Some((heir, _)) => via.client.move_leader(*heir).await.map_err(told),
        None => Err(Problem::new("no-heir", "no other member could lead")
            .because("none of them answers from here")
            .next("quorate check")),
    }
}

/// Those that answer now, each with the index that it has applied.
async fn healthy_of(via: &Via, rest: &[Member], cluster: u64) -> Vec<(u64, u64)> {
    let mut probes = tokio::task::JoinSet::new();
    for member in rest {
        for url in &member.client_ur_ls {
            let Some(access) = via.access.at(url) else {
                continue;
            };
            let client = EtcdClient::new(&access, PROBE_WITHIN);
            let id = member.id;
            probes.spawn(async move {
                let status = client.status().await.ok()?;
                is_healthy(&status, id, cluster).then_some((id, status.raft_applied_index))
            });
        }
    }
    let mut healthy: Vec<(u64, u64)> = probes.join_all().await.into_iter().flatten().collect();
    healthy.sort_unstable();
    healthy.dedup_by_key(|(id, _)| *id);
    healthy
}

/// The process at a member's address has to be that member, of this cluster, following a leader.
fn is_healthy(status: &StatusResponse, id: u64, cluster: u64) -> bool {
    let itself = status
        .header
        .as_ref()
        .is_some_and(|header| header.member_id == id && header.cluster_id == cluster);
    itself && status.leader != 0 && !status.is_learner
}

/// A planned hand-over spares the cluster an election. A leader that cannot be asked any more steps down by its removal.
async fn move_leader(via: &Via, target: &Member, healthy: &[(u64, u64)]) {
    let Some((heir, _)) = healthy.iter().max_by_key(|(_, applied)| *applied) else {
        return;
    };
    for url in &target.client_ur_ls {
        let Some(access) = via.access.at(url) else {
            continue;
        };
        let leader = EtcdClient::new(&access, PROBE_WITHIN);
        if let Err(failure) = leader.move_leader(*heir).await {
            tracing::warn!(member = %describe(target), "leadership stays until removal: {}", failure.problem());
            continue;
        }
        let since = Instant::now();
        while since.elapsed() < LEADER_MOVES_WITHIN {
            match via.client.status().await {
                Ok(status) if status.leader != 0 && status.leader != target.id => return,
                Ok(_) | Err(_) => tokio::time::sleep(POLL).await,
            }
        }
        return;
    }
}

fn mismatch(members: &[Member], order: &RemoveMember) -> Problem {
    let list: Vec<String> = members.iter().map(describe).collect();
    Problem::new(
        "member-mismatch",
        format!(
            "the member {:x} has another address; the members are: {}",
            order.member_id,
            list.join("; ")
        ),
    )
    .at(&order.peer_url)
    .next("plan again from the members as they are now")
}

fn is_voter(order: &RemoveMember) -> Problem {
    Problem::new(
        "member-is-voter",
        format!("the member {:x} is a voter by now", order.member_id),
    )
    .at(&order.peer_url)
    .because("it was promoted since the decision")
    .next("plan again from the members as they are now")
}

fn alive(target: &Member) -> Problem {
    Problem::new("member-alive", "it was said to be dead, and it answers")
        .at(describe(target))
        .because("only its agent is away")
        .next("bring its agent back and remove it without --dead, or power the machine off")
}

fn removes_itself(target: &Member) -> Problem {
    Problem::new(
        "member-removes-itself",
        "a voter is not removed through itself",
    )
    .at(describe(target))
    .because("it stops with its removal, and the answer with it")
    .next("send the order to another healthy member")
}

fn would_lose_quorum(target: &Member, rest: &[Member], healthy: &[(u64, u64)]) -> Problem {
    let missing: Vec<String> = rest
        .iter()
        .filter(|member| !healthy.iter().any(|(id, _)| *id == member.id))
        .map(describe)
        .collect();
    let what = match rest {
        [] => "it is the last voter; without it the cluster's data is gone".to_owned(),
        _ => format!(
            "{} of the {} voters that stay are healthy, {} are needed; not healthy: {}",
            healthy.len(),
            rest.len(),
            rest.len() / 2 + 1,
            missing.join("; ")
        ),
    };
    Problem::new("quorum-would-be-lost", what)
        .at(describe(target))
        .next("bring those members up, or add another one first")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{learner, voter};
    use super::*;

    #[test]
    fn decisions() {
        let order = |learner_only| RemoveMember {
            member_id: 4,
            peer_url: "https://10.0.0.4:2380".into(),
            learner_only,
            expected_voters: vec![1, 2, 4],
            dead: false,
        };
        let mut moved = voter(4);
        moved.peer_ur_ls = vec!["https://10.0.0.9:2380".into()];
        let mut again = voter(5);
        again.peer_ur_ls = vec!["https://10.0.0.4:2380".into()];
        for (members, learner_only, decision) in [
            (vec![voter(1)], false, Decision::Gone),
            // Its address under another id is another member: not this order's to touch.
            (vec![voter(1), again], false, Decision::Gone),
            (vec![voter(1), moved], false, Decision::Mismatch),
            (vec![voter(1), learner(4, "")], true, Decision::Learner),
            (vec![voter(1), learner(4, "n4")], false, Decision::Learner),
            (vec![voter(1), voter(4)], true, Decision::IsVoter),
            // Another change was made since the decision.
            (vec![voter(1), voter(4)], false, Decision::VotersDiffer),
            (
                vec![voter(1), voter(2), voter(3), voter(4)],
                false,
                Decision::VotersDiffer,
            ),
            (
                vec![voter(1), voter(4), learner(7, "n7"), voter(2)],
                false,
                Decision::Voter {
                    target: voter(4),
                    rest: vec![voter(1), voter(2)],
                },
            ),
        ] {
            assert_eq!(
                decide(&members, &order(learner_only)),
                decision,
                "{members:?}"
            );
        }
    }

    #[test]
    fn quorum_of_those_that_stay() {
        for (rest, healthy, kept) in [
            (0, 0, false),
            (1, 0, false),
            (1, 1, true),
            (2, 1, false),
            (2, 2, true),
            (3, 1, false),
            (3, 2, true),
            (4, 2, false),
            (4, 3, true),
        ] {
            assert_eq!(keeps_quorum(rest, healthy), kept, "{healthy} of {rest}");
        }
    }
}
