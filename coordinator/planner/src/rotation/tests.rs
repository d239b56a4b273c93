//! Rotations of a Kubernetes cluster over predicted facts, and what must hold in every round.
// A test that matches one variant fails on all others, new ones too.
#![allow(clippy::wildcard_enum_match_arm)]

use super::*;
use crate::endpoint::{Address, EndpointIntent};
use crate::facts::*;
use crate::fixtures::*;
use crate::intent::{Distribution, NodeIntent};
use crate::predict;
use crate::round;
use crate::step::{Membership, StepKind};

const SOAK_MS: u64 = 5_000;

fn address(host: &str) -> Address {
    Address {
        host: host.into(),
        port: 6443,
    }
}

fn rotation(stage: Stage) -> Rotation {
    Rotation {
        target: address("lb"),
        other: Some(address("10.0.0.1")),
        stage,
        drop: BTreeSet::new(),
        soak_ms: SOAK_MS,
        without_absent: false,
        hurry: false,
        rolling_back: false,
        external: true,
        other_external: false,
    }
}

fn worker(n: usize) -> NodeIntent {
    NodeIntent {
        member: false,
        worker: true,
        ..node_intent(n)
    }
}

/// Three control planes and workers from n4 on, all at the first one's address; the rotation has just begun.
fn cluster(workers: usize) -> (Facts, Intent) {
    let (mut facts, mut intent) = (healthy(3), intent(3));
    intent.distribution = Distribution::Kubeadm;
    intent.nodes.extend((4..4 + workers).map(worker));
    intent.endpoint = EndpointIntent {
        address: address("10.0.0.1"),
        rotation: Some(rotation(Stage::Accept)),
        ..EndpointIntent::default()
    };
    for n in 4..4 + workers {
        let mut node = fresh_node();
        node.marks = Observed::Known(Marks {
            worker: true,
            ..Marks::default()
        });
        facts.nodes.insert(name(&format!("n{n}")), node);
    }
    let old = address("10.0.0.1").to_string();
    for (name, node) in &mut facts.nodes {
        let n: usize = name.0[1..].parse().unwrap();
        let member = n <= 3;
        node.endpoint = Observed::Known(EndpointFacts {
            serving: member.then(|| ServingFacts {
                names: ["10.0.0.1".to_owned(), format!("10.0.0.{n}")].into(),
                fingerprint: format!("f{n}"),
            }),
            carriers: vec![CarrierFacts {
                place: "kubelet.conf".into(),
                value: old.clone(),
                follows: true,
            }],
        });
    }
    facts.objects = Observed::Known(ObjectFacts {
        kubeadm: old.clone(),
        names: ["10.0.0.1".to_owned()].into(),
        info: old.clone(),
        info_signed: true,
        proxy: old,
        proxies: facts
            .nodes
            .keys()
            .map(|node| (node.clone(), String::new()))
            .collect(),
        serving_requests: BTreeSet::new(),
    });
    (facts, intent)
}

fn kinds(steps: &[SideStep]) -> Vec<StepKind> {
    steps.iter().map(SideStep::kind).collect()
}

#[test]
fn accept_prove_switch_drop_in_this_order() {
    let (facts, intent) = cluster(12);
    let stages = predict::unroll_rotation(&facts, &intent, NOW);
    let found: Vec<(StepKind, usize)> = stages
        .iter()
        .map(|stage| (stage.side[0].kind(), stage.side.len()))
        .collect();
    let expected = [
        (StepKind::SetNames, 1),
        (StepKind::SetNames, 1),
        (StepKind::SetNames, 1),
        (StepKind::Probe, 15),
        (StepKind::SetObjects, 1),
        (StepKind::SetCarriers, 1),
        (StepKind::SetCarriers, 1),
        (StepKind::SetCarriers, 1),
        (StepKind::SetCarriers, 10),
        (StepKind::SetCarriers, 2),
        (StepKind::RestartProxies, 1),
        (StepKind::RestartProxies, 1),
        // The first master keeps its own name.
        (StepKind::SetNames, 1),
        (StepKind::SetNames, 1),
        (StepKind::SetObjects, 1),
    ];
    assert_eq!(found, expected);
}

/// A step of the rotation under way on a member.
fn running(on: &str, kind: StepKind) -> Running {
    Running {
        on: name(on),
        kind,
        subject: name(on),
    }
}

