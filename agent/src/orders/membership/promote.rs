//! Makes a learner a voter once it has caught up.

use super::{Ending, Tries, Via, describe, has_peer_url, outcome};
use crate::context::{Context, Done};
use crate::etcd::EtcdRefusal;
use quorate_proto::etcd::Member;
use quorate_proto::v1::{OrderResult, Problem, PromoteMember};
use std::time::Duration;

/// A learner of a small cluster is in sync within 100 ms of its start.
const POLL: Duration = Duration::from_millis(100);

pub async fn run(context: &Context, order: &PromoteMember) -> Done {
    let via = Via::local(context)?;
    let mut tries = Tries::default();
    let ending = promote(&via, order, &mut tries).await;
    Ok(outcome(ending, &tries))
}

/// What the list says of the member to promote.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not there with this id and address.
    Missing,
    AlreadyVoter,
    NotStarted,
    Promote,
}

pub fn decide(members: &[Member], order: &PromoteMember) -> Decision {
    let found = members
        .iter()
        .find(|member| member.id == order.member_id && has_peer_url(member, &order.peer_url));
    match found {
        None => Decision::Missing,
        Some(member) if !member.is_learner => Decision::AlreadyVoter,
        Some(member) if member.name.is_empty() => Decision::NotStarted,
        Some(_) => Decision::Promote,
    }
}

pub(super) async fn promote(
    via: &Via,
    order: &PromoteMember,
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
            Decision::Missing => return Err(Ending::Failed(missing(&members, order))),
            Decision::AlreadyVoter => return Ok(promoted(order)),
            Decision::NotStarted => {
                tries.succeeded();
                via.pause(POLL, &not_started(order)).await?;
                continue;
            }
            Decision::Promote => {}
        }
        let Err(failure) = via.client.promote(order.member_id).await else {
            return Ok(promoted(order));
        };
        match failure.refusal() {
            // The answer to the question whether it has caught up, not a rejection.
            Some(EtcdRefusal::LearnerNotReady) => via.pause(POLL, &failure.problem()).await?,
            Some(EtcdRefusal::Unhealthy | EtcdRefusal::NotEnoughStarted) => {
                tries.rejected(via, &failure).await?;
            }
            // The list tells which: promoted by an earlier call, or removed.
            Some(EtcdRefusal::NotALearner | EtcdRefusal::MemberNotFound) => {
                via.pause(POLL, &failure.problem()).await?;
            }
            Some(_) | None => {
                tries.after(via, &failure).await?;
                continue;
            }
        }
        tries.succeeded();
    }
}

fn promoted(order: &PromoteMember) -> OrderResult {
    OrderResult {
        member_id: order.member_id,
        ..OrderResult::default()
    }
}

fn missing(members: &[Member], order: &PromoteMember) -> Problem {
    let list: Vec<String> = members.iter().map(describe).collect();
    Problem::new(
        "member-missing",
        format!(
            "there is no member {:x} with this address; the members are: {}",
            order.member_id,
            list.join("; ")
        ),
    )
    .at(&order.peer_url)
    .because("the learner was removed meanwhile")
    .next("plan again from the members as they are now")
}

fn not_started(order: &PromoteMember) -> Problem {
    Problem::new(
        "learner-not-started",
        format!("the learner {:x} has not started", order.member_id),
    )
    .at(&order.peer_url)
    .because("its etcd does not run, or cannot reach the members' peer ports")
    .next("look at etcd's log on that node")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{learner, voter};
    use super::*;

    #[test]
    fn decisions() {
        let order = PromoteMember {
            member_id: 4,
            peer_url: "https://10.0.0.4:2380".into(),
        };
        let mut moved = learner(4, "n4");
        moved.peer_ur_ls = vec!["https://10.0.0.9:2380".into()];
        let mut again = learner(5, "n4");
        again.peer_ur_ls = vec!["https://10.0.0.4:2380".into()];
        for (members, decision) in [
            (vec![], Decision::Missing),
            (vec![voter(1), moved], Decision::Missing),
            (vec![voter(1), again], Decision::Missing),
            (vec![voter(1), voter(4)], Decision::AlreadyVoter),
            (vec![voter(1), learner(4, "")], Decision::NotStarted),
            (vec![voter(1), learner(4, "n4")], Decision::Promote),
        ] {
            assert_eq!(decide(&members, &order), decision, "{members:?}");
        }
    }
}
