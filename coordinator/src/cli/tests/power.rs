//! `quorate cluster stop` and `quorate cluster start`.

use super::harness::Harness;
use quorate_proto::v1::Problem;
use serde_json::Value;

#[tokio::test]
async fn shows_the_order_and_asks() {
    let harness = Harness::new().await;
    let line = "cluster stop prod --no-wait";
    for (input, want) in [("", 2), ("n\n", 1)] {
        let ran = harness.run_with_input(line, input).await;
        assert_eq!(ran.code, want, "{input:?}: {}", ran.err);
    }
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
    let ran = harness.run_with_input(line, "y\n").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "01k9\n"), "{}", ran.err);
    for part in ["Stop of prod, now at revision 3", "cp2", "Stop prod?"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    let again = "cluster stop prod --no-snapshot --yes --no-wait";
    assert_eq!(harness.run(again).await.code, 0);
    let ran = harness.run("cluster start prod --yes --no-wait").await;
    assert!(ran.err.contains("Start of prod"), "{}", ran.err);
    assert_eq!(
        harness.fake.calls(),
        ["stop prod", "stop prod without snapshot", "start prod"]
    );
}

#[tokio::test]
async fn a_refusal_ends_it() {
    let harness = Harness::new().await;
    let problem = Problem::new("refused-busy", "n3 is leaving the cluster");
    *harness.fake.recovery_refusals.lock().unwrap() = vec![problem];
    for line in ["cluster stop prod --yes", "cluster stop prod --dry-run"] {
        let ran = harness.run(line).await;
        assert_eq!(ran.code, 5, "{line}: {}", ran.err);
    }
    let ran = harness.run("cluster stop prod --dry-run -o json").await;
    let plan: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(plan["refusals"][0]["code"], "refused-busy", "{plan}");
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
}
