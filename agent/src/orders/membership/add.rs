//! Adds a member as a learner, which leaves the quorum as it is until it has caught up.

use super::{Ending, Tries, Via, describe, has_peer_url, outcome, voters, voters_differ};
use crate::context::{Context, Done};
use crate::etcd::EtcdRefusal;
use quorate_proto::etcd::Member;
use quorate_proto::v1::{AddMember, MemberAddress, OrderResult, Problem};
use std::collections::BTreeSet;

pub async fn run(context: &Context, order: &AddMember) -> Done {
    let via = Via::local(context)?;
    let mut tries = Tries::default();
    let ending = add(&via, order, &mut tries).await;
    Ok(outcome(ending, &tries))
}

/// What to do about the joiner, given the members as they are.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    Add,
    /// An earlier delivery of this order added it.
    AlreadyThere(u64),
    /// Its address belongs to a voter that the decision counted among the old ones: that member's data is gone or in use.
    AddressTaken(u64),
    /// The decision was made on other members.
    VotersDiffer,
}

pub fn decide(members: &[Member], order: &AddMember) -> Decision {
    let holder = members
        .iter()
        .find(|member| has_peer_url(member, &order.peer_url));
    if let Some(member) = holder {
        let counted = !member.is_learner && order.expected_voters.contains(&member.id);
        return match counted {
            true => Decision::AddressTaken(member.id),
            false => Decision::AlreadyThere(member.id),
        };
    }
    let expected: BTreeSet<u64> = order.expected_voters.iter().copied().collect();
    match voters(members) == expected {
        true => Decision::Add,
        false => Decision::VotersDiffer,
    }
}

pub(super) async fn add(
    via: &Via,
    order: &AddMember,
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
            Decision::AlreadyThere(id) => return Ok(added(&members, id, &order.name)),
            Decision::AddressTaken(id) => return Err(Ending::Refused(address_taken(id, order))),
            Decision::VotersDiffer => {
                let problem = voters_differ(&members, &order.expected_voters, &order.peer_url);
                return Err(Ending::Refused(problem));
            }
            Decision::Add => {}
        }
        match via.client.add_learner(&order.peer_url).await {
            Ok(response) => {
                let id = response.member.map(|member| member.id).unwrap_or_default();
                return Ok(added(&response.members, id, &order.name));
            }
            Err(failure) => match failure.refusal() {
                // "Member not found": etcd makes ids of address and second, so that an address that was added and removed within
                // one second gets the removed id again, which is never taken back. The next second has another.
                Some(EtcdRefusal::Unhealthy | EtcdRefusal::MemberNotFound) => {
                    tries.rejected(via, &failure).await?;
                }
                Some(EtcdRefusal::TooManyLearners) => {
                    tries.rejected += 1;
                    return Err(Ending::Failed(learner_in_the_way(&members, order)));
                }
                // Somebody, or an earlier call whose reply was lost, was quicker: the list says who.
                Some(EtcdRefusal::PeerUrlExists | EtcdRefusal::MemberExists) => {}
                Some(EtcdRefusal::NotEnoughStarted) => {
                    tries.rejected += 1;
                    return Err(Ending::Failed(failure.problem()));
                }
                Some(_) | None => {
                    tries.after(via, &failure).await?;
                    continue;
                }
            },
        }
        tries.succeeded();
    }
}

fn added(members: &[Member], id: u64, name: &str) -> OrderResult {
    OrderResult {
        member_id: id,
        initial_cluster: initial_cluster(members, id, name),
        ..OrderResult::default()
    }
}

/// The members that the joiner is started with. etcd compares the peer URLs of all members and takes no notice of the names of others,
/// so that one that has not started may have any.
pub fn initial_cluster(members: &[Member], joiner: u64, joiner_name: &str) -> Vec<MemberAddress> {
    let name_of = |member: &Member| match member.name.as_str() {
        _ if member.id == joiner => joiner_name.to_owned(),
        "" => format!("unstarted-{:x}", member.id),
        name => name.to_owned(),
    };
    members
        .iter()
        .flat_map(|member| {
            member.peer_ur_ls.iter().map(move |url| MemberAddress {
                name: name_of(member),
                peer_url: url.clone(),
            })
        })
        .collect()
}

fn address_taken(id: u64, order: &AddMember) -> Problem {
    Problem::new(
        "peer-url-taken",
        format!("the address already belongs to the voter {id:x}"),
    )
    .at(&order.peer_url)
    .because("the node was a member before and was not removed from etcd")
    .next("remove that member, then join the node again")
}

fn learner_in_the_way(members: &[Member], order: &AddMember) -> Problem {
    let learners: Vec<String> = members
        .iter()
        .filter(|member| member.is_learner)
        .map(describe)
        .collect();
    Problem::new(
        "learner-in-the-way",
        format!(
            "etcd takes no further learner beside {}",
            learners.join("; ")
        ),
    )
    .at(&order.peer_url)
    .because("an earlier join did not end")
    .next("promote that learner or remove it")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{learner, voter};
    use super::*;

    fn order(expected: &[u64]) -> AddMember {
        AddMember {
            name: "n4".into(),
            peer_url: "https://10.0.0.4:2380".into(),
            expected_voters: expected.to_vec(),
        }
    }

    #[test]
    fn decisions() {
        let two = || vec![voter(1), voter(2)];
        let with = |extra: Member| [two(), vec![extra]].concat();
        for (members, expected, decision) in [
            (two(), vec![1, 2], Decision::Add),
            (two(), vec![2, 1], Decision::Add),
            (two(), vec![1], Decision::VotersDiffer),
            (two(), vec![1, 2, 3], Decision::VotersDiffer),
            (two(), vec![], Decision::VotersDiffer),
            (vec![], vec![], Decision::Add),
            // A learner elsewhere is etcd's to judge: newer ones allow several.
            (with(learner(3, "")), vec![1, 2], Decision::Add),
            (with(learner(4, "")), vec![1, 2], Decision::AlreadyThere(4)),
            (with(learner(4, "n4")), vec![1], Decision::AlreadyThere(4)),
            (with(voter(4)), vec![1, 2], Decision::AlreadyThere(4)),
            (with(voter(4)), vec![1, 2, 4], Decision::AddressTaken(4)),
        ] {
            assert_eq!(decide(&members, &order(&expected)), decision, "{members:?}");
        }
    }

    #[test]
    fn the_joiner_starts_with_every_member() {
        let mut members = vec![voter(1), learner(3, ""), learner(4, "")];
        members[0]
            .peer_ur_ls
            .push("https://[2001:db8::1]:2380".into());
        let pairs: Vec<(String, String)> = initial_cluster(&members, 4, "n4")
            .into_iter()
            .map(|address| (address.name, address.peer_url))
            .collect();
        let expected = [
            ("n1", "https://10.0.0.1:2380"),
            ("n1", "https://[2001:db8::1]:2380"),
            ("unstarted-3", "https://10.0.0.3:2380"),
            ("n4", "https://10.0.0.4:2380"),
        ]
        .map(|(name, url)| (name.to_owned(), url.to_owned()));
        assert_eq!(pairs, expected);
    }
}
