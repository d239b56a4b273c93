//! The engine over a small world: whole operations, in virtual time.

use super::agents::AgentEvent;
use super::api::EngineApi;
use super::handle::Engine;
use super::records::OperationRecord;
use super::shared::{ArtifactChoice, Shared};
use super::world::World;
use crate::store::Store;
use quorate_proto::v1::{ApplyRequest, ArtifactRef, PlanRequest, Problem, StatusRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

struct NoArtifacts;

impl ArtifactChoice for NoArtifacts {
    fn choose(&self, _: &[&str], _: &[&str], _: bool) -> Vec<ArtifactRef> {
        Vec::new()
    }
}

/// Longer than any operation here takes: three tries of everything.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) fn start(world: &Arc<World>, store: &Arc<Store>) -> Arc<Engine> {
    let (sender, events) = mpsc::channel::<AgentEvent>(1_024);
    world.state().events = Some(sender);
    let clock_of = Arc::clone(world);
    let shared = Shared::new(
        Arc::clone(store),
        world.clone(),
        Arc::new(NoArtifacts),
        1,
        "test",
        Arc::new(move || clock_of.now_ms()),
    );
    Engine::start_with(shared, events).expect("an engine")
}

fn file(members: usize, balancer: bool) -> String {
    let mut text = "name: c\ndistribution: etcd\n".to_owned();
    if balancer {
        text.push_str("loadBalancer: {mode: managed}\n");
    }
    text.push_str("nodes:\n");
    for n in 1..=members {
        text.push_str(&format!(
            "  - {{name: n{n}, address: 10.0.0.{n}, roles: [etcd]}}\n"
        ));
    }
    if balancer {
        text.push_str("  - {name: lb, address: 10.0.0.99, roles: [load-balancer]}\n");
    }
    text
}

pub(super) async fn apply(engine: &Engine, text: String) -> Result<(String, bool), Problem> {
    let plan = PlanRequest {
        file: text,
        ..PlanRequest::default()
    };
    let shown = engine.plan("admin/test", plan.clone()).await?;
    let request = ApplyRequest {
        plan: Some(plan),
        expected_revision: shown.revision,
    };
    let answer = engine.apply("admin/test", request).await?;
    Ok((answer.operation, answer.nothing_to_do))
}

