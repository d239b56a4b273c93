//! Stops and starts over a small world, in virtual time.

use crate::engine::agents::AgentEvent;
use crate::engine::api::EngineApi;
use crate::engine::handle::Engine;
use crate::engine::tests::{apply, end, start};
use crate::engine::world::World;
use crate::store::Store;
use quorate_planner::shutdown::AWAITED_MS;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;

const WHO: &str = "admin/test";
const FILE: &str = "name: c
distribution: etcd
loadBalancer: {mode: managed}
nodes:
  - {name: n1, address: 10.0.0.1, roles: [etcd]}
  - {name: n2, address: 10.0.0.2, roles: [etcd]}
  - {name: n3, address: 10.0.0.3, roles: [etcd]}
  - {name: lb, address: 10.0.0.99, roles: [load-balancer]}
";
/// Until silence is noticed.
const NOTICED: Duration = Duration::from_secs(60);

async fn formed() -> (Arc<World>, Arc<Store>, Arc<Engine>) {
    let world = World::new(&["n1", "n2", "n3", "lb"]);
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    let (operation, _) = apply(&engine, FILE.to_owned()).await.expect("applied");
    done(&engine, &operation).await;
    (world, store, engine)
}

async fn done(engine: &Engine, operation: &str) {
    let record = end(engine, operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
}

fn asked(on: bool) -> PowerRequest {
    PowerRequest {
        cluster: "c".into(),
        on,
        ..PowerRequest::default()
    }
}

async fn set(engine: &Engine, on: bool) -> String {
    let answer = engine.set_power(WHO, asked(on)).await.expect("taken");
    answer.operation
}

async fn health(engine: &Engine) -> String {
    let status = engine.status(WHO, StatusRequest::default()).await;
    status.expect("a status").clusters[0].health.clone()
}

fn orders(world: &World, kind: &str) -> Vec<String> {
    let state = world.state();
    let of = state.done.iter().filter(|it| it.1 == kind);
    of.map(|it| it.0.clone()).collect()
}

fn runs(world: &World) -> Vec<String> {
    let state = world.state();
    let runs = state.nodes.iter().filter(|(_, it)| {
        it.etcd_started
            || it
                .balancer
                .as_ref()
                .is_some_and(|balancer| balancer.running)
    });
    runs.map(|(name, _)| name.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn stops_in_order_stays_so_and_starts() {
    let (world, _store, engine) = formed().await;
    let plan = engine.plan_power(WHO, asked(false)).await.expect("a plan");
    let stages: Vec<Vec<String>> = plan
        .stages
        .iter()
        .map(|stage| stage.steps.iter().map(|it| it.node.clone()).collect())
        .collect();
    assert_eq!(stages, [["lb"], ["n3"], ["n2"], ["n1"]]);
    let operation = set(&engine, false).await;
    done(&engine, &operation).await;
    assert_eq!(orders(&world, "take-snapshot").len(), 2);
    assert_eq!(orders(&world, "stop-node"), ["lb", "n3", "n2", "n1"]);
    assert_eq!(runs(&world), Vec::<String>::new());
    assert_eq!(health(&engine).await, "stopped");

    // Nothing else is done, and nothing else is taken.
    let before = world.state().done.len();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.state().done.len(), before);
    let refused = apply(&engine, FILE.to_owned()).await.expect_err("stopped");
    assert_eq!(refused.code, "refused-stopped", "{refused}");
    let removal = RemovalRequest {
        node: "n3".into(),
        ..RemovalRequest::default()
    };
    let plan = engine.plan_removal(WHO, removal).await.expect("a plan");
    assert_eq!(plan.refusals[0].code, "refused-stopped", "{plan:?}");
    let again = engine.set_power(WHO, asked(false)).await.expect("taken");
    assert!(again.nothing_to_do);

    let operation = set(&engine, true).await;
    done(&engine, &operation).await;
    let started = orders(&world, "start-node");
    assert_eq!(started.len(), 4, "{started:?}");
    assert_eq!(started[3], "lb", "before its members: {started:?}");
    tokio::time::sleep(NOTICED).await;
    assert_eq!(health(&engine).await, "healthy");
    let again = engine.set_power(WHO, asked(true)).await.expect("taken");
    assert!(again.nothing_to_do);
}

/// The coordinator is killed in the middle of each way; its successor goes on.
#[tokio::test(start_paused = true)]
async fn goes_on_after_the_coordinator_is_killed() {
    for ms in [200, 500, 900, 1_700] {
        let (world, store, engine) = formed().await;
        let mut engine = engine;
        for on in [false, true] {
            let operation = set(&engine, on).await;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            engine.stop();
            engine = start(&world, &store);
            let events = world.state().events.clone().expect("events");
            for node in ["n1", "n2", "n3", "lb"] {
                let back = AgentEvent::Connected(node.to_owned());
                events.send(back).await.expect("a router");
            }
            done(&engine, &operation).await;
            let all = if on { 4 } else { 0 };
            assert_eq!(runs(&world).len(), all, "killed after {ms} ms, on: {on}");
        }
    }
}

/// Machines that were off follow the word when they come back, whichever it is by then.
#[tokio::test(start_paused = true)]
async fn who_was_away_follows_on_return() {
    let (world, _store, engine) = formed().await;
    let alive = |name: &str, alive: bool| {
        world.state().nodes.get_mut(name).expect("node").alive = alive;
    };
    alive("n3", false);
    tokio::time::sleep(NOTICED).await;
    let operation = set(&engine, false).await;
    done(&engine, &operation).await;
    assert_eq!(orders(&world, "stop-node"), ["lb", "n2", "n1"]);
    // It comes up with all it ran.
    alive("n3", true);
    tokio::time::sleep(NOTICED).await;
    assert_eq!(orders(&world, "stop-node"), ["lb", "n2", "n1", "n3"]);
    assert_eq!(runs(&world), Vec::<String>::new());

    // The start ends without it, after its patience, and takes it in later.
    alive("n3", false);
    tokio::time::sleep(NOTICED).await;
    let operation = set(&engine, true).await;
    tokio::time::sleep(Duration::from_millis(AWAITED_MS)).await;
    done(&engine, &operation).await;
    assert_eq!(runs(&world), ["lb", "n1", "n2"]);
    alive("n3", true);
    tokio::time::sleep(NOTICED).await;
    assert_eq!(runs(&world), ["lb", "n1", "n2", "n3"]);
    assert_eq!(health(&engine).await, "healthy");
}

#[tokio::test(start_paused = true)]
async fn a_failed_snapshot_stops_nothing() {
    let (world, _store, engine) = formed().await;
    world.state().refused.insert("take-snapshot");
    let refused = engine.set_power(WHO, asked(false)).await;
    assert_eq!(refused.expect_err("refused").code, "refused-no-snapshot");
    assert_eq!(runs(&world).len(), 4);
    let request = PowerRequest {
        without_snapshot: true,
        ..asked(false)
    };
    let answer = engine.set_power(WHO, request).await.expect("taken");
    done(&engine, &answer.operation).await;
    assert_eq!(runs(&world), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn storage_that_is_not_well_stops_nothing() {
    let world = World::new(&["n1", "n2", "n3", "lb"]);
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    let text = format!("{FILE}storage: {{check: {{command: [/usr/local/sbin/storage-ok]}}}}\n");
    let (operation, _) = apply(&engine, text).await.expect("applied");
    done(&engine, &operation).await;
    world.state().storage = Some("1 of 3 copies".to_owned());
    let refused = engine
        .set_power(WHO, asked(false))
        .await
        .expect_err("refused");
    assert_eq!(refused.code, "refused-storage", "{refused}");
    assert!(refused.what.contains("1 of 3 copies"), "{refused}");
    assert_eq!(runs(&world).len(), 4);
    world.state().storage = None;
    let operation = set(&engine, false).await;
    done(&engine, &operation).await;
    assert_eq!(runs(&world), Vec::<String>::new());
}
