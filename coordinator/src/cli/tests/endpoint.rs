//! `quorate endpoint`.

use super::harness::Harness;
use crate::cli::samples;
use quorate_proto::v1::{ClusterStatus, OperationEvent, OperationInfo, Problem};
use serde_json::Value;

/// The next watch ends at once, in this state.
fn ends(harness: &Harness, state: &str, problem: Option<Problem>) {
    let operation = OperationInfo {
        kind: "rotate-endpoint".into(),
        problem,
        ..samples::operation(state)
    };
    let event = OperationEvent {
        operation: Some(operation),
        ..OperationEvent::default()
    };
    let mut watches = harness.fake.watches.lock().unwrap();
    watches.push_back(vec![Ok(event)]);
}

#[tokio::test]
async fn rotates_and_watches() {
    let harness = Harness::new().await;
    ends(&harness, "done", None);
    let ran = harness
        .run_with_input(
            "endpoint rotate --cluster prod 10.0.0.20 --external --soak 5m",
            "y\n",
        )
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    for part in [
        "10.0.0.10:6443 → 10.0.0.20:6443",
        "Rotate the endpoint? [y/N]",
        "✓ prod: rotate-endpoint is done, after 46s",
        "the cluster file           endpoint: 10.0.0.20:6443",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert_eq!(
        harness.fake.calls(),
        [
            "rotate prod to 10.0.0.20:0 external soak 300 at 3",
            "watch 01k9"
        ]
    );
}

#[tokio::test]
async fn nobody_is_asked_in_vain() {
    let harness = Harness::new().await;
    for (line, input, want) in [
        ("endpoint rotate 10.0.0.20", "", 2),
        ("endpoint rotate 10.0.0.20", "n\n", 1),
        ("endpoint rollback", "no\n", 1),
        ("endpoint drop", "\n", 1),
        ("endpoint repair", "prod\n", 1),
        ("certificates renew", "", 2),
        ("certificates set-names --add api.example", "n\n", 1),
    ] {
        let ran = harness.run_with_input(line, input).await;
        assert_eq!(ran.code, want, "{line}: {}", ran.err);
    }
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn refusals_have_their_exit_code() {
    let harness = Harness::new().await;
    harness.fake.rotation.lock().unwrap().refusals =
        vec![Problem::new("refused-unreachable", "nothing answers there")];
    for line in [
        "endpoint rotate 10.0.0.20 --yes",
        "endpoint rotate 10.0.0.20 --dry-run",
    ] {
        let ran = harness.run(line).await;
        assert_eq!(ran.code, 5, "{line}");
        let shown = format!("{}{}", ran.out, ran.err);
        assert!(shown.contains("× nothing answers there"), "{shown}");
    }
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
    *harness.fake.refuses.lock().unwrap() = Some(Problem::new(
        "refused-no-rotation",
        "no rotation is under way",
    ));
    assert_eq!(harness.run("endpoint rollback --yes").await.code, 5);
    *harness.fake.refuses.lock().unwrap() = None;
    ends(
        &harness,
        "failed",
        Some(Problem::new("refused-quorum", "a member was lost")),
    );
    assert_eq!(harness.run("endpoint repair --yes").await.code, 5);
    ends(&harness, "failed", None);
    assert_eq!(harness.run("endpoint repair --yes").await.code, 1);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let harness = Harness::new().await;
    let ran = harness
        .run("endpoint rotate [fd00::2]:6443 --dry-run -o json")
        .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["to"]["host"], "10.0.0.20");
    assert_eq!(json["stages"][2]["steps"][2]["node"], "w1");
    harness.fake.rotation.lock().unwrap().nothing_to_do = true;
    let ran = harness.run("endpoint rotate 10.0.0.20 --yes").await;
    assert_eq!(ran.code, 0);
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn rolls_back_drops_and_repairs() {
    let harness = Harness::new().await;
    for (line, says, call) in [
        (
            "endpoint rollback --yes --no-wait",
            "goes back to 10.0.0.10:6443",
            "roll-back prod",
        ),
        (
            "endpoint drop --yes --no-wait",
            "It waits for (--without-absent does not): w2",
            "drop prod false",
        ),
        (
            "endpoint drop --without-absent --yes --no-wait",
            "drops 10.0.0.10:6443",
            "drop prod true",
        ),
        (
            "endpoint repair --cluster prod --yes --no-wait",
            "Nothing is known to be astray",
            "repair prod",
        ),
    ] {
        let ran = harness.run(line).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, "01k9\n"), "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
        assert_eq!(harness.fake.calls().pop().as_deref(), Some(call));
    }
    *harness.fake.endpoint.lock().unwrap() = samples::astray();
    let ran = harness.run("endpoint repair --yes --no-wait").await;
    for part in ["kubelet.conf", "cp1 does not serve as 10.0.0.20"] {
        assert!(ran.err.contains(part), "{}", ran.err);
    }
}

#[tokio::test]
async fn what_is_astray_decides_the_exit_code() {
    let harness = Harness::new().await;
    let ran = harness.run("endpoint show").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    *harness.fake.endpoint.lock().unwrap() = samples::astray();
    assert_eq!(harness.run("endpoint show prod").await.code, 3);
    type Change = fn(&mut quorate_proto::v1::ShowEndpointResponse);
    let changes: [Change; 4] = [
        |answer| answer.carriers[1].state = "stray".into(),
        |answer| answer.carriers[1].state = "unknown".into(),
        |answer| answer.members[1].missing.push("api.example".into()),
        |answer| answer.members[1].known = false,
    ];
    for change in changes {
        let mut answer = samples::endpoint();
        change(&mut answer);
        *harness.fake.endpoint.lock().unwrap() = answer;
        assert_eq!(harness.run("endpoint show --cluster prod").await.code, 3);
    }
}

#[tokio::test]
async fn shows_in_every_form() {
    let harness = Harness::new().await;
    let names = harness.run("endpoint show -o name").await.out;
    assert!(
        names.starts_with(
            "(cluster):kube-system/kubeadm-config\ncp1:/etc/kubernetes/kubelet.conf\n"
        ),
        "{names}"
    );
    let json: Value =
        serde_json::from_str(&harness.run("endpoint show -o json").await.out).unwrap();
    assert_eq!(json["rotation"]["soak_ends"], "2026-11-21T01:43:45Z");
    let yaml: Value =
        serde_saphyr::from_str(&harness.run("endpoint show -o yaml").await.out).unwrap();
    assert_eq!(yaml, json);
    let wide = harness.run("endpoint show -o wide").await.out;
    assert!(wide.contains("10.0.0.10, 10.0.0.20, cp1"), "{wide}");
}

#[tokio::test]
async fn the_cluster_may_be_left_out_only_where_there_is_one() {
    let harness = Harness::new().await;
    let other = ClusterStatus {
        name: "stage".into(),
        ..ClusterStatus::default()
    };
    harness.fake.status.lock().unwrap().clusters.push(other);
    let ran = harness.run("endpoint show").await;
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("they are prod and stage") && ran.err.contains("--cluster"),
        "{}",
        ran.err
    );
    assert_eq!(harness.run("endpoint show prod").await.code, 0);
    harness.fake.status.lock().unwrap().clusters.clear();
    let ran = harness.run("endpoint rotate 10.0.0.20 --yes").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("there is no cluster yet"), "{}", ran.err);
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
}
