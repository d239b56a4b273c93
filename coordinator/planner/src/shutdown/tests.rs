use super::*;
use crate::facts::{BalancerFacts, NodeFacts, Running};
use crate::fixtures::{NOW, fresh_node, healthy, intent, name, node_intent};
use crate::round;
use crate::step::{Membership, StepKind};

const LATER: Time = Time(NOW.0 + AWAITED_MS);

/// Three members n1..n3, a load balancer n4, a worker n5; all of it runs.
fn running() -> (Facts, Intent) {
    let mut facts = healthy(3);
    let mut wish = intent(5);
    wish.distribution = Distribution::Kubeadm;
    wish.balancing = Balancing::Managed;
    for node in &mut wish.nodes[3..] {
        node.member = false;
    }
    wish.nodes[3].balancer = true;
    wish.nodes[4].worker = true;
    for n in 1..=5 {
        let node = facts.nodes.entry(name(&format!("n{n}")));
        let node = node.or_insert_with(fresh_node);
        node.node_ready = Observed::Known(true);
        node.balancer = Observed::Known(BalancerFacts::default());
    }
    node(&mut facts, "n4").balancer = Observed::Known(BalancerFacts {
        running: true,
        current: true,
        up: [name("n1")].into(),
        ..BalancerFacts::default()
    });
    if let Observed::Known(marks) = &mut node(&mut facts, "n5").marks {
        marks.worker = true;
    }
    (facts, wish)
}

fn node<'a>(facts: &'a mut Facts, of: &str) -> &'a mut NodeFacts {
    facts.nodes.get_mut(&name(of)).expect("node")
}

/// As its agent reports it after the order.
fn set(facts: &mut Facts, of: &str, stopped: bool) {
    let known = node(facts, of);
    if let Observed::Known(marks) = &mut known.marks {
        marks.stopped = stopped;
    }
    let member = ["n1", "n2", "n3"].contains(&of);
    known.etcd_running = Observed::Known(member && !stopped);
    known.api_ready = Observed::Known(member && !stopped);
    known.node_ready = Observed::Known(!stopped && of != "n4");
    if of == "n4"
        && let Observed::Known(balancer) = &mut known.balancer
    {
        balancer.running = !stopped;
    }
    let up = |f: &Facts, n: &str| f.node(&name(n)).etcd_running.is(&true);
    let serving = ["n1", "n2", "n3"].iter().filter(|n| up(facts, n)).count();
    facts.etcd.list = match serving {
        0 | 1 => MemberList::Unknown,
        _ => healthy(3).etcd.list,
    };
}

fn all_stopped() -> (Facts, Intent) {
    let (mut facts, wish) = running();
    for n in ["n1", "n2", "n3", "n4", "n5"] {
        set(&mut facts, n, true);
    }
    (facts, wish)
}

fn asked(wanted: Wanted) -> Shutdown {
    Shutdown { wanted, since: NOW }
}

fn done(facts: &Facts, wish: &Intent, wanted: Wanted, now: Time) -> String {
    let mut wish = wish.clone();
    wish.shutdown = Some(asked(wanted));
    let round = round::next(facts, &wish, now);
    assert_eq!(round.membership, Membership::Settled);
    assert_eq!(round.side, round.standstill.steps);
    assert_eq!(round.dead, crate::dead::Dead::default());
    let step = |step: &SideStep| {
        let stops = step.kind() == StepKind::StopNode;
        assert!(stops || step.kind() == StepKind::StartNode, "{step:?}");
        format!(
            "{} {}",
            if stops { "stop" } else { "start" },
            step.nodes().1
        )
    };
    let steps = round.standstill.steps.iter().map(step);
    let waits = round.standstill.waits.iter().map(|it| format!("{it:?}"));
    let end = round.standstill.complete.then(|| "complete".to_owned());
    steps.chain(waits).chain(end).collect::<Vec<_>>().join(" ")
}

type Row = (&'static str, fn(&mut Facts), &'static str);
type TimedRow = (&'static str, fn(&mut Facts), Time, &'static str);

