use super::*;
use crate::facts::{Facts, Observed};
use crate::fixtures::{NOW, fresh_node, healthy, intent, node_intent};
use crate::intent::{Digest, Wants};

const WORKERS: usize = 300;

/// A member, and workers that are installed or joined and lack their labels.
fn many(joined: bool) -> (Facts, Intent) {
    let (mut facts, mut intent) = (healthy(1), intent(1));
    intent.distribution = Distribution::Kubeadm;
    for n in 2..WORKERS + 2 {
        let mut node = node_intent(n);
        (node.member, node.worker) = (false, true);
        node.wants = Wants {
            configure: Some(Digest("labels".into())),
            ..node.wants
        };
        let mut known = fresh_node();
        let marks = crate::facts::Marks {
            install: node.wants.install.clone(),
            worker: joined,
            ..Default::default()
        };
        known.marks = Observed::Known(marks);
        facts.nodes.insert(node.name.clone(), known);
        intent.nodes.push(node);
    }
    (facts, intent)
}

/// Carries out all steps that come, until none does; the most at once, and how many in all.
fn most_at_once(facts: &mut Facts, intent: &Intent, kind: StepKind) -> (usize, usize) {
    let now = steps(facts, intent, NOW);
    facts.running = now
        .iter()
        .map(|step| crate::facts::Running {
            on: step.nodes().0.clone(),
            kind: step.kind(),
            subject: step.nodes().1.clone(),
        })
        .collect();
    let again = steps(facts, intent, NOW);
    assert!(again.iter().all(|step| step.kind() != kind), "{again:?}");
    let of_kind = now.iter().filter(|step| step.kind() == kind).count();
    (of_kind, now.len())
}

#[test]
fn a_member_gets_a_few_orders_at_a_time() {
    let (mut facts, intent) = many(true);
    let (labels, all) = most_at_once(&mut facts, &intent, StepKind::ConfigureNode);
    assert_eq!((labels, all), (ORDERS_A_NODE, ORDERS_A_NODE));
    facts.running.truncate(ORDERS_A_NODE - 1);
    assert_eq!(steps(&facts, &intent, NOW).len(), 1);
}

#[test]
fn workers_join_side_by_side_up_to_a_bound() {
    let (mut facts, intent) = many(false);
    let (joins, _) = most_at_once(&mut facts, &intent, StepKind::JoinWorker);
    assert_eq!(joins, JOINS_AT_ONCE);
    facts.running.truncate(JOINS_AT_ONCE - 3);
    assert_eq!(steps(&facts, &intent, NOW).len(), 3);
}

#[test]
fn a_request_for_a_certificate_is_no_reason_to_apply() {
    let (mut facts, mut intent) = many(true);
    intent
        .nodes
        .iter_mut()
        .for_each(|node| node.wants.configure = None);
    let objects = crate::facts::ObjectFacts {
        serving_requests: [intent.nodes[0].name.clone()].into(),
        ..Default::default()
    };
    facts.objects = Observed::Known(objects);
    let now = steps(&facts, &intent, NOW);
    assert!(
        matches!(now[..], [SideStep::ApproveServing { .. }]),
        "{now:?}"
    );
    let round = crate::round::next(&facts, &intent, NOW);
    assert_eq!(round.outcome, crate::round::Outcome::Settled);
    assert_eq!(crate::predict::unroll(&facts, &intent, NOW), []);
}

#[test]
fn an_operation_does_not_end_before_the_foreign_balancer_is_proven() {
    let outcome = |facts: &Facts, intent: &Intent| crate::round::next(facts, intent, NOW).outcome;
    let (mut facts, mut intent) = (healthy(3), intent(3));
    intent.balancing = Balancing::External;
    assert_eq!(outcome(&facts, &intent), crate::round::Outcome::Settled);
    facts.verify = true;
    assert_eq!(outcome(&facts, &intent), crate::round::Outcome::Working);
    // A member that was just promoted is not known to serve yet.
    if let crate::facts::MemberList::Known(members) = &mut facts.etcd.list {
        members[2].health = Observed::Unknown;
    }
    assert_eq!(steps(&facts, &intent, NOW), []);
    assert_eq!(outcome(&facts, &intent), crate::round::Outcome::Working);
    facts.proven = intent.members().map(|node| node.name.clone()).collect();
    assert_eq!(outcome(&facts, &intent), crate::round::Outcome::Settled);
}
