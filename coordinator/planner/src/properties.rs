//! Scenarios and properties of whole rounds.
// A test that matches one variant fails on all others, new ones too.
#![allow(clippy::wildcard_enum_match_arm)]

use crate::facts::*;
use crate::fixtures::*;
use crate::intent::{Balancing, Distribution, Intent};
use crate::membership::{GHOST_AGE_MS, JOINER_DOWN_MS, JOINER_SILENT_MS};
use crate::predict;
use crate::round::{self, Outcome};
use crate::safety;
use crate::step::{Membership, MembershipStep, SideStep, StepKind};
use crate::time::Time;
use crate::waiting::WaitingOn;
use proptest::prelude::*;

fn fresh(members: usize) -> (Facts, Intent) {
    let mut facts = Facts::default();
    for n in 1..=members {
        facts.nodes.insert(name(&format!("n{n}")), fresh_node());
    }
    (facts, intent(members))
}

fn kinds(steps: &[SideStep]) -> Vec<StepKind> {
    steps.iter().map(SideStep::kind).collect()
}

/// Two voters and a prepared third node.
fn two_and_a_joiner() -> (Facts, Intent) {
    let mut facts = healthy(2);
    facts.nodes.insert(name("n3"), prepared_node());
    (facts, intent(3))
}

fn joining(stage: Option<Member>, started: bool) -> (Facts, Intent) {
    let (mut facts, intent) = two_and_a_joiner();
    if let (MemberList::Known(members), Some(member)) = (&mut facts.etcd.list, stage) {
        members.push(member);
    }
    facts.change = Some(Change {
        kind: ChangeKind::Join,
        node: name("n3"),
        peer_url: peer_url(3),
        since: Time(NOW.0 - 1_000),
        started,
    });
    (facts, intent)
}

#[test]
fn a_fresh_cluster_is_planned_to_its_end() {
    for members in [1, 2, 3, 5, 7] {
        let (facts, intent) = fresh(members);
        let stages = predict::unroll(&facts, &intent, NOW);
        assert_eq!(
            kinds(&stages[0].side),
            vec![StepKind::Preflight; members],
            "all at once"
        );
        assert_eq!(
            kinds(&stages[1].side),
            vec![StepKind::Install; members],
            "all at once"
        );
        let voters: Vec<usize> = stages.iter().filter_map(|stage| stage.voters).collect();
        assert_eq!(
            voters,
            (1..=members).collect::<Vec<_>>(),
            "one voter after the other"
        );
    }
}

