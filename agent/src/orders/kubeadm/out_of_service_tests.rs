//! Against an API server in the test's own process. Each order is delivered twice, also after a kill between its effects.

use super::*;
use crate::kube::testing::FakeApi;
use crate::marks;
use crate::orders::install::testing::{Folder, context_under};
use quorate_proto::v1::{ClusterConfig, Order};
use serde_json::{Value, json};
use std::sync::Arc;

const NODE: &str = "w1";
const LEASE: i64 = 5_000_000;

fn context(api: &FakeApi) -> Context {
    let (mut context, _) = context_under(api.paths.clone(), Folder::of(&[]));
    context.order = Arc::new(Order {
        cluster: Some(ClusterConfig {
            id: "c".into(),
            ..ClusterConfig::default()
        }),
        ..Order::default()
    });
    context
}

fn order() -> TaintNode {
    TaintNode {
        name: NODE.into(),
        lease_unix_us: LEASE,
    }
}

fn foreign() -> Value {
    json!({"key": "other", "effect": "NoSchedule"})
}

fn ours() -> Value {
    json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"})
}

async fn api(taints: Value) -> FakeApi {
    let api = FakeApi::start().await;
    marks::update(&api.paths, |marks| marks.cluster_id = "c".into()).unwrap();
    api.put(
        &life::node_path(NODE),
        json!({"metadata": {"name": NODE}, "spec": {"taints": taints}}),
    );
    renew(&api, "1970-01-01T00:00:05Z");
    api
}

fn renew(api: &FakeApi, time: &str) {
    let lease = json!({"metadata": {}, "spec": {"renewTime": time}});
    api.put(&life::lease_path(NODE), lease);
}

fn taints(api: &FakeApi) -> Value {
    api.get(&life::node_path(NODE))["spec"]["taints"].clone()
}

#[tokio::test]
async fn a_dead_node_is_tainted_once_and_untainted_once() {
    let api = api(json!([foreign()])).await;
    for _ in 0..2 {
        taint(&context(&api), &order()).await.unwrap();
        assert_eq!(taints(&api), json!([foreign(), ours()]));
    }
    // A run that was killed after the effect finds it done, even if the node has come back since.
    renew(&api, "1970-01-01T00:00:06Z");
    taint(&context(&api), &order()).await.unwrap();
    for _ in 0..2 {
        let order = UntaintNode { name: NODE.into() };
        untaint(&context(&api), &order).await.unwrap();
        assert_eq!(taints(&api), json!([foreign()]));
        assert!(api.get(&life::node_path(NODE))["metadata"]["annotations"][life::OURS].is_null());
    }
}

#[tokio::test]
async fn a_node_that_lives_is_not_tainted() {
    let api = api(json!([])).await;
    renew(&api, "1970-01-01T00:00:05.000001Z");
    let problem = taint(&context(&api), &order()).await.err().unwrap();
    assert_eq!(problem.code, "node-alive");
    assert_eq!(taints(&api), json!([]));
}

/// The kubelet renews its lease between the look at the Node and the write, which then collides with another write.
#[tokio::test]
async fn the_lease_is_looked_at_again_after_a_collision() {
    let api = api(json!([])).await;
    let mut first = true;
    api.before(Box::new(move |_, path, objects| {
        if std::mem::take(&mut first) {
            objects.get_mut(path).unwrap()["metadata"]["resourceVersion"] = json!("9");
            let lease = objects.get_mut(&life::lease_path(NODE)).unwrap();
            lease["spec"]["renewTime"] = json!("1970-01-01T00:00:07Z");
        }
    }));
    let problem = taint(&context(&api), &order()).await.err().unwrap();
    assert_eq!(problem.code, "node-alive");
    assert_eq!(taints(&api), json!([]));
}

#[tokio::test]
async fn what_an_administrator_has_set_stays() {
    let api = api(json!([ours()])).await;
    taint(&context(&api), &order()).await.unwrap();
    let order = UntaintNode { name: NODE.into() };
    untaint(&context(&api), &order).await.unwrap();
    assert_eq!(taints(&api), json!([ours()]));
}

#[tokio::test]
async fn a_node_that_is_gone_needs_nothing() {
    let api = FakeApi::start().await;
    let foreign = taint(&context(&api), &order()).await.err().unwrap();
    assert_eq!(foreign.code, "not-prepared", "not of the cluster");
    marks::update(&api.paths, |marks| marks.cluster_id = "c".into()).unwrap();
    taint(&context(&api), &order()).await.unwrap();
    let order = UntaintNode { name: NODE.into() };
    untaint(&context(&api), &order).await.unwrap();
}

#[tokio::test]
async fn the_life_of_a_node_is_read() {
    let api = api(json!([ours()])).await;
    api.put(
        &life::pods_path(NODE),
        json!({"items": [{"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}]}),
    );
    let mut client = Api::new(&api.paths).unwrap();
    let seen = life::read(&mut client, NODE).await.unwrap().unwrap();
    assert_eq!((seen.lease_unix_us, seen.ready), (LEASE, false));
    assert_eq!((seen.tainted, seen.terminating), (true, 1));
    assert_eq!(life::read(&mut client, "w2").await.unwrap(), None);
}
