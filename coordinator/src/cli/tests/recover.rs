//! `quorate recover`.

use super::harness::Harness;
use quorate_proto::v1::Problem;
use serde_json::Value;

#[tokio::test]
async fn says_what_is_lost_and_takes_the_clusters_name_only() {
    let harness = Harness::new().await;
    let line = "recover --cluster prod --without cp3,cp4 --no-wait";
    for (input, want) in [("", 2), ("y\n", 1), ("cp1\n", 1)] {
        let ran = harness.run_with_input(line, input).await;
        assert_eq!(ran.code, want, "{input:?}: {}", ran.err);
    }
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
    let ran = harness.run_with_input(line, "prod\n").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "01k9\n"), "{}", ran.err);
    for part in [
        "Recovery of prod, now at revision 3",
        "becomes the only member: cp1 (index 4711)",
        "reset, then join again: cp2",
        "taken out of the cluster: cp3, cp4",
        "‼ writes that cp1 has not applied are lost",
        "Type prod to go on",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    // The member that was shown, not whichever is best by then.
    assert_eq!(
        harness.fake.calls(),
        ["recover prod from cp1 without cp3 cp4"]
    );
}

#[tokio::test]
async fn a_refusal_begins_nothing() {
    let harness = Harness::new().await;
    let problem = Problem::new("refused-away", "cp3 cannot be reached");
    *harness.fake.recovery_refusals.lock().unwrap() = vec![problem];
    for line in [
        "recover --cluster prod --yes",
        "recover --cluster prod --dry-run",
    ] {
        let ran = harness.run(line).await;
        assert_eq!(ran.code, 5, "{line}");
        let shown = format!("{}{}", ran.out, ran.err);
        assert!(shown.contains("× cp3 cannot be reached"), "{shown}");
    }
    let ran = harness
        .run("recover --cluster prod --dry-run -o json")
        .await;
    let json: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["refusals"][0]["code"], "refused-away", "{json}");
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn says_how_far_back_a_snapshot_is() {
    let harness = Harness::new().await;
    let line = "recover --cluster prod --snapshot 01S --without cp3 --no-wait";
    let ran = harness.run_with_input(line, "prod\n").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    for part in [
        "back to snapshot: 01S of 2023-11-14T22:13:20Z, revision 800 (last known: 900)",
        "becomes the only member: cp1\n",
        "You take prod back to 2023-11-14T22:13:20Z, and give up all that was written since.",
        "Type prod to go on",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert_eq!(
        harness.fake.calls(),
        ["recover prod from cp1 without cp3 snapshot 01S"]
    );
}