#[test]
fn the_first_join_does_not_wait_for_the_others_to_be_prepared() {
    let (mut facts, intent) = two_and_a_joiner();
    facts.nodes.insert(name("n3"), fresh_node());
    facts.nodes.insert(name("n4"), prepared_node());
    let mut wish = intent;
    wish.nodes.push(node_intent(4));
    match round::next(&facts, &wish, NOW).membership {
        Membership::Begin(change, MembershipStep::Add { .. }) => {
            assert_eq!(change.node, name("n4"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_fatal_preflight_stops_installs_everywhere() {
    let (mut facts, intent) = fresh(3);
    for (at, node) in facts.nodes.values_mut().enumerate() {
        if at == 0 {
            node.preflight_fatal.push("Port-2379: in use".into());
        } else if let Observed::Known(marks) = &mut node.marks {
            marks.preflight = crate::intent::Digest("p".into());
        }
    }
    let round = round::next(&facts, &intent, NOW);
    assert_eq!(round.side, vec![], "nothing is touched");
    assert!(matches!(round.outcome, Outcome::Stuck(nodes) if nodes == vec![name("n1")]));
}

#[test]
fn a_join_goes_step_by_step() {
    let (facts, intent) = joining(None, false);
    let next = |facts: &Facts| round::next(facts, &intent, NOW).membership;
    assert!(matches!(
        next(&facts),
        Membership::Continue(MembershipStep::Add { .. })
    ));

    let (facts, _) = joining(Some(learner(3, false)), false);
    assert!(matches!(
        next(&facts),
        Membership::Continue(MembershipStep::Start { member: 3, .. })
    ));

    let (facts, _) = joining(Some(learner(3, false)), true);
    assert!(matches!(
        next(&facts),
        Membership::Continue(MembershipStep::Promote { member: 3, .. })
    ));

    let (facts, _) = joining(Some(voter(3)), true);
    assert_eq!(next(&facts), Membership::Complete(name("n3")));
}

#[test]
fn a_dead_joiner_is_removed_reset_and_may_join_again() {
    let (mut facts, intent) = joining(Some(learner(3, false)), true);
    let dead = facts.nodes.get_mut(&name("n3")).expect("joiner");
    dead.connected = false;
    dead.heard = Time(NOW.0 - JOINER_SILENT_MS + 1);
    let patient = round::next(&facts, &intent, NOW).membership;
    assert!(
        matches!(
            patient,
            Membership::Continue(MembershipStep::Promote { .. })
        ),
        "{patient:?}"
    );

    let later = NOW.plus(1);
    match round::next(&facts, &intent, later).membership {
        Membership::Continue(MembershipStep::Remove {
            member: 3,
            peer_url: url,
            ..
        }) => assert_eq!(url, peer_url(3)),
        other => panic!("{other:?}"),
    }
    if let MemberList::Known(members) = &mut facts.etcd.list {
        members.pop();
    }
    assert_eq!(
        round::next(&facts, &intent, later).membership,
        Membership::Abandon(name("n3"))
    );

    // What the loop does with Abandon; then the machine comes back.
    facts.change = None;
    facts.dirty.insert(name("n3"));
    facts.nodes.insert(name("n3"), prepared_node());
    let round = round::next(&facts, &intent, later);
    assert_eq!(round.side, vec![SideStep::Reset { node: name("n3") }]);
    assert!(
        matches!(round.membership, Membership::Wait(reasons) if reasons == vec![WaitingOn::NotPrepared(name("n3"))])
    );
}

/// Its machine was cleaned or came back empty within the time that silence is forgiven.
#[test]
fn a_joiner_without_its_etcd_is_removed() {
    let (mut facts, intent) = joining(Some(learner(3, true)), true);
    let down = facts.nodes.get_mut(&name("n3")).expect("joiner");
    down.etcd_running = Observed::Known(false);
    down.etcd_down_since = Some(Time(NOW.0 - JOINER_DOWN_MS + 1));
    let patient = round::next(&facts, &intent, NOW).membership;
    assert!(
        matches!(
            patient,
            Membership::Continue(MembershipStep::Promote { .. })
        ),
        "{patient:?}"
    );
    let gone = round::next(&facts, &intent, NOW.plus(1)).membership;
    assert!(
        matches!(
            gone,
            Membership::Continue(MembershipStep::Remove { member: 3, .. })
        ),
        "{gone:?}"
    );
}

#[test]
fn a_voter_that_failed_right_after_its_promotion_is_not_removed() {
    let mut broken = voter(3);
    broken.health = Observed::Unknown;
    let (mut facts, intent) = joining(Some(broken), true);
    facts.nodes.get_mut(&name("n3")).expect("joiner").connected = false;
    let membership = round::next(&facts, &intent, NOW.plus(10 * JOINER_SILENT_MS)).membership;
    assert!(matches!(membership, Membership::Wait(_)), "{membership:?}");
}

#[test]
fn nobody_joins_while_another_is_unhealthy() {
    let (mut facts, intent) = two_and_a_joiner();
    if let MemberList::Known(members) = &mut facts.etcd.list {
        members[1].health = Observed::Unknown;
    }
    match round::next(&facts, &intent, NOW).membership {
        Membership::Wait(reasons) => {
            assert!(
                reasons.contains(&WaitingOn::MemberHealthUnknown { name: "n2".into() }),
                "{reasons:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_foreign_learner_is_left_alone_until_it_is_proven_dead() {
    let (mut facts, intent) = two_and_a_joiner();
    let node = facts.nodes.get_mut(&name("n3")).expect("node");
    node.marks = Observed::Known(Marks::default());
    if let MemberList::Known(members) = &mut facts.etcd.list {
        let mut ghost = learner(3, false);
        ghost.seen_since = NOW;
        members.push(ghost);
    }
    let wait = round::next(&facts, &intent, NOW.plus(GHOST_AGE_MS - 1)).membership;
    assert!(matches!(wait, Membership::Wait(_)), "{wait:?}");
    let drop = round::next(&facts, &intent, NOW.plus(GHOST_AGE_MS)).membership;
    assert!(
        matches!(&drop, Membership::Begin(change, MembershipStep::Remove { .. }) if change.kind == ChangeKind::DropGhost),
        "{drop:?}"
    );
    facts.nodes.get_mut(&name("n3")).expect("node").etcd_running = Observed::Unknown;
    let unsure = round::next(&facts, &intent, NOW.plus(GHOST_AGE_MS)).membership;
    assert!(
        matches!(unsure, Membership::Wait(_)),
        "unknown is not dead: {unsure:?}"
    );
}

#[test]
fn a_second_cluster_is_never_formed() {
    // The first one is on record but cannot be seen.
    let mut facts = healthy(3);
    facts.etcd = EtcdFacts::default();
    facts.nodes.insert(name("n4"), prepared_node());
    let round = round::next(&facts, &intent(4), NOW);
    assert!(
        matches!(round.membership, Membership::Wait(_)),
        "{:?}",
        round.membership
    );
    assert!(!kinds(&round.side).contains(&StepKind::CreateAuthority));
}

#[test]
fn the_load_balancer_follows_its_members() {
    let (mut facts, mut wish) = two_and_a_joiner();
    wish.balancing = Balancing::Managed;
    wish.distribution = Distribution::Etcd;
    let mut lb = node_intent(8);
    (lb.member, lb.balancer) = (false, true);
    wish.nodes.push(lb);
    let mut node = prepared_node();
    node.balancer = Observed::Known(BalancerFacts::default());
    facts.nodes.insert(name("n8"), node);
    let steps = round::next(&facts, &wish, NOW).side;
    let expected = SideStep::ConfigureBalancer {
        node: name("n8"),
        members: [name("n1"), name("n2")].into(),
    };
    assert!(steps.contains(&expected), "{steps:?}");
}

fn leaving(n: usize, dead: bool, drained: bool, same: bool) -> crate::leaving::Leaving {
    crate::leaving::Leaving {
        node: name(&format!("n{n}")),
        identity: String::new(),
        dead,
        successor: same.then(|| name(&format!("n{n}"))),
        without_storage: false,
        drained,
        stopped: false,
        reset: false,
        deleted: false,
    }
}

prop_compose! {
    fn any_member(n: usize)(
        started in prop::bool::weighted(0.8),
        is_learner in prop::bool::weighted(0.2),
        known in prop::bool::weighted(0.8),
        serving in prop::bool::weighted(0.8),
        leader in prop::sample::select(vec![0u64, 1, 1, 1, 2]),
        term in prop::sample::select(vec![5u64, 5, 5, 6]),
        applied in prop::sample::select(vec![5_000u64, 5_000, 4_990, 10]),
    ) -> Member {
        let mut member = voter(n);
        member.learner = is_learner;
        member.name = started.then(|| format!("n{n}"));
        member.health = if known {
            Observed::Known(MemberHealth { serving, leader, term, applied, db_size: 1, alarms: vec![] })
        } else {
            Observed::Unknown
        };
        member
    }
}

prop_compose! {
    fn any_facts()(
        members in (any_member(1), any_member(2), any_member(3), 0usize..=3),
        stable in prop::option::of(0u64..NOW.0),
        slot in prop::option::of((3usize..=4, any::<bool>())),
        connected in prop::collection::vec(prop::bool::weighted(0.8), 4),
        silent_ms in 0u64..20_000,
        membership_order in prop::bool::weighted(0.1),
        dirty in any::<bool>(),
    ) -> Facts {
        let (a, b, c, many) = members;
        let list: Vec<Member> = [a, b, c].into_iter().take(many).collect();
        let mut facts = Facts { founder: Some(name("n1")), ..Facts::default() };
        facts.etcd.list = if list.is_empty() { MemberList::Unknown } else { MemberList::Known(list) };
        facts.etcd.stable_since = stable.map(Time);
        for n in 1..=4usize {
            let mut node = if n <= 3 { member_node(n == 1) } else { prepared_node() };
            node.connected = connected[n - 1];
            node.heard = if node.connected { NOW } else { Time(NOW.0 - silent_ms) };
            facts.nodes.insert(name(&format!("n{n}")), node);
        }
        facts.change = slot.map(|(n, started)| Change {
            kind: ChangeKind::Join,
            node: name(&format!("n{n}")),
            peer_url: peer_url(n),
            since: Time(NOW.0 - 2_000),
            started,
        });
        if membership_order {
            facts.running.push(Running { on: name("n1"), kind: StepKind::AddMember, subject: name("n4") });
        }
        if dirty {
            facts.dirty.insert(name("n4"));
        }
        facts
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn rounds_keep_the_invariants(
        facts in any_facts(),
        leaves in prop::option::of((1usize..=4, any::<bool>(), any::<bool>(), any::<bool>())),
        leaving_slot in any::<bool>(),
    ) {
        let (mut facts, mut intent) = (facts, intent(4));
        intent.leaving = leaves.map(|(n, dead, drained, same)| leaving(n, dead, drained, same));
        facts.formed = leaves.is_some();
        if let Some(change) = facts.change.as_mut().filter(|_| leaving_slot) {
            change.kind = ChangeKind::Leave;
        }
        let round = round::next(&facts, &intent, NOW);
        let order = match &round.membership {
            Membership::Begin(_, step) => {
                prop_assert!(facts.change.is_none(), "begins while the slot is held");
                Some(step)
            }
            Membership::Continue(step) => {
                prop_assert!(facts.change.is_some(), "goes on without the slot");
                Some(step)
            }
            _ => None,
        };
        if order.is_some() {
            prop_assert!(facts.running.is_empty(), "two membership orders at once");
        }
        match order {
            Some(MembershipStep::Add { node, expected_voters, .. }) => {
                let members = facts.members();
                prop_assert!(members.iter().all(|m| !m.learner && m.started()), "adds beside a learner or an unstarted member");
                prop_assert_eq!(safety::healthy_voters(members), members.len());
                prop_assert_eq!(expected_voters.len(), members.len());
                prop_assert!(!facts.dirty.contains(node) || facts.change.is_some(), "adds a node that must be reset");
            }
            Some(MembershipStep::Remove { node, via, member, voter: None, .. }) => {
                prop_assert!(facts.members().iter().any(|m| m.id == *member && m.learner), "removes a voter");
                prop_assert!(node != via || facts.members().len() > 1);
            }
            Some(MembershipStep::Remove { node, via, member, voter: Some(voter), .. }) => {
                prop_assert!(intent.is_leaving(node), "removes a voter without an operator's word");
                prop_assert_ne!(node, via);
                let members = facts.members();
                let voters = members.iter().filter(|m| !m.learner).count();
                let others = safety::able_others(members, *member);
                prop_assert!(crate::quorum::can_remove(voters, others), "costs the quorum");
                prop_assert!(members.iter().all(|m| !m.learner), "removes beside a learner");
                prop_assert_eq!(voter.expected_voters.len(), voters);
            }
            Some(MembershipStep::Recover { .. }) => prop_assert!(intent.recovery.is_some(), "gives a quorum up"),
            Some(MembershipStep::Found { .. }) => prop_assert!(facts.members().is_empty(), "forms a second cluster"),
            Some(MembershipStep::Start { .. } | MembershipStep::Promote { .. }) | None => {}
        }
        for step in &round.side {
            let on = step.nodes().0;
            let leaves = intent.is_leaving(on);
            let made_again = facts.formed && step.kind() == StepKind::CreateAuthority;
            prop_assert!(!made_again, "makes the authorities again");
            if step.kind() == StepKind::Reset && leaves {
                let url = intent.node(on).map(|n| n.peer_url.clone()).unwrap_or_default();
                let known = matches!(facts.etcd.list, MemberList::Known(_));
                prop_assert!(known && facts.member(&url).is_none(), "resets a member");
            }
            prop_assert!(step.kind() != StepKind::StopServing || leaves);
            if let SideStep::HandOver { leader, heir, .. } = step {
                prop_assert!(facts.members().iter().any(|it| it.id == *heir && crate::safety::able(it)), "an heir that cannot lead");
                let of = facts.members().iter().find(|member| member.id == *leader);
                let node = of.and_then(|member| intent.by_peer_url(&member.peer_url));
                prop_assert!(node.is_some_and(|node| intent.is_leaving(&node.name)), "moves a leader that stays");
            }
        }
        if let Membership::Abandon(node) = &round.membership {
            let url = intent.node(node).map(|n| n.peer_url.clone()).unwrap_or_default();
            prop_assert!(facts.member(&url).is_none(), "abandons a join that left a member behind");
        }
    }
}
