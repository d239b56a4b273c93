//! A removal, step by step, and what holds it up.
// A test that matches one variant fails on all others, new ones too.
#![allow(clippy::wildcard_enum_match_arm)]

mod storage;

use super::*;
use crate::facts::*;
use crate::fixtures::*;
use crate::predict;
use crate::round::{self, Outcome};
use crate::step::{Membership, MembershipStep, StepKind};

fn leaving(node: &str) -> Leaving {
    Leaving {
        node: name(node),
        identity: "id".into(),
        dead: false,
        successor: None,
        without_storage: false,
        drained: false,
        stopped: false,
        reset: false,
        deleted: false,
    }
}

/// Three members behind a load balancer that has these, and the third leaves.
fn scene(distribution: Distribution, pool: &[&str]) -> (Facts, Intent) {
    let mut facts = healthy(3);
    facts.formed = true;
    facts.out_since = Some(Time(0));
    let mut wish = intent(3);
    (wish.distribution, wish.balancing) = (distribution, Balancing::Managed);
    wish.leaving = Some(leaving("n3"));
    let mut lb = node_intent(8);
    (lb.member, lb.balancer) = (false, true);
    wish.nodes.push(lb);
    let members = pool.iter().map(|it| name(it)).collect();
    let mut node = prepared_node();
    node.balancer = Observed::Known(BalancerFacts {
        running: true,
        current: true,
        members,
        ..BalancerFacts::default()
    });
    facts.nodes.insert(name("n8"), node);
    (facts, wish)
}

fn at<'a>(facts: &'a mut Facts, node: &str) -> &'a mut NodeFacts {
    let name = name(node);
    facts.nodes.get_mut(&name).expect("a node of the fixture")
}

fn word(intent: &mut Intent) -> &mut Leaving {
    intent.leaving.as_mut().expect("a node leaves")
}

fn listed(facts: &mut Facts) -> &mut Vec<Member> {
    match &mut facts.etcd.list {
        MemberList::Known(members) => members,
        MemberList::Unknown | MemberList::Conflict(_) => panic!("fixture has a list"),
    }
}

fn steps(facts: &Facts, intent: &Intent) -> Vec<StepKind> {
    let departure = next(facts, intent, NOW);
    departure.steps.iter().map(SideStep::kind).collect()
}

fn removes(facts: &Facts, intent: &Intent) -> bool {
    let membership = round::next(facts, intent, NOW).membership;
    matches!(
        membership,
        Membership::Begin(change, MembershipStep::Remove { member: 3, voter: Some(_), .. })
            if change.kind == ChangeKind::Leave
    )
}

#[test]
fn first_out_of_the_load_balancer_then_drained_then_stopped_then_removed() {
    let (mut facts, mut wish) = scene(Distribution::Kubeadm, &["n1", "n2", "n3"]);
    let round = round::next(&facts, &wish, NOW);
    let expected = SideStep::ConfigureBalancer {
        node: name("n8"),
        members: [name("n1"), name("n2")].into(),
    };
    assert!(round.side.contains(&expected), "{:?}", round.side);
    assert_eq!(
        round.departure.waits,
        [WaitingOn::BalancerBehind(name("n8"))]
    );

    let (gone, _) = scene(Distribution::Kubeadm, &["n1", "n2"]);
    facts = gone;
    assert_eq!(steps(&facts, &wish), [StepKind::Drain]);
    word(&mut wish).drained = true;
    facts.out_since = Some(Time(NOW.0 - CONNECTIONS_END_MS + 1));
    let waits = next(&facts, &wish, NOW).waits;
    assert!(
        matches!(
            waits[..],
            [WaitingOn::Draining {
                remaining_ms: 1,
                ..
            }]
        ),
        "{waits:?}"
    );
    facts.out_since = Some(Time(NOW.0 - CONNECTIONS_END_MS));
    assert_eq!(steps(&facts, &wish), [StepKind::StopServing]);
    assert!(!removes(&facts, &wish));

    at(&mut facts, "n3").api_ready = Observed::Known(false);
    assert!(removes(&facts, &wish));
    listed(&mut facts).pop();
    assert_eq!(steps(&facts, &wish), [StepKind::Reset]);
    word(&mut wish).reset = true;
    at(&mut facts, "n3").marks = Observed::Known(Marks::default());
    assert_eq!(steps(&facts, &wish), [StepKind::DeleteNode]);
    word(&mut wish).deleted = true;
    // Another member remembers labels of the one that is gone.
    if let Observed::Known(marks) = &mut at(&mut facts, "n2").marks {
        marks.configured.insert(name("n3"), Default::default());
    }
    let step = next(&facts, &wish, NOW).steps;
    assert_eq!(step[0].nodes(), (&name("n2"), &name("n3")));
    if let Observed::Known(marks) = &mut at(&mut facts, "n2").marks {
        marks.configured.clear();
    }
    assert!(next(&facts, &wish, NOW).complete);
}

