use super::*;
use crate::facts::{Change, ChangeKind, Running};
use crate::fixtures::{NOW, healthy, intent, name, peer_url, voter};
use crate::round::{self, Outcome};

fn recovery() -> Recovery {
    Recovery {
        id: "r".into(),
        node: name("n1"),
        snapshot: None,
        gone: [name("n3")].into(),
        stopped: BTreeSet::new(),
        made: false,
    }
}

/// Three members, of which the third is away and nobody has a quorum.
fn lost() -> Facts {
    let mut facts = healthy(3);
    facts.etcd.list = MemberList::Unknown;
    facts.etcd.stable_since = None;
    facts.change = Some(Change {
        kind: ChangeKind::Recover,
        node: name("n1"),
        peer_url: peer_url(1),
        since: NOW,
        started: false,
    });
    node(&mut facts, "n3").connected = false;
    facts
}

fn node<'a>(facts: &'a mut Facts, of: &str) -> &'a mut crate::facts::NodeFacts {
    facts.nodes.get_mut(&name(of)).expect("node")
}

fn stopped(facts: &mut Facts, recovery: &mut Recovery, of: &str) {
    node(facts, of).etcd_running = Observed::Known(false);
    recovery.stopped.insert(name(of));
}

fn done(facts: &Facts, recovery: &Recovery) -> String {
    let mut wish = intent(3);
    wish.recovery = Some(recovery.clone());
    let round = round::next(facts, &wish, NOW);
    assert_eq!(round.outcome, Outcome::Working);
    let membership = match &round.membership {
        Membership::Continue(step) => format!("{:?}", step.kind()),
        Membership::Wait(reasons) => reasons.iter().map(|it| format!("{it:?} ")).collect(),
        Membership::Underway(kind, _) => format!("underway {kind:?}"),
        other @ (Membership::Settled
        | Membership::Begin(..)
        | Membership::Complete(_)
        | Membership::Abandon(_)
        | Membership::Release(_)) => panic!("{other:?}"),
    };
    let side = round.side.iter().map(|step| {
        assert_eq!(step.kind(), StepKind::StopServing);
        format!("stop {} ", step.nodes().1)
    });
    let end = if round.recovered { "complete" } else { "" };
    let all = side.chain([membership, end.to_owned()]);
    all.collect::<String>().trim().to_owned()
}

#[test]
fn one_row_a_rule() {
    type Row = (&'static str, fn(&mut Facts, &mut Recovery), &'static str);
    let rows: Vec<Row> = vec![
        ("others are stopped first", |_, _| {}, "stop n2"),
        (
            "down is not stopped: it might come up by itself",
            |f, _| node(f, "n2").etcd_running = Observed::Known(false),
            "stop n2",
        ),
        (
            "stopped, and runs again",
            |_, r| {
                r.stopped.insert(name("n2"));
            },
            "stop n2",
        ),
        (
            "what another does is not known",
            |f, _| node(f, "n2").etcd_running = Observed::Unknown,
            r#"ServingUnknown(NodeName("n2"))"#,
        ),
        (
            "another is away and nobody said that it is gone",
            |f, _| node(f, "n2").connected = false,
            r#"Offline(NodeName("n2"))"#,
        ),
        (
            "one that was said to be gone comes back",
            |f, r| {
                stopped(f, r, "n2");
                node(f, "n3").connected = true;
            },
            "stop n3",
        ),
        ("all are down", |f, r| stopped(f, r, "n2"), "Recover"),
        (
            "the source is away",
            |f, r| {
                stopped(f, r, "n2");
                node(f, "n1").connected = false;
            },
            r#"Offline(NodeName("n1"))"#,
        ),
        (
            "an order of the join that went down is under way",
            |f, _| {
                f.running.push(Running {
                    on: name("n1"),
                    kind: StepKind::PromoteMember,
                    subject: name("n2"),
                });
            },
            "underway PromoteMember",
        ),
        (
            "made, and not seen yet",
            |f, r| {
                stopped(f, r, "n2");
                r.made = true;
            },
            "MemberListUnknown",
        ),
        (
            "made, and somebody else is on the list",
            |f, r| {
                stopped(f, r, "n2");
                r.made = true;
                f.etcd.list = MemberList::Known(vec![voter(1), voter(2)]);
            },
            "MemberListUnknown",
        ),
        (
            "made by another",
            |f, r| {
                r.made = true;
                f.etcd.list = MemberList::Known(vec![voter(2)]);
            },
            "MemberListUnknown",
        ),
        (
            "a list of one is no proof that it was made",
            |f, r| {
                stopped(f, r, "n2");
                f.etcd.list = MemberList::Known(vec![voter(1)]);
            },
            "Recover",
        ),
        (
            "made and seen",
            |f, r| {
                r.made = true;
                f.etcd.list = MemberList::Known(vec![voter(1)]);
            },
            "complete",
        ),
    ];
    for (what, change, expected) in rows {
        let (mut facts, mut recovery) = (lost(), recovery());
        change(&mut facts, &mut recovery);
        assert_eq!(done(&facts, &recovery), expected.trim(), "{what}");
    }
}

#[test]
fn it_ends_when_a_step_is_not_tried_again() {
    let (mut facts, mut recovery) = (lost(), recovery());
    stopped(&mut facts, &mut recovery, "n2");
    facts.troubles.push(crate::facts::Trouble {
        subject: name("n1"),
        kind: StepKind::Recover,
        attempts: crate::facts::MAX_ATTEMPTS,
        last_error: "no".into(),
        retry_at: NOW,
        permanent: false,
    });
    let mut wish = intent(3);
    wish.recovery = Some(recovery);
    let round = round::next(&facts, &wish, NOW);
    assert_eq!(round.outcome, Outcome::Stuck(vec![name("n1")]));
}
