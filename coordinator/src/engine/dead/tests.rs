//! Nodes die, fall silent and come back in a small world, in virtual time.

use crate::engine::api::EngineApi;
use crate::engine::handle::Engine;
use crate::engine::tests::{apply, end, start};
use crate::engine::world::World;
use crate::store::Store;
use quorate_proto::v1::{ClusterStatus, StatusRequest};
use std::sync::Arc;
use std::time::Duration;

const NODES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(100);

/// Three control planes and two workers.
async fn formed(policy: &str) -> (Arc<World>, Arc<Store>, Arc<Engine>) {
    let world = World::new(&NODES);
    world.state().kubernetes = true;
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    let (operation, _) = apply(&engine, file(policy)).await.expect("applied");
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    (world, store, engine)
}

fn file(policy: &str) -> String {
    let mut text =
        format!("name: c\ndistribution: kubeadm\nversion: v1.33.13\ndeadNodes: {policy}\nnodes:\n");
    for (at, name) in NODES.iter().enumerate() {
        let role = if at < 3 { "control-plane" } else { "worker" };
        text.push_str(&format!(
            "  - {{name: {name}, address: 10.0.0.{}, roles: [{role}]}}\n",
            at + 1
        ));
    }
    text
}

fn live(world: &World, node: &str, alive: bool) {
    world.state().nodes.get_mut(node).expect("node").alive = alive;
}

fn tainted(world: &World) -> Vec<String> {
    let state = world.state();
    let tainted = state.nodes.iter().filter(|(_, node)| node.tainted);
    tainted.map(|(name, _)| name.clone()).collect()
}

/// How long that took, or nothing if it did not come.
async fn until(mut is: impl FnMut() -> bool) -> Option<Duration> {
    let begun = tokio::time::Instant::now();
    while !is() {
        if begun.elapsed() > LONG {
            return None;
        }
        tokio::time::sleep(TICK).await;
    }
    Some(begun.elapsed())
}

async fn status(engine: &Engine) -> ClusterStatus {
    let status = engine.status("admin/test", StatusRequest::default()).await;
    status.expect("status").clusters.remove(0)
}

