//! Membership orders against real etcd processes.

use super::*;
use crate::etcd::testing::TestCluster;
use quorate_proto::v1::{AddMember, MemberAddress, PromoteMember, RemoveMember};

/// Above etcd's health interval of 5 s, with room for a busy machine.
const AMPLE: Duration = Duration::from_secs(60);

pub(super) fn voter(id: u64) -> Member {
    Member {
        id,
        name: format!("n{id}"),
        peer_ur_ls: vec![format!("https://10.0.0.{id}:2380")],
        client_ur_ls: vec![format!("https://10.0.0.{id}:2379")],
        is_learner: false,
    }
}

pub(super) fn learner(id: u64, name: &str) -> Member {
    Member {
        name: name.into(),
        is_learner: true,
        ..voter(id)
    }
}

fn via(cluster: &TestCluster, number: u8, within: Duration) -> Via {
    Via::new(cluster.access(number), Instant::now() + within)
}

async fn voters(cluster: &TestCluster) -> Vec<u64> {
    let members = via(cluster, 1, AMPLE).members().await.unwrap();
    let voters = members.iter().filter(|member| !member.is_learner);
    voters.map(|member| member.id).collect()
}

fn order_to_add(cluster: &TestCluster, number: u8, expected_voters: Vec<u64>) -> AddMember {
    let MemberAddress { name, peer_url } = cluster.address(number);
    AddMember {
        name,
        peer_url,
        expected_voters,
    }
}

async fn add(cluster: &TestCluster, order: &AddMember) -> Outcome {
    let mut tries = Tries::default();
    let ending = add::add(&via(cluster, 1, AMPLE), order, &mut tries).await;
    outcome(ending, &tries)
}

async fn promote(via: &Via, order: &PromoteMember) -> Outcome {
    let mut tries = Tries::default();
    let ending = promote::promote(via, order, &mut tries).await;
    outcome(ending, &tries)
}

async fn remove(via: &Via, order: &RemoveMember) -> Outcome {
    let mut tries = Tries::default();
    let ending = remove::remove(via, order, &mut tries).await;
    outcome(ending, &tries)
}

fn code(outcome: &Outcome) -> &str {
    let problem = outcome.result.problem.as_ref();
    problem.map_or("", |problem| &problem.code)
}

/// Brings member `number` in as a voter and returns its id and address.
async fn join(cluster: &mut TestCluster, number: u8) -> PromoteMember {
    let order = order_to_add(cluster, number, voters(cluster).await);
    let added = add(cluster, &order).await.result;
    assert_eq!(added.status(), OrderStatus::Succeeded, "{added:?}");
    assert_eq!(added.initial_cluster.len(), usize::from(number));
    cluster.launch(number, &added.initial_cluster);
    let target = PromoteMember {
        member_id: added.member_id,
        peer_url: order.peer_url,
    };
    let promoted = promote(&via(cluster, 1, AMPLE), &target).await.result;
    assert_eq!(promoted.status(), OrderStatus::Succeeded, "{promoted:?}");
    assert_eq!(promoted.rejected_calls, 0);
    target
}

