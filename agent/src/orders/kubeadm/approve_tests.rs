//! Requests as openssl makes them, against what a node may ask for.

use super::*;
use crate::kube::testing::FakeApi;
use crate::marks;
use crate::orders::install::testing::{Folder, context_under};
use quorate_proto::v1::{Endpoint, Order};
use std::process::Command;

fn request(subject: &str, names: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("openssl")
        .current_dir(dir.path())
        .args([
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-keyout", "k", "-subj", subject])
        .args(["-addext", &format!("subjectAltName={names}")])
        .output()
        .unwrap();
    assert!(output.status.success());
    json!({
        "metadata": {"name": "csr-1", "resourceVersion": "5"},
        "spec": {
            "signerName": "kubernetes.io/kubelet-serving",
            "username": "system:node:n1",
            "groups": ["system:nodes", "system:authenticated"],
            "usages": ["digital signature", "server auth"],
            "request": STANDARD.encode(output.stdout),
        },
    })
}

const SUBJECT: &str = "/O=system:nodes/CN=system:node:n1";
const NAMES: &str = "DNS:n1,IP:10.0.0.1";

fn config(name: &str, address: &str) -> NodeConfig {
    NodeConfig {
        name: name.into(),
        address: address.into(),
        ..NodeConfig::default()
    }
}

fn object() -> Value {
    json!({"status": {"addresses": [
        {"type": "InternalIP", "address": "fd00::1"},
        {"type": "InternalIP", "address": "10.0.0.50"},
        {"type": "Hostname", "address": "n1.example"},
        {"type": "ExternalIP", "address": "192.0.2.1"},
    ]}})
}

#[test]
fn only_what_is_the_nodes() {
    let order = ApproveServing {
        nodes: vec![config("n1", "10.0.0.1"), config("n2", "10.0.0.2")],
    };
    let cluster = ClusterConfig {
        endpoint: Some(Endpoint {
            host: "10.0.0.50".into(),
            port: 6443,
        }),
        ..ClusterConfig::default()
    };
    let foreign = foreign(&cluster, &order, &order.nodes[0]);
    let judged = |request: &Value| judge(request, &order.nodes[0], &object(), &foreign);
    for (subject, names, reason) in [
        (SUBJECT, NAMES, None),
        (SUBJECT, "IP:fd00::1,DNS:N1.example", None),
        (SUBJECT, "DNS:n1,IP:10.0.0.10", Some("10.0.0.10 is not")),
        (SUBJECT, "DNS:n1,IP:10.0.0.2", Some("10.0.0.2 is not")),
        // Its own status says so, but it is the endpoint.
        (SUBJECT, "IP:10.0.0.50", Some("10.0.0.50 is not")),
        (SUBJECT, "IP:192.0.2.1", Some("192.0.2.1 is not")),
        (
            SUBJECT,
            "DNS:kubernetes.default",
            Some("kubernetes.default is not"),
        ),
        (SUBJECT, "DNS:n1,URI:spiffe://x", Some("something else")),
        ("/O=system:nodes/CN=system:node:n2", NAMES, Some("subject")),
        (
            "/O=system:masters/CN=system:node:n1",
            NAMES,
            Some("subject"),
        ),
        (
            "/O=system:nodes/O=x/CN=system:node:n1",
            NAMES,
            Some("subject"),
        ),
        (
            "/OU=x/O=system:nodes/CN=system:node:n1",
            NAMES,
            Some("subject"),
        ),
    ] {
        let judged = judged(&request(subject, names));
        match reason {
            None => assert_eq!(judged, Ok(()), "{subject} {names}"),
            Some(reason) => {
                let reasons = judged.unwrap_err().join("; ");
                assert!(reasons.contains(reason), "{subject} {names}: {reasons}");
            }
        }
    }
    let good = request(SUBJECT, NAMES);
    for (field, value) in [
        ("groups", json!(["system:authenticated"])),
        ("usages", json!(["server auth", "client auth"])),
        ("usages", json!(["digital signature"])),
        ("request", json!("bm9uc2Vuc2U=")),
    ] {
        let mut changed = good.clone();
        changed["spec"][field] = value;
        assert!(judged(&changed).is_err(), "{field}");
    }
}

#[tokio::test]
async fn approves_the_right_and_names_the_wrong() {
    let api = FakeApi::start().await;
    marks::update(&api.paths, |marks| marks.cluster_id = "c".into()).unwrap();
    let (mut context, _) = context_under(api.paths.clone(), Folder::of(&[]));
    context.order = std::sync::Arc::new(Order {
        cluster: Some(ClusterConfig {
            id: "c".into(),
            ..ClusterConfig::default()
        }),
        ..Order::default()
    });
    let (good, mut bad, mut other) = (
        request(SUBJECT, NAMES),
        request(SUBJECT, "DNS:other"),
        request(SUBJECT, NAMES),
    );
    bad["metadata"]["name"] = json!("csr-2");
    other["metadata"]["name"] = json!("csr-3");
    other["spec"]["username"] = json!("system:node:n9");
    api.put(LIST, json!({"items": [good, bad, other]}));
    let path = |name: &str| format!("{PATH}/{name}/approval");
    for (name, object) in [("csr-1", &good), ("csr-2", &bad), ("csr-3", &other)] {
        api.put(&path(name), object.clone());
    }
    let order = ApproveServing {
        nodes: vec![config("n1", "10.0.0.1")],
    };
    let outcome = run(&context, &order).await.unwrap();
    let condition = |name: &str| api.get(&path(name))["status"]["conditions"][0]["type"].clone();
    assert_eq!(condition("csr-1"), "Approved");
    assert_eq!(condition("csr-2"), Value::Null);
    assert_eq!(condition("csr-3"), Value::Null);
    assert_eq!(outcome.result.findings.len(), 1);
    let finding = &outcome.result.findings[0];
    assert_eq!(finding.name, "KubeletServing-n1");
    assert!(
        finding
            .problem
            .as_ref()
            .unwrap()
            .cause
            .contains("other is not")
    );
}