/// One row a thing that is not known or not so: nothing is done to the node then.
#[test]
fn whatever_is_not_known_is_waited_for() {
    type Row = (&'static str, fn(&mut Facts, &mut Intent));
    let rows: [Row; 8] = [
        ("its agent is away", |f, _| at(f, "n3").connected = false),
        ("its marks are unknown", |f, _| {
            at(f, "n3").marks = Observed::Unknown
        }),
        ("whether it serves is unknown", |f, _| {
            at(f, "n3").etcd_running = Observed::Unknown
        }),
        ("the list is unknown", |f, _| {
            f.etcd.list = MemberList::Unknown
        }),
        ("the load balancer has not told", |f, _| {
            at(f, "n8").balancer = Observed::Unknown
        }),
        ("the load balancer still has it", |f, w| {
            *f = scene(w.distribution, &["n3"]).0;
        }),
        ("another member is unwell", |f, _| {
            listed(f)[1].health = Observed::Unknown
        }),
        ("not stable yet", |f, _| f.etcd.stable_since = None),
    ];
    for (what, change) in rows {
        let (mut facts, mut wish) = scene(Distribution::Etcd, &["n1", "n2"]);
        assert_eq!(steps(&facts, &wish), [StepKind::StopServing]);
        change(&mut facts, &mut wish);
        let departure = next(&facts, &wish, NOW);
        assert!(!departure.waits.is_empty(), "{what}: {departure:?}");
        assert!(
            departure.steps.is_empty() && !departure.removes && !departure.complete,
            "{what}: {departure:?}"
        );
    }
}

/// Every voter's clients are held while the leadership moves; nobody is stopped before it has.
#[test]
fn the_leader_hands_over_first_with_the_clients_of_all_voters_held() {
    for distribution in [Distribution::Etcd, Distribution::Kubeadm] {
        let (mut facts, mut wish) = scene(distribution, &["n1", "n2"]);
        word(&mut wish).drained = true;
        for member in listed(&mut facts) {
            if let Observed::Known(health) = &mut member.health {
                health.leader = 3;
            }
        }
        if let Observed::Known(health) = &mut listed(&mut facts)[1].health {
            health.applied += 1;
        }
        let expected: Vec<SideStep> = ["n1", "n2", "n3"]
            .map(|node| SideStep::HandOver {
                node: name(node),
                leader: 3,
                heir: 2,
            })
            .into();
        assert_eq!(next(&facts, &wish, NOW).steps, expected);
        // One that is still under way: the others are not held again meanwhile.
        facts.running = vec![Running {
            on: name("n1"),
            kind: StepKind::HandOver,
            subject: name("n1"),
        }];
        assert_eq!(steps(&facts, &wish), []);
        facts.running.clear();
        facts.troubles = vec![Trouble {
            subject: name("n3"),
            kind: StepKind::HandOver,
            attempts: 1,
            last_error: "no".into(),
            retry_at: NOW.plus(1),
            permanent: false,
        }];
        assert_eq!(steps(&facts, &wish), []);
        facts.troubles.clear();
        // Moved, as it says itself.
        for member in listed(&mut facts) {
            if let Observed::Known(health) = &mut member.health {
                health.leader = 1;
            }
        }
        assert_eq!(steps(&facts, &wish), [StepKind::StopServing]);
    }
}

#[test]
fn a_dead_one_is_neither_drained_nor_stopped_nor_reset() {
    for distribution in [Distribution::Etcd, Distribution::Kubeadm] {
        let (mut facts, mut wish) = scene(distribution, &["n1", "n2"]);
        word(&mut wish).dead = true;
        at(&mut facts, "n3").connected = false;
        listed(&mut facts)[2].health = Observed::Unknown;
        facts.etcd.stable_since = None;
        match round::next(&facts, &wish, NOW).membership {
            Membership::Begin(_, MembershipStep::Remove { voter, via, .. }) => {
                let voter = voter.expect("a voter");
                assert!(voter.dead && voter.expected_voters == [1, 2, 3]);
                assert_eq!(via, name("n1"));
            }
            other => panic!("{other:?}"),
        }
        listed(&mut facts).pop();
        if distribution == Distribution::Kubeadm {
            assert_eq!(steps(&facts, &wish), [StepKind::DeleteNode]);
            word(&mut wish).deleted = true;
        }
        assert!(next(&facts, &wish, NOW).complete);
    }
}

#[test]
fn a_worker_and_a_load_balancer_touch_no_membership() {
    let (mut facts, mut wish) = scene(Distribution::Kubeadm, &["n1", "n2", "n3"]);
    let mut worker = node_intent(5);
    (worker.member, worker.worker) = (false, true);
    wish.nodes.push(worker);
    let mut node = prepared_node();
    if let Observed::Known(marks) = &mut node.marks {
        marks.worker = true;
    }
    facts.nodes.insert(name("n5"), node);
    for (node, expected) in [
        (
            "n5",
            vec![StepKind::Drain, StepKind::Reset, StepKind::DeleteNode],
        ),
        ("n8", vec![StepKind::Reset]),
    ] {
        wish.leaving = Some(leaving(node));
        let stages = predict::unroll(&facts, &wish, NOW);
        assert!(stages.iter().all(|it| it.membership.is_none()));
        let kinds: Vec<StepKind> = stages
            .iter()
            .flat_map(|stage| stage.side.iter().map(SideStep::kind))
            .filter(|kind| *kind != StepKind::ConfigureBalancer)
            .collect();
        assert_eq!(kinds, expected, "{node}");
    }
}

#[test]
fn the_slot_is_given_back_when_the_word_is_gone_or_etcd_refuses_for_good() {
    let (mut facts, mut wish) = scene(Distribution::Etcd, &["n1", "n2"]);
    facts.change = Some(Change {
        kind: ChangeKind::Leave,
        node: name("n3"),
        peer_url: peer_url(3),
        since: NOW,
        started: false,
    });
    let membership = |facts: &Facts, wish: &Intent| round::next(facts, wish, NOW).membership;
    assert!(matches!(
        membership(&facts, &wish),
        Membership::Continue(MembershipStep::Remove { member: 3, .. })
    ));
    // The rules are asked again before each try.
    let mut unwell = facts.clone();
    listed(&mut unwell)[1].health = Observed::Unknown;
    assert!(matches!(membership(&unwell, &wish), Membership::Wait(_)));
    let mut refused = facts.clone();
    refused.troubles.push(Trouble {
        subject: name("n3"),
        kind: StepKind::RemoveMember,
        attempts: MAX_ATTEMPTS,
        last_error: "no".into(),
        retry_at: NOW,
        permanent: false,
    });
    assert_eq!(membership(&refused, &wish), Membership::Release(name("n3")));
    refused.change = None;
    assert_eq!(
        round::next(&refused, &wish, NOW).outcome,
        Outcome::Stuck(vec![name("n3")])
    );
    listed(&mut facts).pop();
    assert_eq!(membership(&facts, &wish), Membership::Complete(name("n3")));
    let (mut facts, _) = scene(Distribution::Etcd, &["n1", "n2"]);
    facts.change = Some(Change {
        kind: ChangeKind::Leave,
        node: name("n3"),
        peer_url: peer_url(3),
        since: NOW,
        started: false,
    });
    wish.leaving = None;
    assert_eq!(membership(&facts, &wish), Membership::Release(name("n3")));
}

/// A founder that was reinstalled has none of its marks; it joins what it once formed.
#[test]
fn nobody_forms_a_cluster_again_that_a_node_has_left() {
    let mut facts = healthy(3);
    facts.formed = true;
    listed(&mut facts).remove(0);
    facts.nodes.insert(name("n1"), fresh_node());
    let wish = intent(3);
    let stages = predict::unroll(&facts, &wish, NOW);
    let kinds: Vec<StepKind> = stages
        .iter()
        .flat_map(|stage| stage.side.iter().map(SideStep::kind))
        .collect();
    assert!(!kinds.contains(&StepKind::CreateAuthority), "{kinds:?}");
    assert!(kinds.contains(&StepKind::Prepare), "{kinds:?}");
    assert_eq!(stages.iter().filter_map(|it| it.voters).max(), Some(3));
    // Nor while nobody tells who is a member.
    facts.etcd.list = MemberList::Unknown;
    let round = round::next(&facts, &wish, NOW);
    assert!(matches!(round.membership, Membership::Wait(_)));
    let made = round
        .side
        .iter()
        .any(|it| it.kind() == StepKind::CreateAuthority);
    assert!(!made, "{:?}", round.side);
}

#[test]
fn a_replacement_is_planned_in_the_safer_order() {
    for (old_is_well, expected) in [(true, vec![4, 3]), (false, vec![2, 3])] {
        let (mut facts, mut wish) = scene(Distribution::Etcd, &["n1", "n2", "n3"]);
        wish.nodes.push(node_intent(4));
        facts.nodes.insert(name("n4"), fresh_node());
        word(&mut wish).successor = Some(name("n4"));
        if !old_is_well {
            word(&mut wish).dead = true;
            at(&mut facts, "n3").connected = false;
            listed(&mut facts)[2].health = Observed::Unknown;
        }
        let stages = predict::unroll(&facts, &wish, NOW);
        let voters: Vec<usize> = stages.iter().filter_map(|it| it.voters).collect();
        assert_eq!(voters, expected, "well: {old_is_well}");
    }
}
