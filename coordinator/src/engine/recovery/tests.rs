//! Recoveries over a small world, in virtual time.

use crate::engine::agents::AgentEvent;
use crate::engine::api::EngineApi;
use crate::engine::handle::Engine;
use crate::engine::tests::{apply, end, start, voters};
use crate::engine::world::World;
use crate::store::Store;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;

const WHO: &str = "admin/test";
const THREE: [&str; 3] = ["n1", "n2", "n3"];
/// Until silence is noticed.
const NOTICED: Duration = Duration::from_secs(60);

fn file(members: &[&str]) -> String {
    let mut text = "name: c\ndistribution: etcd\nnodes:\n".to_owned();
    for name in members {
        let number = &name[1..];
        text.push_str(&format!(
            "  - {{name: {name}, address: 10.0.0.{number}, roles: [etcd]}}\n"
        ));
    }
    text
}

async fn formed(members: &[&str]) -> (Arc<World>, Arc<Store>, Arc<Engine>) {
    let world = World::new(members);
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

async fn power_off(world: &World, nodes: &[&str]) {
    for node in nodes {
        world.state().nodes.get_mut(*node).expect("node").alive = false;
    }
    tokio::time::sleep(NOTICED).await;
}

fn request(from: &str, without: &[&str]) -> RecoveryRequest {
    RecoveryRequest {
        cluster: "c".into(),
        from_member: from.into(),
        without: without.iter().map(|it| (*it).to_owned()).collect(),
        snapshot: String::new(),
    }
}

fn back_to(snapshot: &str, from: &str, without: &[&str]) -> RecoveryRequest {
    RecoveryRequest {
        snapshot: snapshot.into(),
        ..request(from, without)
    }
}

fn lies_on(world: &World, node: &str, id: &str) {
    let info = SnapshotInfo {
        id: id.into(),
        revision: 990,
        ..SnapshotInfo::default()
    };
    let mut state = world.state();
    let node = state.nodes.get_mut(node).expect("node");
    node.snapshots.push(info);
}

/// Bad data is on all members, and they all run.
#[tokio::test(start_paused = true)]
async fn a_cluster_goes_back_to_a_snapshot() {
    let (world, _store, engine) = formed(&THREE).await;
    lies_on(&world, "n2", "S1");
    lies_on(&world, "n3", "S1");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let unknown = refused(&engine, back_to("S2", "", &[])).await;
    assert_eq!(unknown, ["missing-snapshot"]);
    let elsewhere = refused(&engine, back_to("S1", "n1", &[])).await;
    assert_eq!(elsewhere, ["missing-snapshot"]);
    let alive = refused(&engine, back_to("S1", "", &["n2"])).await;
    assert_eq!(alive, ["refused-alive"]);

    let wish = back_to("S1", "n3", &[]);
    let plan = engine.plan_recovery(WHO, wish.clone()).await.expect("plan");
    let id = plan.snapshot.expect("a snapshot").id;
    assert_eq!((id.as_str(), plan.last_revision), ("S1", 1_000));
    let told = plan.warnings.join("\n");
    assert!(told.contains("10 revisions, of 1000"), "{told}");
    assert!(told.contains("has its quorum"), "{told}");
    let begun = engine.recover(WHO, wish.clone()).await.expect("begun");
    let again = engine.recover(WHO, wish).await.expect("begun");
    assert_eq!(begun.operation, again.operation);
    done(&engine, &begun.operation).await;
    whole(&world, &engine, &THREE, "n3");
    assert_eq!(world.state().restored, ["S1"]);
    assert_eq!(count(&world, "stop-serving"), 2);
}

/// Nobody's etcd runs any more; one machine that held a copy is away.
#[tokio::test(start_paused = true)]
async fn a_snapshot_is_used_where_it_can_be_reached() {
    let (world, _store, engine) = formed(&THREE).await;
    lies_on(&world, "n1", "S1");
    lies_on(&world, "n2", "S1");
    for node in THREE {
        let mut state = world.state();
        state.nodes.get_mut(node).expect("node").etcd_started = false;
    }
    power_off(&world, &["n1"]).await;
    let away = refused(&engine, back_to("S1", "", &[])).await;
    assert_eq!(away, ["refused-away"]);
    let gone = refused(&engine, back_to("S1", "n1", &["n1"])).await;
    assert_eq!(gone, ["missing-snapshot"]);
    let begun = engine.recover(WHO, back_to("S1", "", &["n1"])).await;
    done(&engine, &begun.expect("begun").operation).await;
    whole(&world, &engine, &["n2", "n3"], "n2");
}

/// The codes of the plan's refusals; what is begun is refused alike.
async fn refused(engine: &Engine, request: RecoveryRequest) -> Vec<String> {
    let plan = engine.plan_recovery(WHO, request.clone()).await;
    let codes: Vec<String> = plan
        .expect("a plan")
        .refusals
        .into_iter()
        .map(|it| it.code)
        .collect();
    let problem = engine.recover(WHO, request).await.expect_err("refused");
    assert!(codes.contains(&problem.code), "{codes:?}: {problem}");
    let record = engine.shared.cluster("c").expect("store").expect("cluster");
    assert!(record.recovery.is_none() && record.operation.is_none());
    codes
}

fn count(world: &World, kind: &str) -> usize {
    world.state().done.iter().filter(|it| it.1 == kind).count()
}

/// Whatever happened in between: one cluster, made once, of those that are left.
fn whole(world: &World, engine: &Engine, members: &[&str], founder: &str) {
    assert_eq!(voters(world), members);
    assert_eq!(world.state().recovered.len(), 1);
    assert_eq!(
        (count(world, "init"), count(world, "create-authority")),
        (1, 1)
    );
    let record = engine.shared.cluster("c").expect("store").expect("cluster");
    let names = record
        .spec
        .nodes
        .iter()
        .map(|node| node.config.name.clone());
    assert_eq!(names.collect::<Vec<_>>(), members);
    assert_eq!(record.founder.as_deref(), Some(founder));
    assert!(record.formed && record.recovery.is_none() && record.dirty.is_empty());
    assert!(engine.shared.slot("c").expect("store").is_none());
}

#[tokio::test(start_paused = true)]
async fn the_last_survivor_carries_on_and_new_machines_join() {
    let (world, _store, engine) = formed(&THREE).await;
    power_off(&world, &["n2", "n3"]).await;
    let begun = engine.recover(WHO, request("", &["n2", "n3"])).await;
    done(&engine, &begun.expect("begun").operation).await;
    whole(&world, &engine, &["n1"], "n1");
    assert_eq!(world.state().revoked, ["n2", "n3"]);
    for name in ["n4", "n5"] {
        world.enroll(name, name);
    }
    let members = ["n1", "n4", "n5"];
    let (operation, _) = apply(&engine, file(&members)).await.expect("applied");
    done(&engine, &operation).await;
    whole(&world, &engine, &members, "n1");
}

#[tokio::test(start_paused = true)]
async fn other_survivors_are_stopped_first_and_join_anew() {
    let five = ["n1", "n2", "n3", "n4", "n5"];
    let (world, _store, engine) = formed(&five).await;
    world.state().nodes.get_mut("n5").expect("node").applied = 9;
    power_off(&world, &["n1", "n2", "n3"]).await;
    let gone = ["n1", "n2", "n3"];
    let plan = engine
        .plan_recovery(WHO, request("", &gone))
        .await
        .expect("plan");
    assert_eq!(
        (plan.source.as_str(), plan.applied_index),
        ("n5", 9),
        "{plan:?}"
    );
    assert_eq!(
        (plan.lost, plan.rejoin),
        (gone.map(str::to_owned).to_vec(), vec!["n4".to_owned()])
    );
    let before = world.state().done.len();
    let begun = engine
        .recover(WHO, request("n5", &gone))
        .await
        .expect("begun");
    // Asked again it is the same one.
    let again = engine
        .recover(WHO, request("", &gone))
        .await
        .expect("begun");
    assert_eq!(begun.operation, again.operation);
    done(&engine, &begun.operation).await;
    whole(&world, &engine, &["n4", "n5"], "n5");
    let state = world.state();
    let orders: Vec<String> = state.done[before..]
        .iter()
        .map(|(node, kind)| format!("{kind} {node}"))
        .collect();
    let at = |order: &str| {
        orders
            .iter()
            .position(|it| it == order)
            .unwrap_or_else(|| panic!("{order}: {orders:?}"))
    };
    assert!(at("stop-serving n4") < at("recover-member n5"));
    assert!(at("recover-member n5") < at("reset n4") && at("reset n4") < at("start-member n4"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_that_may_be_had() {
    let (world, _store, engine) = formed(&THREE).await;
    assert_eq!(refused(&engine, request("", &[])).await, ["refused-quorum"]);
    power_off(&world, &["n3"]).await;
    // Two of three are a quorum.
    assert_eq!(
        refused(&engine, request("", &["n3"])).await,
        ["refused-quorum"]
    );
    power_off(&world, &["n2"]).await;
    assert_eq!(
        refused(&engine, request("", &[])).await,
        ["refused-away", "refused-away"]
    );
    assert_eq!(
        refused(&engine, request("", &["n3"])).await,
        ["refused-away"]
    );
    let of_another = request("", &["n2", "n3", "n9"]);
    assert_eq!(refused(&engine, of_another).await, ["not-found-node"]);
    let alive = refused(&engine, request("", &["n1", "n2", "n3"])).await;
    assert_eq!(alive, ["refused-alive"]);
    let dead = refused(&engine, request("n3", &["n2", "n3"])).await;
    assert_eq!(dead, ["refused-no-survivor"]);
    assert_eq!(
        count(&world, "stop-serving") + count(&world, "recover-member"),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn a_worse_copy_is_refused() {
    let five = ["n1", "n2", "n3", "n4", "n5"];
    let (world, _store, engine) = formed(&five).await;
    world.state().nodes.get_mut("n4").expect("node").applied = 8;
    power_off(&world, &["n1", "n2", "n3"]).await;
    let gone = ["n1", "n2", "n3"];
    assert_eq!(
        refused(&engine, request("n5", &gone)).await,
        ["refused-better-copy"]
    );
    // One that does not tell may hold more, too.
    world
        .state()
        .nodes
        .get_mut("n4")
        .expect("node")
        .etcd_started = false;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        refused(&engine, request("n5", &gone)).await,
        ["refused-better-copy"]
    );
    // What it holds is lost, on the operator's word: it is reset and joins anew.
    let lost = ["n1", "n2", "n3", "n4"];
    let begun = engine
        .recover(WHO, request("n5", &lost))
        .await
        .expect("begun");
    done(&engine, &begun.operation).await;
    whole(&world, &engine, &["n4", "n5"], "n5");
}

#[tokio::test(start_paused = true)]
async fn a_join_that_went_down_with_the_quorum_is_given_up() {
    let two = ["n1", "n2"];
    let (world, _store, engine) = formed(&two).await;
    world.enroll("n3", "n3");
    world.state().nodes.get_mut("n3").expect("node").dies_at = Some("start-member");
    let (joining, _) = apply(&engine, file(&THREE)).await.expect("applied");
    while world.state().nodes["n3"].alive {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A learner is on the list, and nobody can take it off.
    world.state().nodes.get_mut("n2").expect("node").alive = false;
    tokio::time::sleep(NOTICED).await;
    assert!(engine.shared.slot("c").expect("store").is_some());
    let begun = engine.recover(WHO, request("", &["n2", "n3"])).await;
    done(&engine, &begun.expect("begun").operation).await;
    assert_eq!(end(&engine, &joining).await.state.word(), "superseded");
    whole(&world, &engine, &["n1"], "n1");
}

#[tokio::test(start_paused = true)]
async fn the_coordinator_dies_after_every_order() {
    for kind in [
        "stop-serving",
        "recover-member",
        "reset",
        "add-member",
        "start-member",
    ] {
        let five = ["n1", "n2", "n3", "n4", "n5"];
        let (world, store, engine) = formed(&five).await;
        power_off(&world, &["n1", "n2", "n3"]).await;
        let before = count(&world, kind);
        let request = request("n5", &["n1", "n2", "n3"]);
        let begun = engine.recover(WHO, request).await.expect("begun").operation;
        while count(&world, kind) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Before it has taken the result.
        engine.stop();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let engine = start(&world, &store);
        let events = world.state().events.clone().expect("events");
        for node in ["n4", "n5"] {
            let back = AgentEvent::Connected(node.to_owned());
            events.send(back).await.expect("engine");
        }
        done(&engine, &begun).await;
        whole(&world, &engine, &["n4", "n5"], "n5");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_recovery_is_gone_on_with_and_holds_all_else_up() {
    let (world, _store, engine) = formed(&THREE).await;
    power_off(&world, &["n2", "n3"]).await;
    world.state().refused.insert("recover-member");
    let wish = request("", &["n2", "n3"]);
    let begun = engine.recover(WHO, wish.clone()).await.expect("begun");
    let record = end(&engine, &begun.operation).await;
    assert_eq!(record.state.word(), "failed");
    let busy = apply(&engine, file(&["n1"])).await.expect_err("busy");
    assert_eq!(busy.code, "refused-busy", "{busy}");
    world.state().refused.clear();
    let again = engine.recover(WHO, wish).await.expect("begun");
    assert_ne!(again.operation, begun.operation);
    done(&engine, &again.operation).await;
    whole(&world, &engine, &["n1"], "n1");
}

#[tokio::test(start_paused = true)]
async fn a_kubernetes_cluster_is_recovered_alike() {
    let (world, store, engine) = formed(&THREE).await;
    let mut record = engine.shared.cluster("c").expect("store").expect("cluster");
    record.spec.cluster.distribution = Distribution::Kubeadm as i32;
    let put = crate::store::Transaction::new().put(crate::store::Key::cluster("c"), &record);
    store.commit(put).await.expect("store");
    power_off(&world, &["n2", "n3"]).await;
    let wish = request("", &["n2", "n3"]);
    let plan = engine.plan_recovery(WHO, wish.clone()).await.expect("plan");
    assert!(plan.kubernetes && plan.refusals.is_empty(), "{plan:?}");
    let begun = engine.recover(WHO, wish).await.expect("begun");
    done(&engine, &begun.operation).await;
    whole(&world, &engine, &["n1"], "n1");
}
