//! Removals and replacements over a small world, in virtual time.

use crate::engine::agents::AgentEvent;
use crate::engine::api::EngineApi;
use crate::engine::handle::Engine;
use crate::engine::tests::{apply, end, start, voters};
use crate::engine::world::World;
use crate::store::Store;
use quorate_proto::limits::REPORT_AT_WORK_MS;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;

const WHO: &str = "admin/test";
const TICK: Duration = Duration::from_millis(20);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(300);

fn file(members: &[&str]) -> String {
    let mut text =
        "name: c\ndistribution: etcd\nendpoint: 10.0.0.99:2379\nloadBalancer: {mode: managed}\nnodes:\n"
            .to_owned();
    for name in members {
        let number = &name[1..];
        text.push_str(&format!(
            "  - {{name: {name}, address: 10.0.0.{number}, roles: [etcd]}}\n"
        ));
    }
    text + "  - {name: lb, address: 10.0.0.99, roles: [load-balancer]}\n"
}

const THREE: [&str; 3] = ["n1", "n2", "n3"];

async fn formed(members: &[&str]) -> (Arc<World>, Arc<Store>, Arc<Engine>) {
    let names: Vec<&str> = members.iter().copied().chain(["lb"]).collect();
    let world = World::new(&names);
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    let (operation, _) = apply(&engine, file(members)).await.expect("applied");
    done(&engine, &operation).await;
    (world, store, engine)
}

