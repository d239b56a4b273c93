//! Rotations over a small world, in virtual time.

use crate::engine::agents::AgentEvent;
use crate::engine::api::EngineApi;
use crate::engine::handle::Engine;
use crate::engine::tests::{apply, end, start};
use crate::engine::world::World;
use crate::store::Store;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;

const OLD: &str = "10.0.0.1";
const NEW: &str = "10.0.0.99";
const WHO: &str = "admin/test";
const TICK: Duration = Duration::from_millis(20);

fn file() -> String {
    let mut text = format!(
        "name: c\ndistribution: etcd\nendpoint: {OLD}:2379\nloadBalancer: {{mode: managed}}\nnodes:\n"
    );
    for n in 1..=3 {
        text.push_str(&format!(
            "  - {{name: n{n}, address: 10.0.0.{n}, roles: [etcd]}}\n"
        ));
    }
    text + &format!("  - {{name: lb, address: {NEW}, roles: [load-balancer]}}\n")
}

async fn formed() -> (Arc<World>, Arc<Store>, Arc<Engine>) {
    let world = World::new(&["n1", "n2", "n3", "lb"]);
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    let (operation, _) = apply(&engine, file()).await.expect("applied");
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    (world, store, engine)
}

fn to_new(soak_seconds: u32) -> RotateEndpointRequest {
    RotateEndpointRequest {
        cluster: "c".into(),
        to: Some(Endpoint {
            host: NEW.into(),
            port: 0,
        }),
        soak_seconds,
        ..RotateEndpointRequest::default()
    }
}

async fn show(engine: &Engine) -> ShowEndpointResponse {
    let request = ShowEndpointRequest {
        cluster: "c".into(),
    };
    engine.show_endpoint(WHO, request).await.expect("shown")
}

async fn rotate(engine: &Engine, soak: u32) -> String {
    let begun = engine.rotate_endpoint(WHO, to_new(soak)).await;
    begun.expect("begun").operation
}