#[tokio::test]
async fn a_second_member_joins_and_leaves() {
    let mut cluster = TestCluster::start().await;
    let first = voters(&cluster).await;
    let order = order_to_add(&cluster, 2, first.clone());

    let added = add(&cluster, &order).await.result;
    assert_eq!(added.status(), OrderStatus::Succeeded, "{added:?}");
    let again = add(&cluster, &order).await.result;
    assert_eq!(again.member_id, added.member_id);
    assert_eq!(again.initial_cluster, added.initial_cluster);
    assert_eq!(voters(&cluster).await, first);

    // Another joiner meanwhile: one learner at a time, and the error says which one is in the way.
    let third = add(&cluster, &order_to_add(&cluster, 3, first.clone())).await;
    assert_eq!(code(&third), "learner-in-the-way");
    assert_eq!(third.result.rejected_calls, 1);
    let text = third.result.problem.unwrap().what;
    assert!(text.contains(&format!("{:x}", added.member_id)), "{text}");

    let target = PromoteMember {
        member_id: added.member_id,
        peer_url: order.peer_url.clone(),
    };
    let early = promote(&via(&cluster, 1, Duration::from_secs(1)), &target).await;
    assert_eq!(code(&early), "learner-not-started");

    cluster.launch(2, &added.initial_cluster);
    let through_first = via(&cluster, 1, AMPLE);
    let promoted = promote(&through_first, &target).await.result;
    assert_eq!(promoted.status(), OrderStatus::Succeeded, "{promoted:?}");
    // The reply was lost: the list tells that it is done.
    let promoted = promote(&through_first, &target).await.result;
    assert_eq!(promoted.status(), OrderStatus::Succeeded);
    // As above for the add: it is a voter that the decision did not know.
    assert_eq!(
        add(&cluster, &order).await.result.member_id,
        added.member_id
    );
    // And one that the decision counted as old is not joined over.
    let both = voters(&cluster).await;
    let taken = add(&cluster, &order_to_add(&cluster, 2, both)).await;
    assert_eq!(code(&taken), "peer-url-taken");
    assert_eq!(taken.result.status(), OrderStatus::Refused);

    let mut removal = RemoveMember {
        member_id: target.member_id,
        peer_url: target.peer_url.clone(),
        learner_only: true,
        expected_voters: Vec::new(),
        dead: false,
    };
    assert_eq!(
        code(&remove(&through_first, &removal).await),
        "member-is-voter"
    );
    removal.learner_only = false;
    removal.expected_voters = first.clone();
    let changed = remove(&through_first, &removal).await;
    assert_eq!(code(&changed), "voters-changed");
    removal.expected_voters = voters(&cluster).await;
    let itself = remove(&via(&cluster, 2, AMPLE), &removal).await;
    assert_eq!(code(&itself), "member-removes-itself");
    // It was said to be dead, and is not.
    removal.dead = true;
    let alive = remove(&through_first, &removal).await;
    assert_eq!(code(&alive), "member-alive");
    assert_eq!(alive.result.status(), OrderStatus::Refused);
    removal.dead = false;
    for _ in 0..2 {
        let removed = remove(&through_first, &removal).await.result;
        assert_eq!(removed.status(), OrderStatus::Succeeded, "{removed:?}");
    }
    assert_eq!(voters(&cluster).await, first);
    let gone = promote(&through_first, &target).await;
    assert_eq!(code(&gone), "member-missing");

    // Back under the same name and address, without its data, as another member.
    cluster.kill(2);
    std::fs::remove_dir_all(cluster.home(2)).unwrap();
    let again = join(&mut cluster, 2).await;
    assert_eq!(again.peer_url, target.peer_url);
    assert_ne!(again.member_id, target.member_id);
    let late = remove(&through_first, &removal).await.result;
    assert_eq!(late.status(), OrderStatus::Succeeded, "{late:?}");
    assert_eq!(voters(&cluster).await.len(), 2, "an old order is no order");
}

