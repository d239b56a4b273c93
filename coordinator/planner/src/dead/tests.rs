//! One row a rule: each is broken in an otherwise dead node, and has to speak.

use super::*;
use crate::facts::*;
use crate::fixtures::{healthy, name, node_intent};
use crate::intent::Intent;

const NOW: Time = Time(1_000_000);
const AFTER: u64 = 15_000;

/// Control planes n1 to n3, workers n4 and n5; nothing is wrong.
fn cluster() -> (Facts, Intent) {
    let mut intent = crate::fixtures::intent(3);
    intent.distribution = Distribution::Kubeadm;
    intent.dead_nodes.policy = Policy::Taint;
    intent.dead_nodes.after_ms = AFTER;
    let mut facts = healthy(3);
    for n in 4..=5 {
        let mut node = node_intent(n);
        (node.member, node.worker) = (false, true);
        intent.nodes.push(node);
        facts
            .nodes
            .insert(name(&format!("n{n}")), crate::fixtures::prepared_node());
    }
    for known in facts.nodes.values_mut() {
        known.node_ready = Observed::Known(true);
        known.life.silent_since = Observed::Known(None);
    }
    (facts, intent)
}

fn life<'a>(facts: &'a mut Facts, node: &str) -> &'a mut Life {
    &mut facts.nodes.get_mut(&name(node)).unwrap().life
}

fn dies(facts: &mut Facts, node: &str) {
    let long_ago = Time(NOW.0 - AFTER);
    let known = facts.nodes.get_mut(&name(node)).unwrap();
    known.connected = false;
    known.node_ready = Observed::Known(false);
    known.life = Life {
        silent_since: Observed::Known(Some(long_ago)),
        lease: Observed::Known(Lease {
            renewed_us: 7,
            unchanged_since: long_ago,
        }),
        peer_away_since: Observed::Known(Some(long_ago)),
        object: Observed::Known(NodeObject::default()),
    };
}

fn taint(node: &str) -> SideStep {
    SideStep::TaintNode {
        node: name(node),
        via: name("n1"),
    }
}

#[test]
fn nothing_is_done_while_nobody_is_silent() {
    let (facts, intent) = cluster();
    assert_eq!(next(&facts, &intent, NOW), Dead::default());
    assert!(watched(&facts, &intent).is_empty());
}

#[test]
fn a_dead_node_is_tainted() {
    for node in ["n3", "n5"] {
        let (mut facts, intent) = cluster();
        dies(&mut facts, node);
        let dead = next(&facts, &intent, NOW);
        assert_eq!(dead.steps, [taint(node)], "{dead:?}");
        assert_eq!(dead.states, [(name(node), State::Dead)]);
        assert!(dead.waits.is_empty(), "{dead:?}");
        assert_eq!(watched(&facts, &intent), [name(node)]);
    }
}

type Break = fn(&mut Facts, &mut Intent);

#[test]
fn each_rule_speaks() {
    let rows: [(&str, &str, Break); 16] = [
        ("", "the policy is off", |_, i| {
            i.dead_nodes.policy = Policy::Off
        }),
        ("", "another distribution", |_, i| {
            i.distribution = Distribution::Etcd
        }),
        ("", "its agent is not enrolled", |f, _| {
            life(f, "n3").silent_since = Observed::Unknown;
        }),
        ("", "its agent answers", |f, _| {
            life(f, "n3").silent_since = Observed::Known(None);
        }),
        (
            "in 1 s",
            "its agent has not been silent for long",
            |f, _| {
                life(f, "n3").silent_since = Observed::Known(Some(Time(NOW.0 - AFTER + 1)));
            },
        ),
        ("no control plane tells", "its lease is unknown", |f, _| {
            life(f, "n3").lease = Observed::Unknown;
        }),
        ("no control plane tells", "it has no Node", |f, _| {
            life(f, "n3").object = Observed::Unknown;
        }),
        ("in 15 s", "its lease was renewed just now", |f, _| {
            life(f, "n3").lease = Observed::Known(Lease {
                renewed_us: 8,
                unchanged_since: NOW,
            });
        }),
        ("no etcd member tells", "its peer is unknown", |f, _| {
            life(f, "n3").peer_away_since = Observed::Unknown;
        }),
        (
            "an etcd member is connected",
            "its peer is connected",
            |f, _| {
                life(f, "n3").peer_away_since = Observed::Known(None);
            },
        ),
        (
            "no etcd member tells",
            "the member list is unknown",
            |f, _| {
                f.etcd.list = MemberList::Unknown;
            },
        ),
        ("3 of 5 nodes are silent", "a majority is silent", |f, _| {
            dies(f, "n4");
            dies(f, "n5");
        }),
        (
            "1 healthy control planes, 2",
            "too few control planes",
            |f, _| {
                f.nodes.get_mut(&name("n2")).unwrap().node_ready = Observed::Known(false);
            },
        ),
        ("2 healthy workers, 3", "too few workers", |_, i| {
            i.dead_nodes.min_healthy_workers = Some(3);
        }),
        ("stops its pods by itself", "it may run its pods", |_, i| {
            i.dead_nodes.policy = Policy::Fence;
        }),
        ("no healthy etcd member", "no API server", |f, _| {
            for node in f.nodes.values_mut() {
                node.api_ready = Observed::Known(false);
            }
        }),
    ];
    for (reason, rule, change) in rows {
        let (mut facts, mut intent) = cluster();
        dies(&mut facts, "n3");
        change(&mut facts, &mut intent);
        let dead = next(&facts, &intent, NOW);
        assert!(dead.steps.is_empty(), "{rule}: {dead:?}");
        let said: Vec<String> = dead.waits.iter().map(ToString::to_string).collect();
        let says =
            reason.is_empty() && said.is_empty() || said.iter().any(|it| it.contains(reason));
        assert!(says, "{rule}: {said:?}");
    }
}

