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

fn pod(name: &str, more: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": {}, "status": {"phase": "Running"}});
    for (part, value) in more.as_object().unwrap() {
        let map = pod[part].as_object_mut().unwrap();
        map.extend(value.as_object().unwrap().clone());
    }
    pod
}

fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/d/pods/{name}")
}

fn put_pods(api: &FakeApi, pods: &[Value]) {
    for pod in pods {
        api.put(&pods::path(pod).unwrap(), pod.clone());
    }
    api.put(&life::pods_path(NODE), json!({"items": pods}));
}

fn is_there(api: &FakeApi, name: &str) -> bool {
    !api.get(&pod_path(name)).is_null()
}

#[tokio::test]
async fn its_pods_are_freed_but_those_that_tolerate_it() {
    let api = api(json!([])).await;
    let tolerant = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
    put_pods(
        &api,
        &[pod("a", json!({})), pod("b", tolerant), pod("c", json!({}))],
    );
    // One of the same name that was made since.
    api.put(
        &pod_path("c"),
        pod("c", json!({"metadata": {"uid": "new"}})),
    );
    let (seen, writes) = std::sync::mpsc::channel();
    api.before(Box::new(move |method, path, objects| {
        let phase = objects
            .get(&pod_path("a"))
            .map(|it| it["status"]["phase"].clone());
        seen.send((method.clone(), path.to_owned(), phase)).unwrap();
    }));
    for _ in 0..2 {
        taint(&context(&api), &order()).await.unwrap();
        assert_eq!(
            ["a", "b", "c"].map(|it| is_there(&api, it)),
            [false, true, true]
        );
    }
    let deleted: Vec<_> = writes.try_iter().filter(|it| it.0 == "DELETE").collect();
    assert_eq!(deleted[0].1, pod_path("a"));
    assert_eq!(
        deleted[0].2,
        Some(json!("Failed")),
        "it is said to have ended first"
    );
}

/// Between the taint and the pods: a kubelet that is back ends them itself, in order.
#[tokio::test]
async fn nothing_is_freed_of_a_node_that_comes_back_with_the_taint() {
    let api = api(json!([])).await;
    put_pods(&api, &[pod("a", json!({}))]);
    api.before(Box::new(move |_, path, objects| {
        if path == life::node_path(NODE) {
            let lease = objects.get_mut(&life::lease_path(NODE)).unwrap();
            lease["spec"]["renewTime"] = json!("1970-01-01T00:00:07Z");
        }
    }));
    for _ in 0..2 {
        let problem = taint(&context(&api), &order()).await.err().unwrap();
        assert_eq!(problem.code, "node-alive");
        assert!(is_there(&api, "a"));
    }
    assert_eq!(taints(&api), json!([ours()]));
}

#[tokio::test]
async fn killed_after_the_taint_it_frees_the_pods_the_next_time() {
    let api = api(json!([ours()])).await;
    put_pods(&api, &[pod("a", json!({})), pod("b", json!({}))]);
    // Killed between two pods as well.
    api.put(&pod_path("a"), Value::Null);
    taint(&context(&api), &order()).await.unwrap();
    assert!(!is_there(&api, "b"));
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
    assert_eq!((seen.tainted, seen.terminating, seen.to_free), (true, 1, 1));
    assert_eq!(life::read(&mut client, "w2").await.unwrap(), None);
}
