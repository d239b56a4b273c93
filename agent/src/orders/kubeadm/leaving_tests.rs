//! Orders about a node that leaves, against an API server in the test's own process. Each is delivered twice.

use super::{drain, node, ready};
use crate::context::Context;
use crate::kube::testing::FakeApi;
use crate::marks;
use crate::orders::install::testing::{Folder, context_under};
use quorate_proto::v1::{ClusterConfig, DeleteNode, DrainNode, Order};
use serde_json::json;
use std::sync::Arc;

const NODE: &str = "cp3";

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

#[tokio::test]
async fn a_node_is_deleted_and_its_labels_forgotten() {
    let api = FakeApi::start().await;
    marks::update(&api.paths, |marks| {
        marks.cluster_id = "c".into();
        for name in [NODE, "w1"] {
            marks.configured_nodes.insert(name.into(), "digest".into());
        }
    })
    .unwrap();
    api.put(&ready::node_path(NODE), json!({"metadata": {"name": NODE}}));
    let order = DeleteNode { name: NODE.into() };
    for _ in 0..2 {
        node::delete(&context(&api), &order).await.unwrap();
        assert!(api.get(&ready::node_path(NODE)).is_null());
        let marks = marks::load(&api.paths).unwrap();
        let left: Vec<&String> = marks.configured_nodes.keys().collect();
        assert_eq!(left, ["w1"]);
    }
}

/// It never registered, or an earlier delivery came further than its result did.
#[tokio::test]
async fn a_node_that_is_not_there_is_drained_already() {
    let api = FakeApi::start().await;
    let order = DrainNode {
        name: NODE.into(),
        within_seconds: 1,
    };
    let foreign = drain::run(&context(&api), &order).await.err();
    let code = foreign.map(|problem| problem.code);
    assert_eq!(code.as_deref(), Some("not-prepared"), "not of the cluster");
    marks::update(&api.paths, |marks| marks.cluster_id = "c".into()).unwrap();
    for _ in 0..2 {
        drain::run(&context(&api), &order).await.unwrap();
    }
}