#[test]
fn one_member_at_a_time_and_only_while_the_others_serve() {
    let (mut facts, intent) = cluster(0);
    assert_eq!(
        next(&facts, &intent, NOW).steps,
        vec![SideStep::SetNames { node: name("n1") }]
    );
    facts.running = vec![running("n2", StepKind::SetNames)];
    let turn = next(&facts, &intent, NOW);
    assert_eq!(
        (turn.steps, turn.waits),
        (vec![], vec![WaitingOn::OneAtATime(name("n2"))])
    );
    facts.running.clear();
    facts.nodes.get_mut(&name("n3")).unwrap().api_ready = Observed::Known(false);
    let turn = next(&facts, &intent, NOW);
    assert_eq!(
        (turn.steps, turn.waits),
        (vec![], vec![WaitingOn::ApiNotReady(name("n3"))])
    );
}

/// Turned round in the first stage, while a member is still getting the new name.
#[test]
fn what_was_begun_before_a_rollback_is_undone() {
    let (mut facts, mut intent) = cluster(0);
    intent.endpoint.rotation = intent
        .endpoint
        .rotation
        .as_ref()
        .and_then(Rotation::reversed);
    let rotation = intent.endpoint.rotation.as_ref().unwrap();
    assert_eq!(
        (rotation.stage, &rotation.target),
        (Stage::Drop, &address("10.0.0.1"))
    );
    assert_eq!(
        next(&facts, &intent, NOW).advance,
        Some(Advance::To(Stage::Retire))
    );
    facts.running = vec![running("n1", StepKind::SetNames)];
    assert_eq!(next(&facts, &intent, NOW).advance, None);
    facts.running.clear();
    let node = facts.nodes.get_mut(&name("n1")).unwrap();
    if let Observed::Known(known) = &mut node.endpoint {
        known.serving.as_mut().unwrap().names.insert("lb".into());
    }
    assert_eq!(
        next(&facts, &intent, NOW).steps,
        vec![SideStep::SetNames { node: name("n1") }]
    );
}

#[test]
fn unknown_is_waited_for() {
    let (mut facts, mut intent) = cluster(1);
    facts.nodes.get_mut(&name("n2")).unwrap().endpoint = Observed::Unknown;
    let turn = next(&facts, &intent, NOW);
    assert_eq!(turn.advance, None);
    assert!(turn.waits.contains(&WaitingOn::ServingUnknown(name("n2"))) || !turn.steps.is_empty());
    let (mut facts, _) = cluster(1);
    intent.endpoint.address = address("lb");
    intent.endpoint.rotation = Some(rotation(Stage::Switch));
    for n in 1..=3 {
        let node = facts.nodes.get_mut(&name(&format!("n{n}"))).unwrap();
        if let Observed::Known(known) = &mut node.endpoint {
            known.serving.as_mut().unwrap().names.insert("lb".into());
        }
    }
    facts.objects = Observed::Unknown;
    let turn = next(&facts, &intent, NOW);
    assert_eq!(
        (turn.steps, turn.waits),
        (vec![], vec![WaitingOn::ObjectsUnknown])
    );
}

#[test]
fn a_member_that_is_silent_is_looked_at_again_and_one_that_is_down_is_prepared() {
    let (mut facts, intent) = cluster(0);
    let node = facts.nodes.get_mut(&name("n1")).unwrap();
    if let Observed::Known(known) = &mut node.endpoint {
        known.serving = None;
    }
    let turn = next(&facts, &intent, NOW);
    assert!(turn.waits.contains(&WaitingOn::ServingUnknown(name("n1"))));
    let of_n1 = vec![SideStep::SetNames { node: name("n1") }];
    assert_ne!(turn.steps, of_n1);
    facts.nodes.get_mut(&name("n1")).unwrap().api_ready = Observed::Known(false);
    assert_eq!(next(&facts, &intent, NOW).steps, of_n1);
}

/// At the soak, with everybody in line.
fn soaking() -> (Facts, Intent) {
    let (mut facts, mut intent) = cluster(2);
    let new = address("lb").to_string();
    intent.endpoint.address = address("lb");
    intent.endpoint.rotation = Some(rotation(Stage::Soak));
    for node in facts.nodes.values_mut() {
        if let Observed::Known(known) = &mut node.endpoint {
            known.carriers[0].value = new.clone();
            if let Some(serving) = &mut known.serving {
                serving.names.insert("lb".into());
            }
        }
    }
    if let Observed::Known(objects) = &mut facts.objects {
        (objects.kubeadm, objects.info, objects.proxy) = (new.clone(), new.clone(), new.clone());
        objects.names.insert("lb".into());
        objects
            .proxies
            .values_mut()
            .for_each(|it| *it = new.clone());
    }
    facts.quiet_since = Some(Time(NOW.0 - SOAK_MS));
    (facts, intent)
}

