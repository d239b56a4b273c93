//! What is said when there is no connection, or the answer is no.

use super::fake::Fake;
use super::harness::{Harness, context};
use super::listener::{authority, leaf, listen};
use crate::cli::context::Context;
use quorate_pki::Role;
use quorate_proto::v1::Problem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Runs `nodes` with another context.
async fn nodes_with(change: impl FnOnce(&mut Context, &Fake)) -> super::harness::Ran {
    let mut harness = Harness::new().await;
    let fake = Arc::clone(&harness.fake);
    change(&mut harness.context, &fake);
    harness.run("nodes").await
}

#[tokio::test]
async fn refusals_are_shown_in_four_parts() {
    let harness = Harness::new().await;
    let problem = Problem::new("refused-token", "no more tokens")
        .at("coordinator")
        .because("many")
        .next("wait");
    *harness.fake.refuses.lock().unwrap() = Some(problem);
    let ran = harness.run("token create").await;
    assert_eq!(ran.code, 5);
    assert_eq!(
        ran.err,
        "error: no more tokens\n  where: coordinator\n  cause: many\n  next:  wait\n"
    );
    assert_eq!(ran.out, "");
}

#[tokio::test]
async fn nothing_listens() {
    let ran = nodes_with(|context, _| context.server = "127.0.0.1:1".into()).await;
    assert_eq!(ran.code, 4);
    assert!(
        ran.err.contains("nothing listens")
            && ran.err.contains("systemctl status quorate-coordinator"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn another_authority() {
    let other = authority("other");
    let ran = nodes_with(|context, _| context.ca_pem = other.cert_pem().to_owned()).await;
    assert_eq!(ran.code, 4);
    assert!(
        ran.err.contains("not from the context's authority"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn a_stranger_is_told_so() {
    let other = authority("other");
    let ran = nodes_with(|own, fake| {
        let stranger = context(&other, &own.server);
        *own = Context {
            ca_pem: fake.ca.cert_pem().to_owned(),
            ..stranger
        };
    })
    .await;
    assert_eq!(ran.code, 4);
    assert!(
        ran.err.contains("does not accept your certificate"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("quorate user create"), "{}", ran.err);
}

#[tokio::test]
async fn a_revoked_certificate() {
    let mut harness = Harness::new().await;
    let ca = &harness.fake.ca;
    let serial = quorate_pki::inspect_pem(&harness.context.cert_pem).unwrap()[0]
        .serial
        .clone();
    let now = SystemTime::now();
    let crl = ca
        .revocation_list(&[(serial, now)], now, now + Duration::from_secs(3600))
        .unwrap();
    let address = listen(ca, "127.0.0.1", Some(&crl), Arc::clone(&harness.fake)).await;
    harness.context.server = address.to_string();
    let ran = harness.run("nodes").await;
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("cause: it was revoked"), "{}", ran.err);
}

#[tokio::test]
async fn an_ended_certificate_is_noticed_here() {
    let ran = nodes_with(|context, fake| {
        let then = SystemTime::now() - Duration::from_secs(10 * 86_400);
        let pair = fake.ca.issue(&leaf(Role::Admin, "root"), then).unwrap();
        (context.cert_pem, context.key_pem) = (pair.issued.cert_pem, pair.key_pem);
    })
    .await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("your certificate ended on"), "{}", ran.err);
}

#[tokio::test]
async fn another_name() {
    let mut harness = Harness::new().await;
    let address = listen(
        &harness.fake.ca,
        "192.0.2.1",
        None,
        Arc::clone(&harness.fake),
    )
    .await;
    harness.context.server = address.to_string();
    let ran = harness.run("nodes").await;
    assert_eq!(ran.code, 4);
    assert!(
        ran.err.contains("certificate is for another name"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn no_context_at_all() {
    let harness = Harness::new().await;
    let ran = harness.run("--context @missing.yaml nodes").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("missing.yaml"), "{}", ran.err);
}
