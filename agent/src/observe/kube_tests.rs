//! The server's answers, as they come from a real one.

use super::*;
use serde_json::json;

fn answer(status: u16, body: &'static str) -> Answer {
    Answer {
        status,
        body: body.into(),
    }
}

fn table(rows: &[[&str; 5]]) -> Value {
    let columns = ["Name", "Status", "Version", "Internal-IP", "External-IP"];
    let columns: Vec<Value> = columns.iter().map(|name| json!({"name": name})).collect();
    let rows: Vec<Value> = rows.iter().map(|cells| json!({"cells": cells})).collect();
    json!({"kind": "Table", "columnDefinitions": columns, "rows": rows})
}

#[test]
fn reads_the_table_of_nodes() {
    let table = table(&[
        ["cp1", "Ready", "v1.33.13", "10.0.0.1", "<none>"],
        [
            "w1",
            "NotReady,SchedulingDisabled",
            "v1.32.0",
            "10.0.0.2",
            "192.0.2.1",
        ],
    ]);
    let nodes = nodes(&table).unwrap();
    let first = KubeNode {
        name: "cp1".to_owned(),
        ready: true,
        kubelet_version: "v1.33.13".to_owned(),
        addresses: vec!["10.0.0.1".to_owned()],
        ..KubeNode::default()
    };
    assert_eq!(nodes[0], first);
    assert!(!nodes[1].ready && nodes[1].unschedulable);
    assert_eq!(nodes[1].addresses, ["10.0.0.2", "192.0.2.1"]);
}

#[test]
fn an_answer_that_is_no_table_is_not_an_empty_list() {
    for other in [
        json!({}),
        json!({"kind": "Status", "code": 403}),
        json!({"columnDefinitions": [], "rows": []}),
        Value::Null,
    ] {
        assert_eq!(nodes(&other), None, "{other}");
    }
}

#[test]
fn tells_why_a_node_is_not_ready() {
    let node = |ready: Value| json!({"status": {"conditions": [{"type": "DiskPressure"}, ready]}});
    let full = json!({"type": "Ready", "reason": "KubeletNotReady", "message": "cni plugin not initialized"});
    assert_eq!(
        reason(&node(full)),
        "KubeletNotReady: cni plugin not initialized"
    );
    assert_eq!(reason(&node(json!({"type": "Ready", "reason": "X"}))), "X");
    assert_eq!(reason(&json!({})), "");
}

#[test]
fn names_the_checks_that_fail() {
    let problem = not_ready(&answer(
        500,
        "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/x failed: reason withheld\nreadyz check failed\n",
    ));
    assert_eq!(problem.cause, "these checks fail: etcd, poststarthook/x");
    assert_eq!(not_ready(&answer(401, "")).cause, "");
}
