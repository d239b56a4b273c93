//! `quorate certificates`.

use super::harness::Harness;
use serde_json::Value;

#[tokio::test]
async fn lists_in_every_form() {
    let harness = Harness::new().await;
    let ran = harness.run("certificates").await;
    assert_eq!(ran.code, 3, "some end");
    assert!(ran.out.starts_with("CLUSTER  NODE "), "{}", ran.out);
    let names = harness.run("certificates prod -o name").await.out;
    assert!(
        names.starts_with("prod/cp1:/etc/kubernetes/pki/apiserver.crt\n")
            && names.ends_with("\ncoordinator:/var/lib/quorate/ca/ca.crt\n"),
        "{names}"
    );
    let json = harness
        .run("certificates list --cluster prod -o json")
        .await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    let first = &json["certificates"][0]["certificate"];
    assert_eq!(first["not_after"], "2026-11-24T01:43:00Z");
    assert_eq!(first["kind"], "api-server");
    let yaml: Value =
        serde_saphyr::from_str(&harness.run("certificates -o yaml").await.out).unwrap();
    assert_eq!(yaml, json);
    assert_eq!(
        harness.fake.calls(),
        [
            "certificates ",
            "certificates prod",
            "certificates prod",
            "certificates "
        ]
    );
}

#[tokio::test]
async fn only_what_is_ok_is_ok() {
    let harness = Harness::new().await;
    for state in ["ok", "ends-soon", "ended", "unreadable", "revised"] {
        let mut answer = crate::cli::samples::certificates();
        answer.certificates.truncate(1);
        answer.certificates[0].state = state.into();
        *harness.fake.certificates.lock().unwrap() = answer;
        let want = if state == "ok" { 0 } else { 3 };
        assert_eq!(harness.run("certificates").await.code, want, "{state}");
    }
    harness
        .fake
        .certificates
        .lock()
        .unwrap()
        .certificates
        .clear();
    let ran = harness.run("certificates").await;
    assert_eq!(ran.code, 0);
    assert!(
        ran.out.starts_with("No certificates are known"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn renews_and_changes_names() {
    let harness = Harness::new().await;
    for (line, says, call) in [
        (
            "certificates renew --yes --no-wait",
            "of every node in prod",
            "renew prod []",
        ),
        (
            "certificates renew --cluster prod --node cp1 --node cp2 --yes --no-wait",
            "of cp1, cp2 in prod",
            "renew prod [\"cp1\", \"cp2\"]",
        ),
        (
            "certificates set-names --add API.example --add [fd00::2] --drop 10.0.0.9 --yes --no-wait",
            "  + api.example\n  + fd00::2\n  - 10.0.0.9\n",
            "names prod +[\"api.example\", \"fd00::2\"] -[\"10.0.0.9\"]",
        ),
    ] {
        let ran = harness.run(line).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, "01k9\n"), "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
        assert_eq!(harness.fake.calls().pop().as_deref(), Some(call));
    }
    let calls = harness.fake.calls();
    for unclear in [
        "certificates set-names --add a.example --drop a.example --yes",
        "certificates prod renew --yes",
        "certificates --cluster prod renew --yes",
        "certificates -o json issued",
    ] {
        let ran = harness.run(unclear).await;
        assert_eq!(ran.code, 2, "{unclear}: {}", ran.err);
    }
    assert_eq!(harness.fake.calls(), calls);
}