#[test]
fn the_drop_waits_for_quiet_and_for_the_absent() {
    let (facts, intent) = soaking();
    let drop = Some(Advance::To(Stage::Drop));
    assert_eq!(next(&facts, &intent, NOW).advance, drop);

    let mut early = facts.clone();
    early.quiet_since = Some(Time(NOW.0 - SOAK_MS + 1));
    let turn = next(&early, &intent, NOW);
    assert_eq!(
        (turn.advance, turn.waits),
        (None, vec![WaitingOn::Soaking { remaining_ms: 1 }])
    );

    let mut dialed = facts.clone();
    (dialed.quiet_since, dialed.dialers) = (None, vec!["n4".into()]);
    assert_eq!(next(&dialed, &intent, NOW).advance, None);

    let mut away = facts.clone();
    away.nodes.get_mut(&name("n4")).unwrap().connected = false;
    let turn = next(&away, &intent, NOW);
    assert_eq!((turn.advance, turn.behind), (None, [name("n4")].into()));
    let mut word = intent.clone();
    let rotation = word.endpoint.rotation.as_mut().unwrap();
    (rotation.without_absent, rotation.hurry) = (true, true);
    assert_eq!(next(&away, &word, NOW).advance, drop);
    assert_eq!(next(&dialed, &word, NOW).advance, drop);
}

#[test]
fn a_stray_during_the_soak_is_brought_back_first() {
    let (mut facts, intent) = soaking();
    let node = facts.nodes.get_mut(&name("n5")).unwrap();
    if let Observed::Known(known) = &mut node.endpoint {
        known.carriers[0].value = "10.0.0.10:6443".into();
    }
    let turn = next(&facts, &intent, NOW);
    assert_eq!(
        (turn.steps, turn.advance),
        (vec![SideStep::SetCarriers { node: name("n5") }], None)
    );
}

/// A worker's file changes before its kubelet is started anew, and both are one order.
#[test]
fn kube_proxy_waits_for_the_last_kubelet() {
    let (mut facts, mut intent) = soaking();
    intent.endpoint.rotation = Some(rotation(Stage::Switch));
    if let Observed::Known(objects) = &mut facts.objects {
        objects.proxies.values_mut().for_each(String::clear);
    }
    facts.running = vec![running("n5", StepKind::SetCarriers)];
    assert_eq!(kinds(&next(&facts, &intent, NOW).steps), []);
    facts.running.clear();
    let steps = next(&facts, &intent, NOW).steps;
    assert_eq!(kinds(&steps), [StepKind::RestartProxies]);
}

#[test]
fn nobody_is_led_to_a_member_that_lacks_the_name() {
    let (mut facts, mut intent) = soaking();
    intent.nodes.push(NodeIntent {
        member: false,
        balancer: true,
        ..node_intent(9)
    });
    let all: BTreeSet<NodeName> = intent.members().map(|node| node.name.clone()).collect();
    let mut balancer = fresh_node();
    balancer.balancer = Observed::Known(BalancerFacts {
        running: true,
        members: all.clone(),
        up: all,
        current: true,
        retired: false,
    });
    balancer.marks = Observed::Known(Marks {
        preflight: crate::intent::Digest("p".into()),
        install: crate::intent::Digest("i".into()),
        ..Marks::default()
    });
    facts.nodes.insert(name("n9"), balancer);
    let pool = |facts: &Facts| {
        round::next(facts, &intent, NOW)
            .side
            .into_iter()
            .find_map(|step| match step {
                SideStep::ConfigureBalancer { members, .. } => Some(members),
                _ => None,
            })
    };
    assert_eq!(pool(&facts), None, "as it is");
    let away = facts.nodes.get_mut(&name("n3")).unwrap();
    (away.connected, away.endpoint, away.api_ready) = (false, Observed::Unknown, Observed::Unknown);
    assert_eq!(
        pool(&facts),
        None,
        "its own health check deals with a mere silence"
    );
    facts.behind.insert(name("n3"));
    assert_eq!(pool(&facts), Some([name("n1"), name("n2")].into()));
    assert!(caught_up(&facts, &intent).is_empty());
}

#[test]
fn joins_wait_while_the_endpoint_moves() {
    let (mut facts, mut intent) = cluster(0);
    intent.nodes.push(node_intent(9));
    facts.nodes.insert(name("n9"), prepared_node());
    let round = round::next(&facts, &intent, NOW);
    assert_eq!(
        round.membership,
        Membership::Wait(vec![WaitingOn::Rotating])
    );
    assert!(
        kinds(&round.side)
            .iter()
            .all(|kind| *kind == StepKind::SetNames)
    );
    intent.endpoint.rotation = None;
    assert!(matches!(
        round::next(&facts, &intent, NOW).membership,
        Membership::Begin(..)
    ));
}

