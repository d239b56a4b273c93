//! Enrolment against a real TLS server: what is sent, when, and what stays on disk.

use super::*;
use crate::testing::{self, Answers, Coordinator, soon};
use std::sync::Arc;

const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";

struct Place {
    _folder: tempfile::TempDir,
    paths: Paths,
    coordinator: Coordinator,
    token: JoinToken,
}

async fn place(answers: Answers) -> Place {
    let folder = tempfile::tempdir().expect("folder");
    let authority = Arc::new(testing::authority());
    let answers = Answers {
        enrolment: true,
        ..answers
    };
    let coordinator = Coordinator::start(authority.clone(), answers).await;
    let token = JoinToken {
        id: "01jd".to_owned(),
        secret: Zeroizing::new(SECRET.to_owned()),
        pin: authority.spki_pin(),
        enroll: coordinator.endpoint.clone(),
        session: "127.0.0.1:7443".to_owned(),
        further: Vec::new(),
        node: "node-1".to_owned(),
    };
    Place {
        paths: Paths::under(folder.path()),
        _folder: folder,
        coordinator,
        token,
    }
}

impl Place {
    async fn enroll(&self, force: bool) -> Result<AgentIdentity, Problem> {
        let options = Options { name: None, force };
        soon("the enrolment", enroll(&self.paths, &self.token, options)).await
    }

    fn sent(&self) -> Vec<(String, String)> {
        self.coordinator.enrolments.lock().expect("lock").clone()
    }
}

#[tokio::test]
async fn makes_an_identity() {
    let place = place(Answers::default()).await;
    let identity = place.enroll(false).await.expect("enrolled");
    assert_eq!(identity.node_name, "node-1");
    let loaded = AgentIdentity::load(&place.paths)
        .expect("readable")
        .expect("there");
    assert_eq!(loaded.endpoints, ["127.0.0.1:7443"]);
    assert!(!pending_file(&place.paths).exists());
    assert_eq!(place.sent()[0].0, SECRET);
    // Neither the secret nor anything of the key crosses or stays where it should not.
    let stored = files::read_text(&place.paths.identity().join("agent.json")).expect("read");
    assert!(!stored.contains(SECRET));
}

#[tokio::test]
async fn a_wrong_pin_sends_no_token() {
    let mut place = place(Answers::default()).await;
    place.token.pin = format!("sha256:{}", "0a".repeat(32));
    let problem = place.enroll(false).await.expect_err("enrolled");
    assert_eq!(problem.code, "pin-mismatch");
    assert!(place.sent().is_empty());
    assert!(!place.paths.identity().exists());
    assert!(!format!("{problem:?}").contains(SECRET));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_with_the_same_key() {
    let place = place(Answers {
        lost: 1,
        ..Answers::default()
    })
    .await;
    place.enroll(false).await.expect("enrolled");
    let sent = place.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].1, sent[1].1);
}

#[tokio::test]
async fn a_key_survives_a_run_that_failed() {
    let place = place(Answers {
        lost: usize::try_from(ATTEMPTS).expect("small"),
        ..Answers::default()
    })
    .await;
    assert!(place.enroll(false).await.is_err());
    assert!(!place.paths.identity().exists());
    place.enroll(false).await.expect("enrolled");
    let sent = place.sent();
    assert!(sent.iter().all(|(_, csr)| *csr == sent[0].1));
}

#[tokio::test]
async fn a_refused_token_is_named_and_not_tried_again() {
    let place = place(Answers {
        enroll: Some(Status::unauthenticated("the token has expired")),
        ..Answers::default()
    })
    .await;
    let problem = place.enroll(false).await.expect_err("enrolled");
    assert_eq!(problem.code, "token-refused");
    assert_eq!(problem.cause, "the token has expired");
    assert_eq!(place.sent().len(), 1);
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let mut place = place(Answers::default()).await;
    place.token.enroll = "127.0.0.1:1".to_owned();
    let problem = place.enroll(false).await.expect_err("enrolled");
    assert_eq!(problem.code, "coordinator-unreachable");
}

#[tokio::test]
async fn an_enrolled_node_is_left_alone_unless_forced() {
    let place = place(Answers::default()).await;
    place.enroll(false).await.expect("enrolled");
    let problem = place.enroll(false).await.expect_err("enrolled again");
    assert_eq!(problem.code, "already-enrolled");
    assert_eq!(place.sent().len(), 1);
    files::write_atomic(&place.paths.state().join("fence.json"), b"{}", 0o600).expect("fence");
    files::write_atomic(&place.paths.journal().join("x"), b"", 0o600).expect("journal");
    place.enroll(true).await.expect("enrolled again");
    assert!(!place.paths.state().join("fence.json").exists());
    assert!(!place.paths.journal().exists());
}

#[tokio::test]
async fn any_of_the_tokens_addresses_will_do() {
    let mut place = place(Answers::default()).await;
    let answers = place.token.enroll.clone();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    place.token.enroll = silent.local_addr().expect("address").to_string();
    drop(silent);
    place.token.further = vec![quorate_proto::token::Address {
        enroll: answers,
        session: "127.0.0.1:7453".to_owned(),
    }];
    let identity = place.enroll(false).await.expect("enrolled");
    assert_eq!(identity.endpoints, ["127.0.0.1:7443", "127.0.0.1:7453"]);
}

#[tokio::test]
async fn the_coordinator_is_looked_for_elsewhere() {
    let place = place(Answers::default()).await;
    let elsewhere = ["new.example:7443".to_owned()];
    let problem = lead_to(&place.paths, &elsewhere).await.expect_err("led");
    assert_eq!(problem.code, "not-enrolled");
    place.enroll(false).await.expect("enrolled");
    let wrong = ["new.example".to_owned()];
    let problem = lead_to(&place.paths, &wrong).await.expect_err("led");
    assert_eq!(problem.code, "endpoint-malformed");
    lead_to(&place.paths, &elsewhere).await.expect("led");
    let loaded = AgentIdentity::load(&place.paths)
        .expect("readable")
        .expect("there");
    assert_eq!(loaded.endpoints, ["new.example:7443", "127.0.0.1:7443"]);
}

#[test]
fn names() {
    let folder = tempfile::tempdir().expect("folder");
    let paths = Paths::under(folder.path());
    files::write_atomic(&paths.at("/proc/sys/kernel/hostname"), b"Host-1\n", 0o644).expect("name");
    let token = |node: &str| JoinToken {
        id: "x".to_owned(),
        secret: Zeroizing::new(SECRET.to_owned()),
        pin: String::new(),
        enroll: String::new(),
        session: String::new(),
        further: Vec::new(),
        node: node.to_owned(),
    };
    let name = |node: &str, asked: Option<&str>| {
        node_name(&paths, &token(node), asked.map(str::to_owned)).map_err(|problem| problem.code)
    };
    assert_eq!(name("", None), Ok("host-1".to_owned()));
    assert_eq!(name("", Some("n2")), Ok("n2".to_owned()));
    assert_eq!(name("n1", None), Ok("n1".to_owned()));
    assert_eq!(name("n1", Some("n1")), Ok("n1".to_owned()));
    assert_eq!(
        name("n1", Some("n2")),
        Err("token-of-another-node".to_owned())
    );
    assert_eq!(name("", Some("a/b")), Err("node-name".to_owned()));
}
