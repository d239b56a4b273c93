//! Commands that ask once and show the answer, or write it to files.

use super::harness::Harness;
use crate::cli::context::{self, Places};
use quorate_proto::v1::Distribution;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn token_create_prints_the_line_alone_on_stdout() {
    let harness = Harness::new().await;
    let ran = harness.run("token create --node cp1 --ttl 30m").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "sudo quorate-agent enroll q1.c2VjcmV0\n")
    );
    for part in ["on cp1", "in 30m", "quorate nodes"] {
        assert!(
            ran.err.contains(part) || part == "in 30m" && ran.err.contains("in 29m"),
            "{}",
            ran.err
        );
    }
    assert_eq!(harness.fake.calls(), ["create-token cp1 1800"]);
}

#[tokio::test]
async fn lists_in_every_form() {
    let harness = Harness::new().await;
    assert_eq!(harness.run("nodes -o name").await.out, "cp1\nnew\n");
    let json: Value = serde_json::from_str(&harness.run("nodes -o json").await.out).unwrap();
    assert_eq!(
        (&json["schema_version"], &json["nodes"][0]["name"]),
        (&1.into(), &"cp1".into())
    );
    assert_eq!(json["nodes"][0]["last_seen"], "2026-11-21T01:42:56Z");
    let yaml: Value = serde_saphyr::from_str(&harness.run("nodes -o yaml").await.out).unwrap();
    assert_eq!(yaml, json);
    assert!(harness.run("nodes").await.out.starts_with("NAME "));
    assert!(
        harness
            .run("token list")
            .await
            .out
            .starts_with("No tokens.")
    );
    assert!(
        harness
            .run("certificates issued")
            .await
            .out
            .starts_with("No certificates")
    );
    assert!(
        harness
            .run("operation list")
            .await
            .out
            .contains("cp3 did not start")
    );
    harness.run("audit --limit 7").await;
    assert_eq!(harness.fake.calls(), ["audit 7"]);
}

#[tokio::test]
async fn health_decides_the_exit_code() {
    let harness = Harness::new().await;
    let ran = harness.run("status").await;
    assert_eq!(ran.code, 3);
    assert!(
        ran.out.contains("degraded, tolerates no failure"),
        "{}",
        ran.out
    );
    harness.fake.status.lock().unwrap().clusters[0].health = "healthy".into();
    assert_eq!(harness.run("status prod").await.code, 0);
    let ran = harness.run("check").await;
    assert_eq!(ran.code, 3);
    assert!(ran.out.contains("× cp3  Port-6443"), "{}", ran.out);
}

#[tokio::test]
async fn revoking_wants_the_name() {
    let harness = Harness::new().await;
    let ran = harness.run("node revoke cp1").await;
    assert_eq!(ran.code, 2, "no terminal, no --yes: {}", ran.err);
    let ran = harness.run_with_input("node revoke cp1", "y\n").await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(harness.fake.calls(), Vec::<String>::new());
    let ran = harness.run_with_input("node revoke cp1", "cp1\n").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(harness.run("node revoke cp2 --yes").await.code, 0);
    assert_eq!(harness.run("user revoke bob --yes").await.code, 0);
    assert_eq!(
        harness.fake.calls(),
        ["revoke-node cp1", "revoke-node cp2", "revoke-user bob"]
    );
}

#[tokio::test]
async fn kubeconfig_in_a_file_of_its_own() {
    let harness = Harness::new().await;
    let ran = harness.run("kubeconfig prod --ttl 1h -f @out").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out, "", "keys do not go to the screen");
    let path = harness.path("out");
    let config: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        config["clusters"][0]["cluster"]["server"],
        "https://10.0.0.10:6443"
    );
    assert_eq!(
        config["users"][0]["name"], "root@prod",
        "our own name by default"
    );
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = harness.run("kubeconfig prod -f @out").await;
    assert_eq!(again.code, 1, "{}", again.err);
    assert_eq!(
        harness.fake.calls(),
        ["sign prod root 3600"],
        "nothing is signed in vain"
    );
    assert_eq!(
        harness
            .run("kubeconfig prod --user bob -f @out --force")
            .await
            .code,
        0
    );
    let printed = harness.run("kubeconfig prod -f -").await;
    assert!(
        printed.out.starts_with("apiVersion: v1\n"),
        "{}",
        printed.err
    );
}

#[tokio::test]
async fn etcd_access_is_a_folder() {
    let harness = Harness::new().await;
    harness.fake.status.lock().unwrap().clusters[0].distribution = Distribution::Etcd as i32;
    let ran = harness.run("kubeconfig prod -f @access").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let read = |name: &str| std::fs::read_to_string(harness.path("access").join(name)).unwrap();
    assert!(quorate_pki::pair_matches(
        &read("client.crt"),
        &read("client.key")
    ));
    assert!(quorate_pki::signed_by(&read("client.crt"), &read("ca.crt")).unwrap());
    assert!(read("etcdctl.env").contains("export ETCDCTL_ENDPOINTS='https://10.0.0.10:6443'\n"));
    assert_eq!(harness.run("kubeconfig prod -f -").await.code, 2);
}

#[tokio::test]
async fn a_new_user_can_call() {
    let harness = Harness::new().await;
    let ran = harness
        .run("user create bob --role viewer -o @bob.yaml")
        .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(harness.fake.calls(), ["create-user bob viewer"]);
    let places = Places {
        explicit: Some(harness.path("bob.yaml")),
        ..Places::default()
    };
    assert_eq!(context::load(&places).unwrap().user(), "bob");
    assert_eq!(
        harness.run("--context @bob.yaml nodes -o name").await.code,
        0
    );
    assert_eq!(
        harness
            .run("user create bob --role viewer -o @bob.yaml")
            .await
            .code,
        1
    );
    assert_eq!(
        harness.fake.calls().len(),
        1,
        "the file was there: nobody was asked"
    );
}

#[tokio::test]
async fn artifacts_are_sent_once() {
    let harness = Harness::new().await;
    std::fs::create_dir(harness.path("all")).unwrap();
    let large = "a: 1\n".repeat(200_000);
    harness.write("all/cni.yaml", &large);
    harness.write("all/README", "what nodes cannot use");
    let ran = harness.run("artifacts add @all").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err.contains("added cni.yaml (976.6 KiB)"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("skipped")
            && ran
                .err
                .contains("1 artifact added, 0 already there, 1 file skipped"),
        "{}",
        ran.err
    );
    let ran = harness.run("artifacts add @all/cni.yaml").await;
    assert!(
        ran.err.contains("0 artifacts added, 1 already there"),
        "{}",
        ran.err
    );
    assert_eq!(harness.fake.calls(), ["add cni.yaml"]);
    let ran = harness.run("artifacts add @all/README").await;
    assert_eq!(
        ran.code, 1,
        "a file that was named must be usable: {}",
        ran.err
    );
    assert!(
        harness
            .run("artifacts list -o wide")
            .await
            .out
            .contains("sha256:")
    );
}