#[test]
fn a_repair_leaves_alone_what_is_as_kubeadm_made_it() {
    let (mut facts, mut intent) = cluster(1);
    let rotation = intent.endpoint.rotation.as_mut().unwrap();
    (rotation.other, rotation.target) = (None, address("10.0.0.1"));
    rotation.without_absent = true;
    assert_eq!(predict::unroll_rotation(&facts, &intent, NOW), vec![]);
    facts.behind.insert(name("n4"));
    let stages = predict::unroll_rotation(&facts, &intent, NOW);
    let restarted = SideStep::RestartProxies {
        via: name("n1"),
        nodes: [name("n4")].into(),
    };
    assert_eq!(
        stages.iter().flat_map(|it| &it.side).collect::<Vec<_>>(),
        [&restarted]
    );
}

#[test]
fn a_foreign_load_balancer_is_proven_before_the_end() {
    let (mut facts, mut intent) = (healthy(3), intent(3));
    intent.balancing = crate::intent::Balancing::External;
    assert_eq!(
        round::next(&facts, &intent, NOW).outcome,
        round::Outcome::Settled
    );
    facts.verify = true;
    let round = round::next(&facts, &intent, NOW);
    assert_eq!(kinds(&round.side), [StepKind::Probe; 3]);
    assert_eq!(round.outcome, round::Outcome::Working);
    // It is tried for as long as its health checks may take to let a new member in, and not for ever.
    let all = ["n1", "n2", "n3"].map(name);
    for (attempts, outcome) in [
        (MAX_PROBES - 1, round::Outcome::Working),
        (MAX_PROBES, round::Outcome::Stuck(all.to_vec())),
    ] {
        let tried = |subject: &NodeName| Trouble {
            subject: subject.clone(),
            kind: StepKind::Probe,
            attempts,
            last_error: "the endpoint never leads to n3".into(),
            retry_at: NOW,
            permanent: false,
        };
        facts.troubles = all.iter().map(tried).collect();
        assert_eq!(round::next(&facts, &intent, NOW).outcome, outcome);
    }
    facts.troubles.clear();
    facts.proven = all.into();
    assert_eq!(
        round::next(&facts, &intent, NOW).outcome,
        round::Outcome::Settled
    );
    // Not while a member is still on its way: it would be missed behind the load balancer.
    facts.proven.clear();
    intent.nodes.push(node_intent(4));
    assert!(!kinds(&round::next(&facts, &intent, NOW).side).contains(&StepKind::Probe));
}

#[test]
fn renewals_go_one_by_one() {
    let (mut facts, mut intent) = cluster(0);
    intent.endpoint.rotation = None;
    intent.endpoint.renewal = Some(crate::endpoint::Renewal {
        since_unix: 100,
        nodes: ["n1", "n2", "n3"].map(name).into(),
    });
    let renewing = |facts: &Facts| crate::renewal::next(facts, &intent, NOW);
    assert!(
        !renewing(&facts).complete && renewing(&facts).steps.is_empty(),
        "unknown"
    );
    for node in facts.nodes.values_mut() {
        node.oldest_issue_unix = Observed::Known(Some(99));
    }
    assert_eq!(
        renewing(&facts).steps,
        vec![SideStep::Renew { node: name("n1") }]
    );
    facts.running = vec![running("n1", StepKind::Renew)];
    assert!(renewing(&facts).steps.is_empty(), "never two at once");
    facts.running.clear();
    facts.nodes.get_mut(&name("n1")).unwrap().oldest_issue_unix = Observed::Known(Some(100));
    assert_eq!(
        renewing(&facts).steps,
        vec![SideStep::Renew { node: name("n2") }]
    );
    facts.nodes.get_mut(&name("n3")).unwrap().api_ready = Observed::Known(false);
    assert!(
        renewing(&facts).steps.is_empty(),
        "only while the others serve"
    );
    for node in facts.nodes.values_mut() {
        node.oldest_issue_unix = Observed::Known(Some(101));
    }
    assert!(renewing(&facts).complete);
}

/// Nothing else is installed while the endpoint moves.
#[test]
fn a_load_balancer_that_came_back_empty_is_made_anew() {
    let (mut facts, mut intent) = cluster(1);
    let mut balancer = node_intent(6);
    (balancer.member, balancer.balancer) = (false, true);
    intent.nodes.extend([worker(5), balancer]);
    for n in [5, 6] {
        facts.nodes.insert(name(&format!("n{n}")), fresh_node());
    }
    let looked_at: Vec<_> = round::next(&facts, &intent, NOW)
        .side
        .into_iter()
        .filter(|step| step.kind() == StepKind::Preflight)
        .collect();
    assert_eq!(looked_at, [SideStep::Preflight { node: name("n6") }]);
}