fn out_of_service(engine: &Engine) -> Vec<String> {
    let record = engine.shared.cluster("c").expect("store").expect("cluster");
    record.out_of_service.keys().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_taken_out_and_put_back_when_it_is_clean() {
    for node in ["n3", "n4"] {
        let (world, store, engine) = formed("{policy: taint}").await;
        tokio::time::sleep(LONG).await;
        assert!(tainted(&world).is_empty(), "nobody has died");
        live(&world, node, false);
        let took = until(|| !tainted(&world).is_empty())
            .await
            .expect("tainted");
        assert_eq!(tainted(&world), [node]);
        let seconds = took.as_secs();
        assert!((15..30).contains(&seconds), "{node}: after {seconds} s");
        tokio::time::sleep(LONG).await;
        let orders = |world: &World| {
            let state = world.state();
            state
                .done
                .iter()
                .filter(|(_, kind)| kind == "taint-node")
                .count()
        };
        assert_eq!(orders(&world), 1, "once");
        assert_eq!(out_of_service(&engine), [node]);
        let shown = status(&engine).await;
        let row = shown.nodes.iter().find(|it| it.name == node);
        assert!(
            row.is_some_and(|it| it.detail.contains("out of service")),
            "{shown:#?}"
        );

        // A coordinator that starts anew has not forgotten.
        engine.shared.stop();
        let engine = start(&world, &store);
        world.state().nodes.get_mut(node).expect("node").terminating = 1;
        live(&world, node, true);
        assert_eq!(
            until(|| tainted(&world).is_empty()).await,
            None,
            "not clean"
        );
        let shown = status(&engine).await;
        let waits = shown.waiting_on.join("\n");
        assert!(waits.contains("1 pods of before"), "{waits}");
        world.state().nodes.get_mut(node).expect("node").terminating = 0;
        assert!(
            until(|| tainted(&world).is_empty()).await.is_some(),
            "{node} is back"
        );
        tokio::time::sleep(TICK * 10).await;
        assert!(out_of_service(&engine).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_agent_alone_is_silent_lives() {
    for node in ["n3", "n4"] {
        let (world, _store, engine) = formed("{policy: taint}").await;
        world.state().nodes.get_mut(node).expect("node").muted = true;
        assert_eq!(until(|| !tainted(&world).is_empty()).await, None, "{node}");
        let waits = status(&engine).await.waiting_on.join("\n");
        assert!(
            waits.contains("s agent is silent, but") || waits.contains("counts as dead in"),
            "{waits}"
        );
    }
}

/// The coordinator cannot tell a partition of its own from the death of many.
#[tokio::test(start_paused = true)]
async fn the_death_of_many_is_left_to_people() {
    let (world, _store, engine) = formed("{policy: taint}").await;
    for node in ["n3", "n4", "n5"] {
        live(&world, node, false);
    }
    assert_eq!(until(|| !tainted(&world).is_empty()).await, None);
    let waits = status(&engine).await.waiting_on.join("\n");
    assert!(waits.contains("3 of 5 nodes are silent"), "{waits}");
}

#[tokio::test(start_paused = true)]
async fn enough_healthy_nodes_are_left() {
    let policy = "{policy: taint, minHealthyWorkers: 2}";
    let (world, _store, engine) = formed(policy).await;
    live(&world, "n4", false);
    assert_eq!(until(|| !tainted(&world).is_empty()).await, None);
    let waits = status(&engine).await.waiting_on.join("\n");
    assert!(waits.contains("1 healthy workers, 2 are needed"), "{waits}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_unless_the_file_says_so() {
    let (world, _store, _engine) = formed("{}").await;
    live(&world, "n4", false);
    assert_eq!(until(|| !tainted(&world).is_empty()).await, None);
}

/// Also one that dies while the coordinator is away: its word is on record.
#[tokio::test(start_paused = true)]
async fn a_node_that_stops_its_own_pods_is_taken_out_after_that() {
    let (world, store, engine) = formed("{policy: fence}").await;
    tokio::time::sleep(LONG).await;
    let record = engine.shared.cluster("c").expect("store").expect("cluster");
    assert_eq!(record.isolation.armed.len(), NODES.len(), "{record:?}");
    assert_eq!(record.isolation.fence_ms, 12_000);
    engine.shared.stop();
    live(&world, "n4", false);
    let engine = start(&world, &store);
    let took = until(|| !tainted(&world).is_empty())
        .await
        .expect("tainted");
    assert!((18..32).contains(&took.as_secs()), "after {took:?}");
    assert_eq!(out_of_service(&engine), ["n4"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_about_a_node_that_never_said_so() {
    let (world, store, engine) = formed("{policy: taint}").await;
    let record = engine.shared.cluster("c").expect("store").expect("cluster");
    assert!(record.isolation.armed.is_empty(), "nobody asked");
    world.state().nodes.get_mut("n4").expect("node").old = true;
    let (operation, _) = apply(&engine, file("{policy: fence}"))
        .await
        .expect("applied");
    end(&engine, &operation).await;
    tokio::time::sleep(LONG).await;
    let waits = status(&engine).await.waiting_on;
    assert_eq!(waits.len(), 1, "{waits:?}");
    assert!(waits[0].contains("n4 has not said yet"), "{waits:?}");
    live(&world, "n4", false);
    assert_eq!(until(|| !tainted(&world).is_empty()).await, None);
    let waits = status(&engine).await.waiting_on.join("\n");
    assert!(waits.contains("its pods are not moved"), "{waits}");
    drop(store);
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_removed_in_the_end_as_an_operator_would() {
    let (world, store, engine) = formed("{policy: purge, purgeAfter: 5m}").await;
    tokio::time::sleep(LONG).await;
    live(&world, "n4", false);
    until(|| !tainted(&world).is_empty())
        .await
        .expect("tainted");
    let there = || {
        let record = engine.shared.cluster("c").expect("store").expect("cluster");
        record.spec.node("n4").is_some()
    };
    tokio::time::sleep(Duration::from_secs(270)).await;
    assert!(there(), "before its time");
    let end = tokio::time::Instant::now() + LONG;
    while there() {
        assert!(tokio::time::Instant::now() < end, "it is still there");
        tokio::time::sleep(TICK).await;
    }
    assert!(out_of_service(&engine).is_empty());
    drop(store);
}
