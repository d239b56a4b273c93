//! Starts a joiner's etcd with the members that it joins. It answers as a learner; promotion is another member's to do.

use super::environment::{self, Start};
use super::{certificates, claim, data, health, subject, unit};
use crate::context::{Context, Done, Outcome};
use quorate_proto::v1::{MemberAddress, Problem, StartMember};

pub async fn run(context: &Context, order: &StartMember) -> Done {
    let (cluster, node, address) = subject(context)?;
    claim::require(context)?;
    certificates::required(&context.paths, cluster)?;
    let own_url = environment::peer_url(address);
    check_members(&order.initial_cluster, &node.name, &own_url)?;
    let start = Start::Join(order.member_id);
    let options = environment::render(cluster, node, address, start, &order.initial_cluster)?;
    data::settle(context, &cluster.id, start).await?;
    context.say("starting etcd as a learner");
    unit::run(&context.paths, &options).await?;
    health::answers(context, &health::client(context)?).await?;
    Ok(Outcome::done())
}

/// etcd would refuse these with less helpful words, after a start.
fn check_members(members: &[MemberAddress], name: &str, own_url: &str) -> Result<(), Problem> {
    let listed = members
        .iter()
        .any(|member| member.name == name && member.peer_url == own_url);
    if listed && members.len() > 1 {
        return Ok(());
    }
    Err(Problem::new(
        "members-incomplete",
        "the members to join do not include this node and another one",
    )
    .at(format!("{name}={own_url}"))
    .because("the node's name or address differs from what was added to etcd")
    .next("remove the learner and plan again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joiner_is_among_the_members() {
        let member = |name: &str, url: &str| MemberAddress {
            name: name.into(),
            peer_url: url.into(),
        };
        let (first, own) = (member("n1", "u1"), member("n2", "u2"));
        for (members, good) in [
            (vec![first.clone(), own.clone()], true),
            (vec![own.clone()], false),
            (vec![first.clone()], false),
            (vec![first.clone(), member("n2", "u3")], false),
            (vec![first, member("n3", "u2")], false),
            (vec![], false),
        ] {
            assert_eq!(
                check_members(&members, "n2", "u2").is_ok(),
                good,
                "{members:?}"
            );
        }
    }
}