async fn done(engine: &Engine, operation: &str) {
    let record = end(engine, operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
}

fn removal(node: &str) -> RemovalRequest {
    RemovalRequest {
        node: node.into(),
        ..RemovalRequest::default()
    }
}

fn replacement(node: &str, successor: &str, address: &str) -> RemovalRequest {
    RemovalRequest {
        replace: true,
        successor: successor.into(),
        address: address.into(),
        ..removal(node)
    }
}

async fn begin(engine: &Engine, request: RemovalRequest) -> String {
    let begun = engine.remove_node(WHO, request).await;
    begun.expect("begun").operation
}

async fn refused(engine: &Engine, request: RemovalRequest) -> Problem {
    let plan = engine.plan_removal(WHO, request.clone()).await;
    let shown = plan.expect("a plan").refusals;
    let problem = engine.remove_node(WHO, request).await.expect_err("refused");
    assert!(shown.iter().any(|it| it.code == problem.code), "{shown:?}");
    problem
}

async fn power_off(world: &World, node: &str) {
    world.state().nodes.get_mut(node).expect("node").alive = false;
    tokio::time::sleep(Duration::from_secs(60)).await;
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let wait = async {
        while !is() {
            tokio::time::sleep(TICK).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}");
}

/// Names of the stored wish.
fn wish(engine: &Engine) -> Vec<String> {
    let record = engine.shared.cluster("c").expect("store").expect("cluster");
    assert!(record.leaving.is_none(), "{:?}", record.leaving);
    let nodes = record.spec.nodes.iter();
    nodes.map(|node| node.config.name.clone()).collect()
}

/// Orders since then, as "kind node".
fn orders(world: &World, since: usize) -> Vec<String> {
    let state = world.state();
    let done = state.done[since..].iter();
    done.map(|(node, kind)| format!("{kind} {node}")).collect()
}

fn in_pool(world: &World, node: &str) -> bool {
    let view = world.state().nodes["lb"].balancer.clone();
    let backends = view.unwrap_or_default().backends;
    backends.iter().any(|it| it.name == node)
}

#[tokio::test(start_paused = true)]
async fn a_living_member_leaves_in_order_and_may_come_back() {
    let (world, _store, engine) = formed(&THREE).await;
    let before = world.state().done.len();
    let plan = engine.plan_removal(WHO, removal("n1")).await.expect("plan");
    let numbers = |it: &QuorumEffect| (it.voters, it.quorum, it.tolerance);
    let effects: Vec<_> = plan.quorum.iter().map(numbers).collect();
    assert_eq!(effects, [(3, 2, 1), (2, 2, 0)], "{plan:#?}");
    assert!(
        plan.warnings[0].contains("3 voters tolerate 1"),
        "{plan:#?}"
    );

    // The founder and leader, too.
    let operation = begin(&engine, removal("n1")).await;
    done(&engine, &operation).await;
    assert_eq!(voters(&world), ["n2", "n3"]);
    assert_eq!(wish(&engine), ["n2", "n3", "lb"]);
    let orders = orders(&world, before);
    let removed = orders.iter().position(|it| it.starts_with("remove-member"));
    let at = |order: &str| orders.iter().position(|it| it == order);
    let (out, stop, reset) = (
        at("configure-load-balancer lb"),
        at("stop-serving n1"),
        at("reset n1"),
    );
    assert!(
        out < stop && stop < removed && removed < reset && out.is_some(),
        "{orders:?}"
    );
    let drained: Vec<&String> = orders.iter().filter(|it| it.starts_with("drain")).collect();
    assert!(drained.is_empty(), "etcd has no pods: {drained:?}");
    assert_eq!(world.state().revoked, ["n1"]);

    // A file without it changes nothing; with it, it joins again.
    let (_, nothing) = apply(&engine, file(&["n2", "n3"])).await.expect("applied");
    assert!(nothing);
    world.enroll("n1", "n1-again");
    let (operation, _) = apply(&engine, file(&THREE)).await.expect("applied");
    // Its session is another one, which was told nothing of the last.
    let paced = || world.state().nodes["n1"].paced_ms;
    until("n1 to report as at work", || paced() == REPORT_AT_WORK_MS).await;
    done(&engine, &operation).await;
    assert_eq!(voters(&world), THREE);
    let again = |kind: &str| world.state().done.iter().filter(|it| it.1 == kind).count();
    assert_eq!((again("init"), again("create-authority")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn connections_have_time_to_end_before_it_stops() {
    let (world, _store, engine) = formed(&THREE).await;
    begin(&engine, removal("n3")).await;
    until("out of the pool", || !in_pool(&world, "n3")).await;
    let out = world.now_ms();
    until("stopped", || !world.state().nodes["n3"].etcd_started).await;
    let given = world.now_ms() - out;
    let least = quorate_planner::leaving::CONNECTIONS_END_MS;
    assert!(given >= least, "{given} ms");
}

#[tokio::test(start_paused = true)]
async fn a_dead_member_goes_on_the_operators_word() {
    let (world, _store, engine) = formed(&THREE).await;
    let dead = |node: &str| RemovalRequest {
        dead: true,
        ..removal(node)
    };
    assert_eq!(refused(&engine, dead("n3")).await.code, "refused-alive");
    power_off(&world, "n3").await;
    let away = refused(&engine, removal("n3")).await;
    assert_eq!(away.code, "refused-away");
    assert!(away.next.contains("--dead"), "{away}");
    let before = world.state().done.len();
    let operation = begin(&engine, dead("n3")).await;
    done(&engine, &operation).await;
    assert_eq!(voters(&world), ["n1", "n2"]);
    assert_eq!(wish(&engine), ["n1", "n2", "lb"]);
    let orders = orders(&world, before);
    assert!(!orders.iter().any(|it| it.ends_with("n3")), "{orders:?}");
    assert_eq!(world.state().revoked, ["n3"]);
}

#[tokio::test(start_paused = true)]
async fn the_founder_is_replaced_by_a_machine_of_the_same_name() {
    for enrolled_before in [true, false] {
        let (world, _store, engine) = formed(&THREE).await;
        power_off(&world, "n1").await;
        if enrolled_before {
            world.enroll("n1", "new");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let request = RemovalRequest {
            dead: !enrolled_before,
            ..replacement("n1", "", "")
        };
        let operation = begin(&engine, request).await;
        if !enrolled_before {
            until("removed", || voters(&world) == ["n2", "n3"]).await;
            until("revoked", || world.state().revoked == ["n1"]).await;
            world.enroll("n1", "new");
        }
        done(&engine, &operation).await;
        assert_eq!(voters(&world), THREE);
        assert_eq!(wish(&engine), ["n1", "n2", "n3", "lb"]);
        let state = world.state();
        assert_eq!(state.nodes["n1"].identity, "new");
        assert_eq!(state.revoked.len(), usize::from(!enrolled_before));
        let count = |kind: &str| state.done.iter().filter(|it| it.1 == kind).count();
        assert_eq!((count("init"), count("create-authority")), (1, 1));
        assert_eq!(state.members.iter().map(|m| m.id).min(), Some(2));
        drop(state);
        engine.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_joins_before_a_living_one_goes_and_after_a_dead_one() {
    for dead in [false, true] {
        let (world, _store, engine) = formed(&THREE).await;
        if dead {
            power_off(&world, "n1").await;
        }
        let before = world.state().done.len();
        let request = RemovalRequest {
            dead,
            ..replacement("n1", "n4", "10.0.0.4")
        };
        let plan = engine
            .plan_removal(WHO, request.clone())
            .await
            .expect("plan");
        assert!(
            plan.warnings
                .iter()
                .any(|it| it.contains("n4 is not enrolled")),
            "{plan:#?}"
        );
        let operation = begin(&engine, request).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let early = if dead {
            vec!["n2", "n3"]
        } else {
            THREE.to_vec()
        };
        assert_eq!(voters(&world), early, "it waits for n4");
        world.enroll("n4", "n4");
        done(&engine, &operation).await;
        assert_eq!(voters(&world), ["n2", "n3", "n4"]);
        assert_eq!(wish(&engine), ["n4", "n2", "n3", "lb"], "in its place");
        let orders = orders(&world, before);
        let at = |kind: &str| orders.iter().position(|it| it.starts_with(kind));
        let join_first = at("add-member") < at("remove-member");
        assert_eq!(join_first, !dead, "{orders:?}");
        assert!(in_pool(&world, "n4") && !in_pool(&world, "n1"));
        engine.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_member_is_replaced() {
    let (world, _store, engine) = formed(&["n1"]).await;
    let last = refused(&engine, removal("n1")).await;
    assert_eq!(last.code, "refused-quorum-loss");
    assert!(last.what.contains("last voter"), "{last}");
    world.enroll("n2", "n2");
    let request = replacement("n1", "n2", "10.0.0.2");
    let operation = begin(&engine, request).await;
    done(&engine, &operation).await;
    assert_eq!(voters(&world), ["n2"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_quorum_is_refused_with_the_numbers() {
    let (world, _store, engine) = formed(&THREE).await;
    power_off(&world, "n2").await;
    let refused_living = refused(&engine, removal("n3")).await;
    assert_eq!(refused_living.code, "refused-quorum-loss");
    let numbers = "1 of 2 voters would be healthy; 2 are needed";
    assert!(refused_living.what.contains(numbers), "{refused_living}");
    power_off(&world, "n3").await;
    let request = RemovalRequest {
        dead: true,
        ..removal("n3")
    };
    let two_down = refused(&engine, request).await;
    assert_eq!(two_down.code, "refused-quorum-loss");
    let numbers = "1 of 3 voters answer; 2 have to agree";
    assert!(two_down.what.contains(numbers), "{two_down}");
    assert_eq!(voters(&world).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_refused_before_anything_changes() {
    let (world, _store, engine) = formed(&THREE).await;
    let before = world.state().done.len();
    for (request, code) in [
        (removal("n9"), "not-found-node"),
        (removal("lb"), "refused-endpoint"),
        (replacement("n1", "N 9", "10.0.0.9"), "invalid-name"),
        (replacement("n1", "n2", "10.0.0.9"), "invalid-name"),
        (replacement("n1", "n9", "10.0.0.2"), "invalid-address"),
        (replacement("n1", "n9", "127.0.0.1"), "invalid-address"),
        (replacement("n1", "n9", ""), "invalid-address"),
        (replacement("n1", "", "10.0.0.9"), "invalid-address"),
    ] {
        let problem = engine.remove_node(WHO, request.clone()).await;
        let problem = problem.expect_err(code);
        let found = problem.code == code || problem.cause.contains("own address");
        assert!(found, "{request:?}: {problem}");
    }
    assert_eq!(world.state().done.len(), before, "nothing was ordered");
}

#[tokio::test(start_paused = true)]
async fn everything_else_waits_for_a_removal() {
    let (world, _store, engine) = formed(&THREE).await;
    let operation = begin(&engine, removal("n3")).await;
    let asked_again = begin(&engine, removal("n3")).await;
    assert_eq!(asked_again, operation, "the same word begins nothing new");
    let other = engine.remove_node(WHO, removal("n2")).await;
    assert_eq!(other.expect_err("one at a time").code, "refused-busy");
    let applied = apply(&engine, file(&THREE)).await.expect_err("apply");
    assert_eq!(applied.code, "refused-busy");
    let rotation = RotateEndpointRequest {
        cluster: "c".into(),
        to: Some(Endpoint {
            host: "10.0.0.99".into(),
            port: 7379,
        }),
        ..RotateEndpointRequest::default()
    };
    let rotated = engine.rotate_endpoint(WHO, rotation.clone()).await;
    assert_eq!(rotated.expect_err("rotation").code, "refused-busy");
    let renewal = RenewClusterCertificatesRequest {
        cluster: "c".into(),
        nodes: Vec::new(),
    };
    let renewed = engine.renew_cluster_certificates(WHO, renewal).await;
    assert_eq!(renewed.expect_err("renewal").code, "refused-busy");
    done(&engine, &operation).await;

    // And the other way round.
    let begun = engine.rotate_endpoint(WHO, rotation).await.expect("begun");
    let busy = engine.remove_node(WHO, removal("n2")).await;
    assert_eq!(busy.expect_err("rotating").code, "refused-busy");
    done(&engine, &begun.operation).await;
    assert_eq!(voters(&world), ["n1", "n2"]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_early_leaves_the_member_in_place() {
    let (world, _store, engine) = formed(&THREE).await;
    world.state().refused.insert("stop-serving");
    let operation = begin(&engine, removal("n3")).await;
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "failed");
    assert_eq!(voters(&world), THREE);
    assert_eq!(wish(&engine), ["n1", "n2", "n3", "lb"]);
    until("back in the pool", || in_pool(&world, "n3")).await;
    world.state().refused.clear();
    let operation = begin(&engine, removal("n3")).await;
    done(&engine, &operation).await;
    assert_eq!(voters(&world), ["n1", "n2"]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_etcd_refuses_gives_the_slot_back_and_is_gone_on_with() {
    let (world, _store, engine) = formed(&THREE).await;
    world.state().refused.insert("remove-member");
    let operation = begin(&engine, removal("n3")).await;
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "failed");
    assert!(engine.shared.slot("c").expect("store").is_none());
    let record = engine.shared.cluster("c").expect("store").expect("cluster");
    assert!(
        record.leaving.is_some_and(|it| it.stopped),
        "it serves no more"
    );
    world.state().refused.clear();
    let operation = begin(&engine, removal("n3")).await;
    done(&engine, &operation).await;
    assert_eq!(voters(&world), ["n1", "n2"]);
}

/// It dies after it was taken out of etcd: said to be dead, the same removal ends.
#[tokio::test(start_paused = true)]
async fn a_machine_that_dies_on_its_way_out_is_given_up_by_the_operator() {
    let (world, _store, engine) = formed(&THREE).await;
    world.state().nodes.get_mut("n3").expect("n3").dies_at = Some("reset");
    begin(&engine, removal("n3")).await;
    until("removed", || voters(&world) == ["n1", "n2"]).await;
    until("dead", || !world.state().nodes["n3"].alive).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let request = RemovalRequest {
        dead: true,
        ..removal("n3")
    };
    let operation = begin(&engine, request).await;
    done(&engine, &operation).await;
    assert_eq!(wish(&engine), ["n1", "n2", "lb"]);
    assert_eq!(engine.shared.pending("c").expect("store").len(), 0);
}

/// Killed after every order in turn, started anew on the same store.
#[tokio::test(start_paused = true)]
async fn a_killed_engine_ends_the_removal() {
    for kill_after in 0..14 {
        let (world, store, engine) = formed(&THREE).await;
        world.enroll("n4", "n4");
        let before = world.state().done.len();
        let request = replacement("n1", "n4", "10.0.0.4");
        let operation = begin(&engine, request).await;
        let over = || {
            let record = engine.shared.operation(&operation).expect("store");
            record.is_some_and(|record| record.finished_ms != 0)
        };
        while world.state().done.len() < before + kill_after && !over() {
            tokio::time::sleep(TICK).await;
        }
        engine.stop();
        let engine = start(&world, &store);
        let events = world.state().events.clone().expect("events");
        for node in ["n1", "n2", "n3", "n4", "lb"] {
            let back = AgentEvent::Connected(node.to_owned());
            events.send(back).await.expect("engine");
        }
        done(&engine, &operation).await;
        assert_eq!(voters(&world), ["n2", "n3", "n4"], "{kill_after}");
        assert_eq!(wish(&engine), ["n4", "n2", "n3", "lb"], "{kill_after}");
        assert_eq!(world.state().revoked, ["n1"], "{kill_after}");
        assert_eq!(world.state().worst_in_flight, 1);
        engine.stop();
    }
}

/// What storage says holds the removal back, with the reason; a yes lets it go on.
#[tokio::test(start_paused = true)]
async fn storage_holds_a_removal_back_until_it_is_well() {
    let with_check = |members: &[&str]| {
        let check = "storage: {check: {command: [/usr/local/sbin/storage-ok]}}\n";
        format!("{}{check}", file(members))
    };
    for waived in [false, true] {
        let world = World::new(&["n1", "n2", "n3", "lb"]);
        let store = Arc::new(Store::in_memory());
        let engine = start(&world, &store);
        let text = with_check(&["n1", "n2", "n3"]);
        let (operation, _) = apply(&engine, text.clone()).await.expect("applied");
        done(&engine, &operation).await;
        let plan = PlanRequest {
            file: text.replace("storage-ok", "anything"),
            ..PlanRequest::default()
        };
        let shown = engine.plan(WHO, plan.clone()).await.expect("a plan");
        let request = ApplyRequest {
            plan: Some(plan),
            expected_revision: shown.revision,
        };
        let denied = engine.apply("operator/bob", request).await;
        assert_eq!(denied.expect_err("denied").code, "denied-storage-command");
        world.state().storage = Some("1 of 3 copies".to_owned());
        let request = RemovalRequest {
            node: "n3".into(),
            without_storage: waived,
            ..RemovalRequest::default()
        };
        let operation = begin(&engine, request).await;
        if !waived {
            tokio::time::sleep(Duration::from_secs(120)).await;
            assert_eq!(voters(&world), ["n1", "n2", "n3"]);
            let status = engine.status("admin/test", StatusRequest::default()).await;
            let waits = status.expect("a status").clusters[0].waiting_on.join("; ");
            assert!(
                waits.contains("cannot do without n3: 1 of 3 copies"),
                "{waits}"
            );
            let stopped = world.state().done.iter().any(|it| it.1 == "stop-serving");
            assert!(!stopped, "taken down against its word");
            world.state().storage = None;
        }
        done(&engine, &operation).await;
        assert_eq!(voters(&world), ["n1", "n2"]);
        let asked = world.state().done.iter().any(|it| it.1 == "check-storage");
        assert_eq!(asked, !waived);
    }
}