#[test]
fn several_are_tainted_as_long_as_they_are_a_minority() {
    let (mut facts, intent) = cluster();
    dies(&mut facts, "n3");
    dies(&mut facts, "n5");
    assert_eq!(next(&facts, &intent, NOW).steps, [taint("n3")]);
    facts.running.push(Running {
        on: name("n1"),
        kind: taint("n3").kind(),
        subject: name("n3"),
    });
    facts.out_of_service.insert(name("n3"), out());
    assert_eq!(next(&facts, &intent, NOW).steps, [taint("n5")]);
    // One that is out of service already counts as well.
    facts.out_of_service.insert(name("n4"), out());
    let dead = next(&facts, &intent, NOW);
    assert!(dead.steps.is_empty(), "{dead:?}");
}

fn out() -> OutOfService {
    OutOfService {
        since: NOW,
        lease_us: 7,
    }
}

/// Its last report is not old enough to be forgotten, and is no proof that it can be asked.
#[test]
fn nobody_is_asked_who_is_silent() {
    let (mut facts, intent) = cluster();
    dies(&mut facts, "n5");
    life(&mut facts, "n1").silent_since = Observed::Known(Some(NOW));
    let steps = next(&facts, &intent, NOW).steps;
    let via = SideStep::TaintNode {
        node: name("n5"),
        via: name("n2"),
    };
    assert_eq!(steps, [via]);
}

#[test]
fn it_is_not_tainted_twice_and_again_if_the_taint_is_gone() {
    let (mut facts, intent) = cluster();
    dies(&mut facts, "n5");
    facts.running.push(Running {
        on: name("n1"),
        kind: taint("n5").kind(),
        subject: name("n5"),
    });
    assert!(next(&facts, &intent, NOW).steps.is_empty());
    facts.running.clear();
    facts.out_of_service.insert(name("n5"), out());
    assert_eq!(next(&facts, &intent, NOW).steps, [taint("n5")]);
    let tainted = NodeObject {
        tainted: true,
        ..NodeObject::default()
    };
    life(&mut facts, "n5").object = Observed::Known(NodeObject {
        to_free: 1,
        ..tainted
    });
    let steps = next(&facts, &intent, NOW).steps;
    assert_eq!(steps, [taint("n5")], "and as long as pods are not freed");
    life(&mut facts, "n5").object = Observed::Known(tainted);
    assert!(next(&facts, &intent, NOW).steps.is_empty());
}