#[test]
fn stopping_one_row_a_rule() {
    let rows: Vec<Row> = vec![
        ("workers first", |_| {}, "stop n5"),
        ("then load balancers", |f| set(f, "n5", true), "stop n4"),
        (
            "then members from the end",
            |f| ["n5", "n4"].iter().for_each(|n| set(f, n, true)),
            "stop n3",
        ),
        (
            "one after the other",
            |f| {
                ["n5", "n4"].iter().for_each(|n| set(f, n, true));
                f.running.push(Running {
                    on: name("n3"),
                    kind: StepKind::StopNode,
                    subject: name("n3"),
                });
            },
            r#"Underway(NodeName("n3"))"#,
        ),
        (
            "the first of the file last, without a quorum",
            |f| {
                ["n5", "n4", "n3", "n2"]
                    .iter()
                    .for_each(|n| set(f, n, true))
            },
            "stop n1",
        ),
        (
            "all are down",
            |f| {
                ["n1", "n2", "n3", "n4", "n5"]
                    .iter()
                    .for_each(|n| set(f, n, true))
            },
            "complete",
        ),
        (
            "what one shows is not known",
            |f| node(f, "n5").marks = Observed::Unknown,
            r#"ServingUnknown(NodeName("n5"))"#,
        ),
        (
            "one that is away is not waited for",
            |f| node(f, "n5").connected = false,
            "stop n4",
        ),
        (
            "somebody started its etcd by hand",
            |f| {
                ["n1", "n2", "n3", "n4", "n5"]
                    .iter()
                    .for_each(|n| set(f, n, true));
                node(f, "n2").etcd_running = Observed::Known(true);
            },
            "stop n2",
        ),
        (
            "one is away, all others are down",
            |f| {
                ["n1", "n2", "n4", "n5"]
                    .iter()
                    .for_each(|n| set(f, n, true));
                node(f, "n3").connected = false;
            },
            r#"StoppedOnReturn(NodeName("n3")) complete"#,
        ),
    ];
    for (what, change, expected) in rows {
        let (mut facts, wish) = running();
        change(&mut facts);
        assert_eq!(
            done(&facts, &wish, Wanted::Stopped, NOW),
            expected,
            "{what}"
        );
    }
}

#[test]
fn starting_one_row_a_rule() {
    let rows: Vec<TimedRow> = vec![
        (
            "all members at once",
            |_| {},
            NOW,
            "start n1 start n2 start n3",
        ),
        (
            "those that are there",
            |f| node(f, "n2").connected = false,
            NOW,
            "start n1 start n3",
        ),
        (
            "no quorum yet",
            |f| {
                set(f, "n1", false);
                node(f, "n2").connected = false;
                node(f, "n3").connected = false;
            },
            NOW,
            r#"MemberListUnknown Offline(NodeName("n2")) Offline(NodeName("n3"))"#,
        ),
        (
            "no quorum is waited for without end",
            |f| {
                set(f, "n1", false);
                node(f, "n2").connected = false;
                node(f, "n3").connected = false;
            },
            LATER,
            r#"MemberListUnknown Offline(NodeName("n2")) Offline(NodeName("n3"))"#,
        ),
        (
            "a member that does not serve",
            |f| {
                ["n1", "n2", "n3"].iter().for_each(|n| set(f, n, false));
                node(f, "n3").api_ready = Observed::Known(false);
            },
            NOW,
            r#"MemberNotServing { name: "n3" }"#,
        ),
        (
            "it is not waited for without end",
            |f| {
                ["n1", "n2", "n3"].iter().for_each(|n| set(f, n, false));
                node(f, "n3").api_ready = Observed::Known(false);
            },
            LATER,
            "start n4",
        ),
        (
            "then load balancers",
            |f| ["n1", "n2", "n3"].iter().for_each(|n| set(f, n, false)),
            NOW,
            "start n4",
        ),
        (
            "which lead to somebody",
            |f| {
                ["n1", "n2", "n3", "n4"]
                    .iter()
                    .for_each(|n| set(f, n, false));
                if let Observed::Known(balancer) = &mut node(f, "n4").balancer {
                    balancer.up.clear();
                }
            },
            NOW,
            "BalancerNotReady",
        ),
        (
            "then workers",
            |f| {
                ["n1", "n2", "n3", "n4"]
                    .iter()
                    .for_each(|n| set(f, n, false))
            },
            NOW,
            "start n5",
        ),
        (
            "which are to be ready",
            |f| {
                ["n1", "n2", "n3", "n4", "n5"]
                    .iter()
                    .for_each(|n| set(f, n, false));
                node(f, "n5").node_ready = Observed::Known(false);
            },
            NOW,
            r#"NodeNotReady(NodeName("n5"))"#,
        ),
        (
            "a worker whose machine is away",
            |f| {
                ["n1", "n2", "n3", "n4"]
                    .iter()
                    .for_each(|n| set(f, n, false));
                node(f, "n5").connected = false;
            },
            NOW,
            r#"Offline(NodeName("n5"))"#,
        ),
        (
            "for so long",
            |f| {
                ["n1", "n2", "n3", "n4"]
                    .iter()
                    .for_each(|n| set(f, n, false));
                node(f, "n5").connected = false;
            },
            LATER,
            "complete",
        ),
        (
            "all of it runs",
            |f| {
                ["n1", "n2", "n3", "n4", "n5"]
                    .iter()
                    .for_each(|n| set(f, n, false))
            },
            NOW,
            "complete",
        ),
    ];
    for (what, change, now, expected) in rows {
        let (mut facts, wish) = all_stopped();
        change(&mut facts);
        assert_eq!(
            done(&facts, &wish, Wanted::Running, now),
            expected,
            "{what}"
        );
    }
}