/// Waits until the rotation has entered the stage, or has ended.
async fn until_stage(engine: &Engine, stage: &str) {
    let there = async {
        while show(engine)
            .await
            .rotation
            .is_some_and(|it| it.stage != stage)
        {
            tokio::time::sleep(TICK).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(120), there).await;
    assert!(waited.is_ok(), "{stage}: {:#?}", show(engine).await);
}

fn serving(world: &World, node: &str) -> Vec<String> {
    world.state().nodes[node].serving.iter().cloned().collect()
}

fn assert_at(world: &World, endpoint: &ShowEndpointResponse, here: &str, gone: &str) {
    let host = endpoint.endpoint.as_ref().map(|it| it.host.as_str());
    assert_eq!(host, Some(here));
    assert!(endpoint.rotation.is_none(), "{endpoint:#?}");
    for node in ["n1", "n2", "n3"] {
        let names = serving(world, node);
        assert!(names.iter().any(|it| it == here), "{node}: {names:?}");
        let own = node == "n1" && gone == OLD;
        assert_eq!(names.iter().any(|it| it == gone), own, "{node}: {names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn moves_to_the_load_balancer_and_drops_the_old_name_last() {
    let (world, _store, engine) = formed().await;
    let before = world.state().done.len();
    let operation = rotate(&engine, 5).await;
    until_stage(&engine, "soak").await;
    for node in ["n1", "n2", "n3"] {
        let names = serving(&world, node);
        assert!(names.contains(&OLD.to_owned()) && names.contains(&NEW.to_owned()));
    }
    let refused = apply(&engine, file()).await.expect_err("joins wait");
    assert_eq!(refused.code, "refused-busy");
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    assert_at(&world, &show(&engine).await, NEW, OLD);
    let state = world.state();
    let orders: Vec<&str> = state.done[before..]
        .iter()
        .map(|(_, kind)| kind.as_str())
        .collect();
    let probes: Vec<usize> = (0..orders.len())
        .filter(|at| orders[*at] == "probe-endpoint")
        .collect();
    let sets: Vec<usize> = (0..orders.len())
        .filter(|at| orders[*at] == "set-serving-names")
        .collect();
    assert_eq!(
        (probes.len(), sets.len()),
        (3, 6 - 1),
        "n1 keeps its own name: {orders:?}"
    );
    assert!(sets[2] < probes[0] && probes[2] < sets[3], "{orders:?}");
}

/// Killed after every order in turn, started anew on the same store.
#[tokio::test(start_paused = true)]
async fn a_killed_engine_ends_the_rotation() {
    for kill_after in 1..10 {
        let (world, store, engine) = formed().await;
        let before = world.state().done.len();
        let operation = rotate(&engine, 1).await;
        while world.state().done.len() < before + kill_after
            && show(&engine).await.rotation.is_some()
        {
            tokio::time::sleep(TICK).await;
        }
        engine.stop();
        let engine = start(&world, &store);
        let events = world.state().events.clone().expect("events");
        for node in ["n1", "n2", "n3", "lb"] {
            events
                .send(AgentEvent::Connected(node.to_owned()))
                .await
                .expect("engine");
        }
        let record = end(&engine, &operation).await;
        assert_eq!(
            record.state.word(),
            "done",
            "{kill_after}: {:?}",
            record.problem
        );
        assert_at(&world, &show(&engine).await, NEW, OLD);
        engine.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn rolls_back_from_every_stage_before_the_drop() {
    // An etcd cluster has nothing to do in the switch, which is over at once.
    for stage in ["accept", "soak"] {
        let (world, _store, engine) = formed().await;
        rotate(&engine, 60).await;
        until_stage(&engine, stage).await;
        let request = RollBackEndpointRequest {
            cluster: "c".into(),
        };
        let begun = engine
            .roll_back_endpoint(WHO, request)
            .await
            .expect("begun");
        let record = end(&engine, &begun.operation).await;
        assert_eq!(record.state.word(), "done", "{stage}: {:?}", record.problem);
        let shown = show(&engine).await;
        assert_eq!(
            shown.endpoint.as_ref().map(|it| it.host.as_str()),
            Some(OLD)
        );
        for node in ["n1", "n2", "n3"] {
            let names = serving(&world, node);
            assert!(
                names.contains(&OLD.to_owned()) && !names.contains(&NEW.to_owned()),
                "{stage} {node}: {names:?}"
            );
        }
        let operations = engine
            .list_operations(WHO, ListOperationsRequest::default())
            .await
            .expect("listed");
        let running = operations
            .operations
            .iter()
            .find(|it| it.state == "running");
        assert!(running.is_none(), "{running:?}");
        // The load balancer that serves nothing now is left in peace.
        let configured = || {
            let state = world.state();
            let done = state.done.iter();
            done.filter(|(_, kind)| kind == "configure-load-balancer")
                .count()
        };
        let before = configured();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(configured(), before, "{stage}");
        engine.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_holds_up_only_the_drop() {
    let (world, _store, engine) = formed().await;
    world.state().nodes.get_mut("n3").expect("n3").alive = false;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let operation = rotate(&engine, 1).await;
    until_stage(&engine, "soak").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let shown = show(&engine).await.rotation.expect("it waits for n3");
    assert_eq!(
        (shown.stage.as_str(), &shown.behind[..]),
        ("soak", &["n3".to_owned()][..])
    );
    assert!(!serving(&world, "n3").contains(&NEW.to_owned()));
    // It comes back, is brought along, and the drop follows.
    world.state().nodes.get_mut("n3").expect("n3").alive = true;
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    assert_at(&world, &show(&engine).await, NEW, OLD);
}

#[tokio::test(start_paused = true)]
async fn the_operators_word_drops_without_the_absent_who_follow_later() {
    let (world, _store, engine) = formed().await;
    world.state().nodes.get_mut("n3").expect("n3").alive = false;
    tokio::time::sleep(Duration::from_secs(60)).await;
    rotate(&engine, 600).await;
    until_stage(&engine, "soak").await;
    let word = DropEndpointRequest {
        cluster: "c".into(),
        without_absent: true,
    };
    let begun = engine.drop_endpoint(WHO, word).await.expect("taken");
    let record = end(&engine, &begun.operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    let in_pool = |world: &World| {
        let view = world.state().nodes["lb"]
            .balancer
            .clone()
            .unwrap_or_default();
        view.backends.iter().any(|it| it.name == "n3")
    };
    assert!(
        !in_pool(&world),
        "nobody is led to the one that lacks the name"
    );
    world.state().nodes.get_mut("n3").expect("n3").alive = true;
    let back = async {
        let names = || serving(&world, "n3");
        let has = |name: &str| names().iter().any(|it| it == name);
        while !has(NEW) || has(OLD) || !in_pool(&world) {
            tokio::time::sleep(TICK).await;
        }
    };
    let back = tokio::time::timeout(Duration::from_secs(120), back).await;
    assert!(
        back.is_ok(),
        "{:?} {:#?}",
        serving(&world, "n3"),
        show(&engine).await
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_dropped_while_somebody_dials_the_old_address() {
    let (world, _store, engine) = formed().await;
    world.state().nodes.get_mut("n2").expect("n2").dials = 3;
    let operation = rotate(&engine, 2).await;
    until_stage(&engine, "soak").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let shown = show(&engine).await.rotation.expect("still there");
    assert_eq!(shown.stage, "soak");
    world.state().nodes.get_mut("n2").expect("n2").dials = 0;
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    assert_at(&world, &show(&engine).await, NEW, OLD);
}

#[tokio::test(start_paused = true)]
async fn names_are_added_and_dropped() {
    let (world, _store, engine) = formed().await;
    let ask = |add: &[&str], drop: &[&str]| SetNamesRequest {
        cluster: "c".into(),
        add: add.iter().map(|it| (*it).to_owned()).collect(),
        drop: drop.iter().map(|it| (*it).to_owned()).collect(),
    };
    let begun = engine
        .set_names(WHO, ask(&["API.example"], &[]))
        .await
        .expect("begun");
    assert_eq!(end(&engine, &begun.operation).await.state.word(), "done");
    for node in ["n1", "n2", "n3"] {
        assert!(
            serving(&world, node).contains(&"api.example".to_owned()),
            "{node}"
        );
    }
    let refused = engine
        .set_names(WHO, ask(&[], &[OLD]))
        .await
        .expect_err("the endpoint");
    assert_eq!(refused.code, "refused-name");
    let begun = engine
        .set_names(WHO, ask(&[], &["api.example"]))
        .await
        .expect("begun");
    assert_eq!(end(&engine, &begun.operation).await.state.word(), "done");
    for node in ["n1", "n2", "n3"] {
        assert!(
            !serving(&world, node).contains(&"api.example".to_owned()),
            "{node}"
        );
    }
}

fn renewals(world: &World) -> Vec<String> {
    let state = world.state();
    let done = state.done.iter();
    let renewed = done.filter(|(_, kind)| kind == "renew-certificates");
    renewed.map(|(node, _)| node.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn certificates_are_renewed_once_when_asked_and_by_themselves_in_time() {
    let (world, _store, engine) = formed().await;
    let request = RenewClusterCertificatesRequest {
        cluster: "c".into(),
        nodes: Vec::new(),
    };
    let begun = engine.renew_cluster_certificates(WHO, request).await;
    let record = end(&engine, &begun.expect("begun").operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    assert_eq!(renewals(&world), ["n1", "n2", "n3"]);

    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(renewals(&world).len(), 3, "nothing is due");
    // A day before its end, as after a long time without a coordinator.
    let almost = 364 * 24 * 3600;
    world.state().nodes.get_mut("n2").expect("n2").issued_unix -= almost;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(renewals(&world), ["n1", "n2", "n3", "n2"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_refused_before_anything_changes() {
    let (world, _store, engine) = formed().await;
    let unproven =
        |plan: &PlanRotationResponse| plan.warnings.iter().any(|it| it.contains("health check"));
    let foreign = RotateEndpointRequest {
        external: true,
        ..to_new(0)
    };
    let plan = engine.plan_rotation(WHO, foreign).await.expect("a plan");
    assert!(unproven(&plan), "{plan:?}");
    let before = world.state().done.len();
    let to = |host: &str, port: u32| RotateEndpointRequest {
        to: Some(Endpoint {
            host: host.into(),
            port,
        }),
        ..to_new(0)
    };
    for (request, code) in [
        (to("not a host", 0), "invalid-endpoint"),
        (to("127.0.0.1", 0), "invalid-endpoint"),
        (to(NEW, 70_000), "invalid-endpoint"),
        (to(NEW, 8080), "refused-port"),
        (
            RotateEndpointRequest {
                soak_seconds: u32::MAX,
                ..to_new(0)
            },
            "invalid-soak",
        ),
    ] {
        let refused = engine
            .rotate_endpoint(WHO, request.clone())
            .await
            .expect_err(code);
        assert_eq!(refused.code, code, "{request:?}");
    }
    let shown = engine.plan_rotation(WHO, to_new(0)).await.expect("a plan");
    assert!(!unproven(&shown), "{shown:?}");
    let stale = RotateEndpointRequest {
        expected_revision: shown.revision + 1,
        ..to_new(0)
    };
    let refused = engine.rotate_endpoint(WHO, stale).await.expect_err("stale");
    assert_eq!(refused.code, "refused-conflict");
    world.state().nodes.get_mut("lb").expect("lb").alive = false;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let refused = engine
        .rotate_endpoint(WHO, to_new(0))
        .await
        .expect_err("no load balancer");
    assert_eq!(refused.code, "refused-load-balancer");
    let there = engine
        .rotate_endpoint(WHO, to(OLD, 2379))
        .await
        .expect("there already");
    assert!(there.nothing_to_do);
    assert_eq!(world.state().done.len(), before, "nothing was ordered");
}