#[test]
fn it_returns_to_service_when_all_shows_that_it_is_back() {
    let back = |change: Break| {
        let (mut facts, mut intent) = cluster();
        facts.out_of_service.insert(name("n5"), out());
        *life(&mut facts, "n5") = Life {
            silent_since: Observed::Known(None),
            lease: Observed::Known(Lease {
                renewed_us: 8,
                unchanged_since: NOW,
            }),
            peer_away_since: Observed::Unknown,
            object: Observed::Known(NodeObject {
                ready: true,
                tainted: true,
                terminating: 0,
                to_free: 0,
            }),
        };
        change(&mut facts, &mut intent);
        next(&facts, &intent, NOW)
    };
    let untaint = [SideStep::UntaintNode {
        node: name("n5"),
        via: name("n1"),
    }];
    assert_eq!(back(|_, _| {}).steps, untaint);
    let off = back(|_, i| i.dead_nodes.policy = Policy::Off);
    assert_eq!(off.steps, untaint, "also when the policy is off by now");
    let rows: [(&str, Break); 5] = [
        ("silent", |f, _| {
            life(f, "n5").silent_since = Observed::Known(Some(NOW));
        }),
        ("its lease is that of before", |f, _| {
            life(f, "n5").lease = Observed::Known(Lease {
                renewed_us: 7,
                unchanged_since: NOW,
            });
        }),
        ("not ready", |f, _| {
            life(f, "n5").object = Observed::Known(NodeObject {
                tainted: true,
                ..NodeObject::default()
            });
        }),
        ("nobody tells", |f, _| {
            life(f, "n5").object = Observed::Unknown
        }),
        ("old pods", |f, _| {
            life(f, "n5").object = Observed::Known(NodeObject {
                ready: true,
                tainted: true,
                terminating: 2,
                to_free: 0,
            });
        }),
    ];
    for (what, change) in rows {
        let dead = back(change);
        assert!(dead.steps.is_empty(), "{what}: {dead:?}");
    }
}

#[test]
fn a_node_that_stops_its_own_pods_is_tainted_after_it_must_have() {
    for policy in [Policy::Fence, Policy::Purge] {
        let (mut facts, mut intent) = cluster();
        intent.dead_nodes.policy = policy;
        dies(&mut facts, "n5");
        facts.armed.insert(name("n5"));
        assert_eq!(next(&facts, &intent, NOW).steps, [taint("n5")]);
        let ahead = fence_ms(&intent).map(|it| AFTER - it);
        assert_eq!(ahead, Some(STOPPED_AHEAD_MS), "and that is before");
    }
    let (_, intent) = cluster();
    assert_eq!(
        fence_ms(&intent),
        None,
        "a taint alone asks nothing of nodes"
    );
}

#[test]
fn who_is_removed_and_what_keeps_it() {
    const LATER: u64 = 600_000;
    let purged = |change: Break| {
        let (mut facts, mut intent) = cluster();
        intent.dead_nodes.policy = Policy::Purge;
        intent.dead_nodes.purge_after_ms = LATER;
        dies(&mut facts, "n5");
        facts.armed.insert(name("n5"));
        facts.out_of_service.insert(name("n5"), out());
        let long_ago = Time(NOW.0 - AFTER - LATER);
        let life = life(&mut facts, "n5");
        life.silent_since = Observed::Known(Some(long_ago));
        life.object = Observed::Known(NodeObject {
            tainted: true,
            ..NodeObject::default()
        });
        change(&mut facts, &mut intent);
        next(&facts, &intent, NOW).purge
    };
    assert_eq!(purged(|_, _| {}), Some(name("n5")));
    let rows: [(&str, Break); 11] = [
        ("another policy", |_, i| i.dead_nodes.policy = Policy::Fence),
        ("not for long enough", |_, i| {
            i.dead_nodes.purge_after_ms = LATER + 1;
        }),
        ("not out of service", |f, _| f.out_of_service.clear()),
        ("its pods are not freed", |f, _| {
            let tainted = NodeObject {
                tainted: true,
                to_free: 1,
                ..NodeObject::default()
            };
            life(f, "n5").object = Observed::Known(tainted);
        }),
        ("nobody tells of its Node", |f, _| {
            life(f, "n5").object = Observed::Unknown;
        }),
        ("it is heard", |f, _| {
            life(f, "n5").silent_since = Observed::Known(None);
        }),
        ("its lease was renewed", |f, _| {
            life(f, "n5").lease = Observed::Known(Lease {
                renewed_us: 8,
                unchanged_since: NOW,
            });
        }),
        ("it never stopped its pods", |f, _| f.armed.clear()),
        ("too few workers", |_, i| {
            i.dead_nodes.min_healthy_workers = Some(2);
        }),
        ("too few control planes", |f, i| {
            i.dead_nodes.min_healthy_control_planes = Some(3);
            f.nodes.get_mut(&name("n2")).unwrap().node_ready = Observed::Known(false);
        }),
        ("many are silent", |f, _| {
            dies(f, "n4");
            dies(f, "n3");
        }),
    ];
    for (rule, change) in rows {
        assert_eq!(purged(change), None, "{rule}");
    }
}
