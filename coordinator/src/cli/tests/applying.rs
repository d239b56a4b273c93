//! Plan, apply and watch.

use super::harness::Harness;
use crate::cli::samples;
use quorate_proto::v1::{NodeProgress, OperationEvent, OperationInfo, Problem};
use serde_json::Value;
use tonic::Status;

fn event(operation: OperationInfo, phases: &[(&str, &str)]) -> Result<OperationEvent, Status> {
    let nodes = phases.iter().map(|(node, phase)| NodeProgress {
        node: (*node).into(),
        phase: (*phase).into(),
        ..NodeProgress::default()
    });
    Ok(OperationEvent {
        operation: Some(operation),
        nodes: nodes.collect(),
        ..OperationEvent::default()
    })
}

fn running(phases: &[(&str, &str)]) -> Result<OperationEvent, Status> {
    event(samples::operation("running"), phases)
}

fn ended(state: &str) -> Result<OperationEvent, Status> {
    event(samples::operation(state), &[])
}

#[tokio::test]
async fn plan_carries_the_named_files() {
    let harness = Harness::new().await;
    harness.write("cni.yaml", "kind: DaemonSet\n");
    harness.write(
        "prod.yaml",
        "name: prod\nkubernetes: {addons: [cni.yaml]}\n",
    );
    let ran = harness.run("plan -f @prod.yaml").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.starts_with("Plan for prod") && ran.err.contains("quorate apply -f"),
        "{ran:?}"
    );
    let sent = harness.fake.planned.lock().unwrap().clone().unwrap();
    assert_eq!(sent.attachments["cni.yaml"], "kind: DaemonSet\n");
    assert_eq!(
        harness
            .run("plan -f @prod.yaml --detailed-exitcode")
            .await
            .code,
        3
    );
    harness.fake.plan.lock().unwrap().nothing_to_do = true;
    assert_eq!(
        harness
            .run("plan -f @prod.yaml --detailed-exitcode")
            .await
            .code,
        0
    );
    std::fs::remove_file(harness.path("cni.yaml")).unwrap();
    let ran = harness.run("plan -f @prod.yaml").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("kubernetes.addons[0]"), "{}", ran.err);
}

#[tokio::test]
async fn refused_plans_are_not_applied() {
    let harness = Harness::new().await;
    harness.write("prod.yaml", "name: prod\n");
    for (code, want) in [("refused-omission", 5), ("file-invalid", 1)] {
        harness.fake.plan.lock().unwrap().refusals = vec![Problem::new(code, "not so")];
        for line in ["plan -f @prod.yaml", "apply -f @prod.yaml --yes"] {
            let ran = harness.run(line).await;
            assert_eq!(ran.code, want, "{line}: {ran:?}");
            assert!(
                format!("{}{}", ran.out, ran.err).contains("× not so"),
                "{ran:?}"
            );
        }
    }
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn apply_asks_first() {
    let harness = Harness::new().await;
    harness.write("prod.yaml", "name: prod\n");
    assert_eq!(
        harness.run("apply -f @prod.yaml").await.code,
        2,
        "nobody to ask"
    );
    for answer in ["n\n", "\n", "prod\n"] {
        let ran = harness.run_with_input("apply -f @prod.yaml", answer).await;
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(
            ran.err.contains("Apply this plan? [y/N]") && ran.out.is_empty(),
            "{ran:?}"
        );
    }
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
    let ran = harness
        .run_with_input("apply -f @prod.yaml --no-wait", "y\n")
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "01k9\n"));
    assert_eq!(harness.fake.calls(), ["apply at 0"]);
}

#[tokio::test]
async fn apply_reads_standard_input() {
    let harness = Harness::new().await;
    let ran = harness
        .run_with_input("apply -f - --yes --no-wait", "name: piped\n")
        .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        harness.fake.planned.lock().unwrap().as_ref().unwrap().file,
        "name: piped\n"
    );
}

#[tokio::test]
async fn watches_to_the_end_across_a_restart() {
    let harness = Harness::new().await;
    harness.write("prod.yaml", "name: prod\n");
    harness.fake.plan.lock().unwrap().revision = 7;
    harness.fake.watches.lock().unwrap().extend([
        vec![
            running(&[("cp1", "install"), ("cp2", "waiting")]),
            running(&[("cp1", "join"), ("cp2", "waiting")]),
            Err(Status::unavailable("restarting")),
        ],
        vec![running(&[("cp1", "join"), ("cp2", "ready")]), ended("done")],
    ]);
    let ran = harness.run("apply -f @prod.yaml --yes").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran
        .err
        .lines()
        .filter(|line| line.contains("  cp"))
        .collect();
    let seen: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_once("Z  "))
        .map(|(_, rest)| rest)
        .collect();
    assert_eq!(
        seen,
        ["cp1  install", "cp2  waiting", "cp1  join", "cp2  ready"]
    );
    assert!(
        ran.err.contains("lost the coordinator") && ran.err.contains("✓ prod is as its file says"),
        "{}",
        ran.err
    );
    assert_eq!(
        harness.fake.calls(),
        ["apply at 7", "watch 01k9", "watch 01k9"]
    );
}

#[tokio::test]
async fn endings_decide_the_exit_code() {
    let harness = Harness::new().await;
    let mut refused = samples::operation("failed");
    refused.problem = Some(Problem::new("refused-quorum", "quorum would be lost"));
    for (last, want, text) in [
        (ended("done"), 0, "✓ prod"),
        (ended("failed"), 1, "cp3 did not start"),
        (ended("superseded"), 1, "superseded"),
        (event(refused, &[]), 5, "quorum would be lost"),
    ] {
        harness
            .fake
            .watches
            .lock()
            .unwrap()
            .push_back(vec![running(&[]), last]);
        let ran = harness.run("operation watch 01k9").await;
        assert_eq!(ran.code, want, "{}", ran.err);
        assert!(ran.err.contains(text), "{}", ran.err);
    }
}

#[tokio::test]
async fn time_up_says_how_to_go_on() {
    let harness = Harness::new().await;
    let ran = harness.run("operation watch 01k9 --timeout 1s").await;
    assert_eq!(ran.code, 6);
    assert!(
        ran.err.contains("quorate operation watch 01k9"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn unknown_operations_are_not_tried_again() {
    let harness = Harness::new().await;
    let ran = harness.run("operation watch 02").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("there is no operation 02"), "{}", ran.err);
    assert_eq!(harness.fake.calls(), ["watch 02"]);
}

#[tokio::test]
async fn progress_as_json_is_data() {
    let harness = Harness::new().await;
    let events = vec![running(&[("cp1", "join")]), ended("done")];
    harness.fake.watches.lock().unwrap().push_back(events);
    let ran = harness.run("operation watch 01k9 --progress json").await;
    let lines: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["nodes"][0]["phase"], "join");
    assert_eq!(lines[1]["operation"]["state"], "done");
    assert_eq!(lines.len(), 2);
}
