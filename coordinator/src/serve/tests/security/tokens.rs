//! Join tokens in the wrong hands, over the real enrolment port.

use super::super::bench::*;
use crate::server::problem;
use quorate_pki::{KeyRequest, pinned_client_config};
use quorate_proto::token::JoinToken;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tonic::Code;
use zeroize::Zeroizing;

/// Machines that try at once; fewer than the failures at which an address has to wait.
const AT_ONCE: usize = 9;

async fn code(bench: &Bench, token: &JoinToken, name: &str) -> String {
    let key = KeyRequest::generate().unwrap();
    let answer = bench.enroll(token, enroll_request(token, name, &key)).await;
    answer
        .err()
        .map_or("let in".to_owned(), |status| problem(&status).code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_machines_that_race_for_one_token_one_wins() {
    let bench = Arc::new(Bench::new().await);
    let token = bench.token("").await;
    let start = Arc::new(Barrier::new(AT_ONCE));
    let mut machines = tokio::task::JoinSet::new();
    for at in 0..AT_ONCE {
        let (bench, token, start) = (Arc::clone(&bench), token.clone(), Arc::clone(&start));
        machines.spawn(async move {
            start.wait().await;
            code(&bench, &token, &format!("n{at}")).await
        });
    }
    let mut codes = machines.join_all().await;
    codes.sort();
    let mut expected = vec!["denied-token-used"; AT_ONCE - 1];
    expected.push("let in");
    assert_eq!(codes, expected);
    assert_eq!(bench.daemon.parts.authority.nodes().unwrap().len(), 1);
}

#[tokio::test]
async fn guessing_is_stopped_and_tells_nothing() {
    let bench = Bench::new().await;
    let token = bench.token("n1").await;
    let wrong_secret = JoinToken {
        secret: Zeroizing::new("x".repeat(43)),
        ..token.clone()
    };
    let wrong_id = JoinToken {
        id: "01jd0000000000000000000000".to_owned(),
        ..token.clone()
    };
    let key = KeyRequest::generate().unwrap();
    let mut answers = Vec::new();
    for guess in [&wrong_secret, &wrong_id] {
        let refused = bench
            .enroll(guess, enroll_request(guess, "n1", &key))
            .await
            .unwrap_err();
        answers.push((
            refused.code(),
            refused.message().to_owned(),
            refused.details().to_vec(),
        ));
    }
    assert_eq!(
        answers[0], answers[1],
        "whether there is such a token is not to be learnt"
    );
    for _ in 2..10 {
        assert_eq!(code(&bench, &wrong_secret, "n1").await, "denied-token");
    }
    let refused = bench
        .enroll(&token, enroll_request(&token, "n1", &key))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    // Who has a certificate is not held up from the same address.
    let mut admin = bench.operator(&bench.admin).await;
    let audit = admin
        .list_audit(ListAuditRequest { limit: 100 })
        .await
        .unwrap()
        .into_inner();
    let refusals = audit
        .entries
        .iter()
        .filter(|entry| entry.what == "enroll-refused");
    assert_eq!(refusals.count(), 10);
}

#[tokio::test]
async fn a_token_serves_its_node_and_its_time_only() {
    let bench = Bench::new().await;
    let named = bench.token("n1").await;
    assert_eq!(code(&bench, &named, "n2").await, "denied-node-name");
    assert_eq!(code(&bench, &named, "n1").await, "let in");
    assert_eq!(code(&bench, &named, "n1").await, "denied-token-used");

    let mut admin = bench.operator(&bench.admin).await;
    let request = CreateTokenRequest {
        node: String::new(),
        ttl_seconds: 1,
    };
    let made = admin.create_token(request).await.unwrap().into_inner();
    let brief = JoinToken::decode(&made.token).unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(code(&bench, &brief, "n3").await, "denied-token-expired");
}

#[tokio::test]
async fn an_altered_pin_ends_before_the_token_is_sent() {
    let bench = Bench::new().await;
    let token = bench.token("n1").await;
    let pin = format!("sha256:{}", "0".repeat(64));
    let config = pinned_client_config(&pin).unwrap();
    assert!(dial(bench.daemon.enroll_address, config).await.is_err());
    // The coordinator has seen no try, and the token is good for who was meant.
    assert_eq!(code(&bench, &token, "n1").await, "let in");
    let mut admin = bench.operator(&bench.admin).await;
    let audit = admin
        .list_audit(ListAuditRequest { limit: 100 })
        .await
        .unwrap()
        .into_inner();
    assert!(
        audit
            .entries
            .iter()
            .all(|entry| entry.what != "enroll-refused")
    );
}