/// The record with which the operation ended.
pub(super) async fn end(engine: &Engine, operation: &str) -> OperationRecord {
    let wait = async {
        loop {
            let record = engine.shared.operation(operation).expect("store");
            let record = record.expect("operation");
            if record.finished_ms != 0 {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(record) => record,
        Err(_) => {
            let status = engine.status("admin/test", StatusRequest::default()).await;
            panic!("the operation does not end: {status:#?}");
        }
    }
}

/// Sorted: who joins first depends on who is ready first.
pub(super) fn voters(world: &World) -> Vec<String> {
    let state = world.state();
    let voters = state.members.iter().filter(|m| !m.learner);
    let mut names: Vec<String> = voters.map(|m| m.name.clone()).collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn forms_three_then_five() {
    let world = World::new(&["n1", "n2", "n3", "n4", "n5", "lb"]);
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    let (operation, _) = apply(&engine, file(3, true)).await.expect("applied");
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    assert_eq!(voters(&world), ["n1", "n2", "n3"]);

    let (none, nothing) = apply(&engine, file(3, true)).await.expect("again");
    assert!(
        nothing && none.is_empty(),
        "the same file again does nothing"
    );

    let (operation, _) = apply(&engine, file(5, true)).await.expect("applied");
    assert_eq!(end(&engine, &operation).await.state.word(), "done");
    assert_eq!(voters(&world), ["n1", "n2", "n3", "n4", "n5"]);
    assert_eq!(world.state().worst_in_flight, 1, "one learner at a time");
    let status = engine.status("admin/test", StatusRequest::default()).await;
    let cluster = status.expect("status").clusters.remove(0);
    assert_eq!(cluster.health, "healthy", "{cluster:#?}");
    assert_eq!(cluster.etcd.map(|e| e.failure_tolerance), Some(2));
    assert_eq!(cluster.load_balancers[0].backends.len(), 5);
}

/// The last ones wait for more than half a minute, without an etcd that could run.
#[tokio::test(start_paused = true)]
async fn who_waits_long_for_its_turn_is_not_given_up() {
    let names = ["n1", "n2", "n3", "n4", "n5", "n6", "n7"];
    let world = World::new(&names);
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    let plan = PlanRequest {
        file: file(7, false),
        ..PlanRequest::default()
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    let shown = engine.plan("admin/test", plan).await.expect("a plan");
    let voters_shown: Vec<u32> = shown.quorum.iter().map(|effect| effect.voters).collect();
    assert_eq!(voters_shown, [1, 2, 3, 4, 5, 6, 7], "{shown:#?}");
    let (operation, _) = apply(&engine, file(7, false)).await.expect("applied");
    assert_eq!(end(&engine, &operation).await.state.word(), "done");
    assert_eq!(voters(&world), names);
    let done = &world.state().done;
    let given_up = |kind: &str| kind == "remove-member" || kind == "reset";
    assert!(!done.iter().any(|(_, kind)| given_up(kind)), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_joiner_that_dies_leaves_nothing_and_joins_when_it_is_back() {
    let world = World::new(&["n1", "n2", "n3"]);
    world.state().nodes.get_mut("n2").expect("n2").dies_at = Some("start-member");
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    let (operation, _) = apply(&engine, file(3, false)).await.expect("applied");
    let ghost = || world.state().members.iter().any(|m| m.learner);
    let tick = || tokio::time::sleep(Duration::from_millis(50));
    while !ghost() || world.state().nodes["n2"].alive {
        tick().await;
    }
    let died = world.now_ms();
    while ghost() {
        tick().await;
    }
    let gone_after_ms = world.now_ms() - died;
    assert!(gone_after_ms <= 15_000, "it stayed for {gone_after_ms} ms");

    // The others go on without it, and it joins once it is back.
    let others = async {
        while voters(&world) != ["n1", "n3"] {
            tick().await;
        }
    };
    let joined = tokio::time::timeout(PATIENCE, others).await;
    assert!(joined.is_ok(), "the others wait for the dead one");
    {
        let mut state = world.state();
        let node = state.nodes.get_mut("n2").expect("n2");
        (node.alive, node.etcd_started) = (true, false);
    }
    let record = end(&engine, &operation).await;
    assert_eq!(record.state.word(), "done", "{:?}", record.problem);
    assert_eq!(voters(&world), ["n1", "n2", "n3"]);
    let state = world.state();
    let resets = state
        .done
        .iter()
        .filter(|(n, kind)| n == "n2" && kind == "reset");
    assert_eq!(resets.count(), 1, "reset before it joined again");
}

/// Killed after every order in turn, started anew on the same store.
#[tokio::test(start_paused = true)]
async fn a_killed_engine_goes_on_from_the_store() {
    for kill_after in 1..22 {
        let world = World::new(&["n1", "n2", "n3"]);
        let store = Arc::new(Store::in_memory());
        let engine = start(&world, &store);
        let (operation, _) = apply(&engine, file(3, false)).await.expect("applied");
        let over = || {
            let record = engine.shared.operation(&operation).expect("store");
            record.is_some_and(|record| record.finished_ms != 0)
        };
        while world.state().done.len() < kill_after && !over() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        engine.stop();
        let engine = start(&world, &store);
        let events = world.state().events.clone().expect("events");
        for node in ["n1", "n2", "n3"] {
            let back = AgentEvent::Connected(node.to_owned());
            events.send(back).await.expect("engine");
        }
        let record = end(&engine, &operation).await;
        let problem = record.problem;
        assert_eq!(
            record.state.word(),
            "done",
            "killed after {kill_after}: {problem:?}"
        );
        assert_eq!(
            voters(&world),
            ["n1", "n2", "n3"],
            "killed after {kill_after}"
        );
        assert_eq!(world.state().worst_in_flight, 1);
        engine.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_name_the_numbers() {
    let world = World::new(&["n1", "n2", "n3"]);
    let store = Arc::new(Store::in_memory());
    let engine = start(&world, &store);
    world.state().nodes.get_mut("n2").expect("n2").alive = false;
    let refused = apply(&engine, file(2, false))
        .await
        .expect_err("n2 is away");
    assert_eq!(refused.code, "refused-unreachable");
    let numbers = "of 2 voters 2 must be healthy";
    assert!(refused.cause.contains(numbers), "{refused}");

    world.state().nodes.get_mut("n2").expect("n2").alive = true;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (operation, _) = apply(&engine, file(3, false)).await.expect("applied");
    end(&engine, &operation).await;
    let omitted = apply(&engine, file(2, false))
        .await
        .expect_err("n3 left out");
    assert_eq!(omitted.code, "refused-omission");
    assert_eq!(voters(&world).len(), 3);

    // A plan that was shown before somebody else applied.
    let stale = ApplyRequest {
        plan: Some(PlanRequest {
            file: file(3, false) + "certificateNames: [other]\n",
            ..PlanRequest::default()
        }),
        expected_revision: 0,
    };
    let conflict = engine.apply("admin/test", stale).await.expect_err("stale");
    assert_eq!(conflict.code, "refused-conflict");
}
