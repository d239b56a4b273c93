//! Orders against an API server in the test's own process.

use super::*;
use crate::context::Context;
use crate::kube::objects::{cluster_info, kube_proxy, kubeadm_config};
use crate::kube::testing::FakeApi;
use crate::marks;
use crate::orders::install::testing::{Folder, context_under};
use crate::orders::kubeadm::token::TOKENS;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_proto::v1::{ClusterConfig, Order, RestartKubeProxy, SetClusterEndpoint};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const OLD: &str = "10.77.0.50:6443";

fn context(api: &FakeApi) -> Context {
    marks::update(&api.paths, |marks| marks.cluster_id = "c".into()).unwrap();
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

fn endpoint() -> Option<Endpoint> {
    Some(Endpoint {
        host: "lb.example".into(),
        port: 6443,
    })
}

fn move_all() -> SetClusterEndpoint {
    SetClusterEndpoint {
        endpoint: endpoint(),
        names: vec!["lb.example".into()],
        drop: vec![],
    }
}

fn object(data: Value) -> Value {
    json!({"metadata": {"name": "x"}, "data": data})
}

async fn cluster() -> FakeApi {
    let api = FakeApi::start().await;
    let server = format!("https://{OLD}");
    let configuration = format!(
        "controlPlaneEndpoint: {OLD}\nkind: ClusterConfiguration\napiServer:\n  certSANs:\n  - 10.77.0.50\n"
    );
    let info =
        format!("clusters:\n- cluster:\n    server: {server}\n  name: \"\"\ncontexts: null\n");
    let proxy = format!(
        "clusters:\n- cluster:\n    server: {server}\n  name: d\ncontexts:\n- context: {{cluster: d, user: d}}\n  name: d\ncurrent-context: d\n"
    );
    api.put(
        kubeadm_config::PATH,
        object(json!({"ClusterConfiguration": configuration})),
    );
    api.put(
        cluster_info::PATH,
        object(json!({"kubeconfig": info, "jws-kubeconfig-aaaaaa": "old"})),
    );
    api.put(kube_proxy::PATH, object(json!({"kubeconfig.conf": proxy})));
    let encode = |text: &str| STANDARD.encode(text);
    api.put(
        TOKENS,
        json!({"items": [{"type": "bootstrap.kubernetes.io/token", "data": {
            "token-id": encode("aaaaaa"), "usage-bootstrap-signing": encode("true"),
        }}]}),
    );
    api
}

/// What the controller manager does.
fn sign(api: &FakeApi) {
    let mut info = api.get(cluster_info::PATH);
    info["data"]["jws-kubeconfig-aaaaaa"] = json!("new");
    api.put(cluster_info::PATH, info);
}

#[tokio::test]
async fn every_object_moves_and_signatures_are_waited_for() {
    let api = cluster().await;
    let context = context(&api);
    let order = move_all();
    let work = cluster::run(&context, &order);
    let signing = async {
        while !cluster_info::signed(&api.get(cluster_info::PATH)).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Not done without it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let proxy = kube_proxy::endpoint(&api.get(kube_proxy::PATH)).unwrap();
        assert_eq!(text(&proxy), OLD);
        sign(&api);
    };
    let (done, ()) = tokio::join!(work, signing);
    done.unwrap();
    let view = kubeadm_config::read(&api.get(kubeadm_config::PATH)).unwrap();
    assert_eq!(view.endpoint, "lb.example:6443");
    assert_eq!(view.names, ["10.77.0.50", "lb.example"]);
    for place in [
        cluster_info::endpoint(&api.get(cluster_info::PATH)),
        kube_proxy::endpoint(&api.get(kube_proxy::PATH)),
    ] {
        assert_eq!(text(&place.unwrap()), "lb.example:6443");
    }
    // Again: nothing is written.
    api.before(Box::new(|method, path, _| panic!("{method} {path}")));
    cluster::run(&context, &order).await.unwrap();
}

#[tokio::test]
async fn a_change_by_others_is_kept() {
    let api = cluster().await;
    let mut once = true;
    api.before(Box::new(move |_, path, objects| {
        if std::mem::take(&mut once) {
            let object = objects.get_mut(path).unwrap();
            object["metadata"]["resourceVersion"] = json!("77");
            object["data"]["theirs"] = json!("kept");
        }
    }));
    let order = SetClusterEndpoint {
        endpoint: None,
        drop: vec!["10.77.0.50".into()],
        ..move_all()
    };
    cluster::run(&context(&api), &order).await.unwrap();
    let object = api.get(kubeadm_config::PATH);
    assert_eq!(object["data"]["theirs"], "kept");
    let view = kubeadm_config::read(&object).unwrap();
    assert_eq!(
        (view.endpoint.as_str(), view.names),
        (OLD, vec!["lb.example".to_owned()])
    );
    // Without an endpoint the other objects stay.
    let proxy = kube_proxy::endpoint(&api.get(kube_proxy::PATH)).unwrap();
    assert_eq!(text(&proxy), OLD);
}

#[tokio::test]
async fn unsigned_is_no_success() {
    let api = cluster().await;
    let mut context = context(&api);
    context.deadline = Instant::now() + Duration::from_millis(500);
    let problem = cluster::run(&context, &move_all()).await.err().unwrap();
    assert_eq!(problem.code, "not-ready");
    assert!(problem.cause.contains("no signature"), "{problem}");
}

#[tokio::test]
async fn kube_proxy_starts_anew_on_the_given_nodes() {
    let api = FakeApi::start().await;
    let order = RestartKubeProxy {
        endpoint: endpoint(),
        nodes: vec!["n1".into()],
    };
    let context = context(&api);
    // No kube-proxy at all: nothing to do.
    proxy::run(&context, &order).await.unwrap();
    let template = json!({"metadata": {"annotations": {}}});
    api.put(
        kube_proxy::DAEMON_SET,
        json!({
            "metadata": {"generation": 1}, "spec": {"template": template},
            "status": {"observedGeneration": 1},
        }),
    );
    let pod = |name: &str, endpoint: &str| {
        json!({"metadata": {"name": name, "annotations": {kube_proxy::ANNOTATION: endpoint}},
            "spec": {"nodeName": "n1"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    };
    let path = "/api/v1/namespaces/kube-system/pods/old";
    api.put(path, pod("old", ""));
    api.put(kube_proxy::PODS, json!({"items": [pod("old", "")]}));
    // The controllers of the cluster.
    let new = pod("new", "lb.example:6443");
    api.before(Box::new(move |method, at, objects| {
        if *method == hyper::Method::DELETE {
            assert_eq!(at, path);
            let list = json!({"items": [new.clone()]});
            objects.insert(kube_proxy::PODS.to_owned(), list);
        }
    }));
    proxy::run(&context, &order).await.unwrap();
    let daemon_set = api.get(kube_proxy::DAEMON_SET);
    assert_eq!(kube_proxy::template(&daemon_set), "lb.example:6443");
    assert_eq!(api.get(path), Value::Null);
    api.before(Box::new(|method, path, _| panic!("{method} {path}")));
    proxy::run(&context, &order).await.unwrap();
}
