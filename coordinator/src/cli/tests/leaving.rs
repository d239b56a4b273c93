//! `quorate node remove` and `quorate node replace`.

use super::harness::Harness;
use crate::cli::samples;
use quorate_proto::v1::{OperationEvent, OperationInfo, Problem};
use serde_json::Value;

#[tokio::test]
async fn shows_the_numbers_asks_and_watches() {
    let harness = Harness::new().await;
    let operation = OperationInfo {
        kind: "node-remove".into(),
        ..samples::operation("done")
    };
    let event = OperationEvent {
        operation: Some(operation),
        ..OperationEvent::default()
    };
    harness
        .fake
        .watches
        .lock()
        .unwrap()
        .push_back(vec![Ok(event)]);
    let ran = harness.run_with_input("node remove cp3", "y\n").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    for part in [
        "Removal of cp3, in prod, now at revision 3",
        "cp3 is removed  2       2       no failure",
        "‼ 3 voters tolerate 1 failures, the 2 that stay tolerate 0",
        "Remove cp3? [y/N]",
        "✓ prod: node-remove is done",
        "take cp3 out of the cluster file",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert_eq!(harness.fake.calls(), ["remove cp3", "watch 01k9"]);
}

#[tokio::test]
async fn nothing_is_done_without_a_yes() {
    let harness = Harness::new().await;
    for (line, input, want) in [
        ("node remove cp3", "", 2),
        ("node remove cp3", "n\n", 1),
        // Death is confirmed by the name.
        ("node remove cp3 --dead", "y\n", 1),
        ("node replace cp3 cp4", "\n", 1),
        ("node remove cp3 --dry-run", "", 0),
    ] {
        let ran = harness.run_with_input(line, input).await;
        assert_eq!(ran.code, want, "{line}: {}", ran.err);
    }
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
    let ran = harness
        .run_with_input("node remove cp3 --dead --no-wait", "cp3\n")
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "01k9\n"), "{}", ran.err);
    for (line, call) in [
        ("node replace cp3 --yes --no-wait", "replace cp3"),
        (
            "node replace cp3 cp4 --address 10.0.0.14 --dead --yes --no-wait",
            "replace cp3 cp4 10.0.0.14 dead",
        ),
    ] {
        assert_eq!(harness.run(line).await.code, 0, "{line}");
        assert_eq!(harness.fake.calls().pop().as_deref(), Some(call));
    }
}

#[tokio::test]
async fn a_lost_quorum_has_an_exit_code_of_its_own() {
    let harness = Harness::new().await;
    for (code, want) in [
        ("refused-quorum-loss", 7),
        ("refused-endpoint", 5),
        ("not-found-node", 1),
    ] {
        let problem = Problem::new(code, "1 of 3 voters answer");
        harness.fake.removal.lock().unwrap().refusals = vec![problem.clone()];
        for line in ["node remove cp3 --yes", "node replace cp3 --dry-run"] {
            let ran = harness.run(line).await;
            assert_eq!(ran.code, want, "{line}");
            let shown = format!("{}{}", ran.out, ran.err);
            assert!(shown.contains("× 1 of 3 voters answer"), "{shown}");
        }
        // Also if it is found out only when it is to begin.
        harness.fake.removal.lock().unwrap().refusals.clear();
        *harness.fake.refuses.lock().unwrap() = Some(problem);
        assert_eq!(harness.run("node remove cp3 --yes").await.code, want);
        *harness.fake.refuses.lock().unwrap() = None;
    }
}

#[tokio::test]
async fn a_dry_run_has_every_form() {
    let harness = Harness::new().await;
    let ran = harness.run("node replace cp3 cp4 --dry-run -o json").await;
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["successor"], "cp4");
    assert_eq!(json["quorum"][1]["voters"], 2);
    let names = harness.run("node remove cp3 --dry-run -o name").await.out;
    assert_eq!(names, "lb\ncp3\n");
}