#[test]
fn who_comes_back_after_the_start_is_started() {
    let (mut facts, wish) = running();
    set(&mut facts, "n5", true);
    let round = round::next(&facts, &wish, NOW);
    let step = SideStep::StartNode { node: name("n5") };
    assert!(round.side.contains(&step), "{:?}", round.side);
    assert_eq!(
        round.progress[&name("n5")].phase,
        crate::progress::Phase::Stopped
    );
}

/// Machines are off from the beginning and come back in every order; each order is carried out at once, or killed and given again.
#[test]
fn it_starts_in_whatever_order_machines_come_back() {
    let names = ["n1", "n2", "n3", "n4", "n5"];
    for seed in 0..120_usize {
        let (mut facts, wish) = all_stopped();
        names
            .iter()
            .for_each(|n| node(&mut facts, n).connected = false);
        let mut away: Vec<&str> = names.to_vec();
        let mut dice = seed;
        let mut complete = false;
        for round in 0..60 {
            if !away.is_empty() && round % 2 == 0 {
                let back = away.remove(dice % away.len());
                dice = dice / 2 + 7 * seed;
                node(&mut facts, back).connected = true;
            }
            let mut asked_for = wish.clone();
            asked_for.shutdown = Some(asked(Wanted::Running));
            let standstill = round::next(&facts, &asked_for, NOW).standstill;
            for (at, step) in standstill.steps.iter().enumerate() {
                let killed = (seed + round + at) % 3 == 0;
                if !killed {
                    set(&mut facts, &step.nodes().1.0.clone(), false);
                }
            }
            complete = standstill.complete;
        }
        assert!(complete && away.is_empty(), "seed {seed}: {facts:?}");
    }
}

#[test]
fn ranks_follow_what_others_need() {
    let mut both = node_intent(1);
    for (roles, expected) in [
        ((true, false, false), Rank::Member),
        ((true, true, true), Rank::Member),
        ((false, true, true), Rank::Balancer),
        ((false, false, true), Rank::Balancer),
        ((false, true, false), Rank::Worker),
    ] {
        (both.member, both.worker, both.balancer) = roles;
        assert!(rank(&both) == expected, "{roles:?}");
    }
}

/// A second one is there for when the first is not.
#[test]
fn a_start_waits_until_every_load_balancer_leads_on() {
    let (mut facts, mut wish) = running();
    wish.nodes[4].worker = false;
    wish.nodes[4].balancer = true;
    let waits = |facts: &Facts| done(facts, &wish, Wanted::Running, NOW);
    assert_eq!(waits(&facts), "BalancerNotReady");
    let first = facts.node(&name("n4")).balancer.clone();
    node(&mut facts, "n5").balancer = first;
    assert_eq!(waits(&facts), "complete");
}