#[tokio::test]
async fn leadership_is_handed_on_before_a_member_ends() {
    let mut cluster = TestCluster::start().await;
    join(&mut cluster, 2).await;
    let both = [via(&cluster, 1, AMPLE), via(&cluster, 2, AMPLE)];
    let leader = async || both[0].client.status().await.unwrap().leader;
    let status = both[0].client.status().await.unwrap();
    let first = status.header.unwrap().member_id;
    for _ in 0..2 {
        let before = leader().await;
        // A member that does not lead has nothing to hand on: only one of the two moves it.
        let leads = usize::from(first != before);
        remove::give_up_leadership(&both[leads]).await.unwrap();
        let since = Instant::now();
        while leader().await == before || leader().await == 0 {
            assert!(since.elapsed() < AMPLE, "it still leads");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let now = leader().await;
    let follows = usize::from(first == now);
    remove::give_up_leadership(&both[follows]).await.unwrap();
    assert_eq!(leader().await, now, "a follower moved it");
}

#[tokio::test]
async fn the_last_voter_stays() {
    let cluster = TestCluster::start().await;
    let removal = RemoveMember {
        member_id: voters(&cluster).await[0],
        peer_url: cluster.address(1).peer_url,
        learner_only: false,
        expected_voters: voters(&cluster).await,
        dead: false,
    };
    let refused = remove(&via(&cluster, 1, AMPLE), &removal).await;
    assert_eq!(refused.result.status(), OrderStatus::Refused);
    assert_eq!(code(&refused), "member-removes-itself");
}

#[tokio::test]
async fn a_ghost_learner_is_removed() {
    let cluster = TestCluster::start().await;
    let first = voters(&cluster).await;
    let order = order_to_add(&cluster, 2, first.clone());
    let ghost = add(&cluster, &order).await.result.member_id;

    let through_first = via(&cluster, 1, AMPLE);
    let mut removal = RemoveMember {
        member_id: ghost,
        peer_url: cluster.address(3).peer_url,
        learner_only: true,
        expected_voters: Vec::new(),
        dead: false,
    };
    let mismatch = remove(&through_first, &removal).await;
    assert_eq!(code(&mismatch), "member-mismatch");
    removal.peer_url = order.peer_url.clone();
    let removed = remove(&through_first, &removal).await.result;
    assert_eq!(removed.status(), OrderStatus::Succeeded, "{removed:?}");

    let again = add(&cluster, &order).await.result;
    assert_eq!(again.status(), OrderStatus::Succeeded, "{again:?}");
    assert_ne!(again.member_id, ghost);
}

#[tokio::test]
async fn a_decision_on_other_voters_is_refused() {
    let cluster = TestCluster::start().await;
    let first = voters(&cluster).await[0];
    let refused = add(&cluster, &order_to_add(&cluster, 2, vec![first, 7])).await;
    assert_eq!(refused.result.status(), OrderStatus::Refused);
    assert_eq!(code(&refused), "voters-changed");
    let text = refused.result.problem.unwrap().what;
    assert!(text.contains(&format!("[{first:x}]")), "{text}");
    assert!(
        text.contains(&format!("{first:x} 7")) || text.contains(&format!("7 {first:x}")),
        "{text}"
    );
}

/// Grows to three, so that etcd's health interval is met on the way, then takes the leader out, then loses the quorum.
#[tokio::test]
async fn quorum_is_kept() {
    let mut cluster = TestCluster::start().await;
    let second = join(&mut cluster, 2).await;
    // Too early by etcd's 5 s: the calls that it refuses are counted, and the order ends well all the same.
    let order = order_to_add(&cluster, 3, voters(&cluster).await);
    let added = add(&cluster, &order).await.result;
    assert_eq!(added.status(), OrderStatus::Succeeded, "{added:?}");
    assert!(added.rejected_calls > 0, "{added:?}");
    cluster.launch(3, &added.initial_cluster);
    let third = PromoteMember {
        member_id: added.member_id,
        peer_url: order.peer_url,
    };
    let promoted = promote(&via(&cluster, 1, AMPLE), &third).await.result;
    assert_eq!(promoted.status(), OrderStatus::Succeeded, "{promoted:?}");

    // The first member leads: leadership goes to another one before the removal.
    let first = RemoveMember {
        member_id: EtcdClient::new(&cluster.access(1), CALL_WITHIN)
            .status()
            .await
            .unwrap()
            .leader,
        peer_url: cluster.address(1).peer_url,
        learner_only: false,
        expected_voters: voters(&cluster).await,
        dead: false,
    };
    let removed = remove(&via(&cluster, 2, AMPLE), &first).await.result;
    assert_eq!(removed.status(), OrderStatus::Succeeded, "{removed:?}");
    cluster.kill(1);
    let through_second = via(&cluster, 2, AMPLE);
    assert_eq!(through_second.members().await.unwrap().len(), 2);

    // Of the two that are left, the third dies: nothing is decided without a linearizable list.
    cluster.kill(3);
    let removal = RemoveMember {
        member_id: third.member_id,
        peer_url: third.peer_url,
        learner_only: false,
        expected_voters: Vec::new(),
        dead: false,
    };
    let stuck = remove(&via(&cluster, 2, Duration::from_secs(3)), &removal).await;
    assert_eq!(stuck.result.status(), OrderStatus::Failed);
    assert!(
        ["etcd-no-answer", "etcd-refused"].contains(&code(&stuck)),
        "{:?}",
        stuck.result
    );
    assert_ne!(second.member_id, third.member_id);
}
