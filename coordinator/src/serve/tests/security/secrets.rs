//! Secrets that are planted in every flow and looked for everywhere afterwards: they are nowhere.

use super::super::bench::*;
use quorate_pki::KeyRequest;
use quorate_proto::v1::agent_message::Message as FromAgent;
use quorate_proto::v1::*;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

const SEALED: &str = "sealed-material-that-nobody-keeps-4f1c";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// The longest line of a key: what any part of it in a log would hold.
fn heart(pem: &str) -> String {
    pem.lines()
        .filter(|line| !line.starts_with('-'))
        .max_by_key(|line| line.len())
        .unwrap()
        .to_owned()
}

fn contains(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes())
}

fn assert_absent(folder: &Path, secrets: &[(&str, String)], seen: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_absent(&path, secrets, seen);
            continue;
        }
        *seen += 1;
        let bytes = fs::read(&path).unwrap();
        for (what, secret) in secrets {
            assert!(!contains(&bytes, secret), "{what} is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn secrets_are_in_no_file_no_answer_and_no_log() {
    let log = Log::default();
    // All that an operator could switch on to look for a fault of ours.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("debug,quorate=trace,quorate_pki=trace"))
        .with_writer(log.clone())
        .finish();
    // For this thread, which is where all tasks of this test run.
    let guard = tracing::subscriber::set_default(subscriber);
    let bench = Bench::new().await;
    let unused = bench.token("n9").await;
    let token = bench.token("n1").await;
    let key = KeyRequest::generate().unwrap();
    let request = enroll_request(&token, "n1", &key);
    let debugged = format!("{request:?} {token:?} {key:?}");
    let enrolled = bench.enroll(&token, request).await.unwrap();
    // Replays and guesses are written down, but not what was guessed with.
    let other = KeyRequest::generate().unwrap();
    bench
        .enroll(&token, enroll_request(&token, "n1", &other))
        .await
        .unwrap_err();
    let mut guess = enroll_request(&unused, "n9", &other);
    guess.token_secret.push('x');
    bench.enroll(&unused, guess).await.unwrap_err();
    let user = bench.user("eve", "viewer").await;
    let node = TestNode {
        address: bench.daemon.session_address,
        id: enrolled.node_id,
        material: quorate_pki::TlsMaterial {
            cert_chain_pem: enrolled.certificate_pem,
            key_pem: key.key_pem.clone(),
            ca_bundle_pem: enrolled.ca_bundle_pem,
        },
    };
    let session = node.session().await;
    // A result with secrets that nobody asked for.
    let done = OrderDone {
        result: Some(OrderResult {
            id: "01JD0000000000000000000001".to_owned(),
            ..OrderResult::default()
        }),
        sealed: SEALED.as_bytes().to_vec(),
        ..OrderDone::default()
    };
    let printed = format!("{done:?} {:?}", FromAgent::Done(done.clone()));
    session.say(FromAgent::Done(done)).await;
    session
        .say(FromAgent::Report(NodeReport {
            sequence: 1,
            host: Some(HostFacts::default()),
            ..NodeReport::default()
        }))
        .await;
    until(|| async { bench.listed("n1").await.host.is_some() }).await;

    let mut admin = bench.operator(&bench.admin).await;
    let audit = admin
        .list_audit(ListAuditRequest { limit: 1000 })
        .await
        .unwrap()
        .into_inner();
    let tokens = admin
        .list_tokens(ListTokensRequest {})
        .await
        .unwrap()
        .into_inner();
    let nodes = admin
        .list_nodes(ListNodesRequest {})
        .await
        .unwrap()
        .into_inner();
    let status = admin
        .status(StatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    let certificates = admin
        .list_certificates(ListCertificatesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let answers = format!("{audit:?} {tokens:?} {nodes:?} {status:?} {certificates:?}");
    assert!(audit.entries.len() >= 5, "the flows were taken");

    let secrets = [
        ("a token that was used", token.secret.to_string()),
        ("a token that was not", unused.secret.to_string()),
        ("an agent's key", heart(&key.key_pem)),
        ("a user's key", heart(&user.key_pem)),
        ("the first admin's key", heart(&bench.admin.key_pem)),
        ("sealed material", SEALED.to_owned()),
    ];
    // A start writes an export of all that there is.
    let bench = bench.restart().await;
    let mut seen = 0;
    assert_absent(&bench.state(), &secrets, &mut seen);
    assert!(seen >= 5, "there are files to look into");
    drop(guard);
    let log = log.0.lock().unwrap().clone();
    assert!(contains(&log, "enrolled a node"), "the log was taken");
    let ca_key = fs::read_to_string(bench.state().join("ca/ca.key")).unwrap();
    for (what, secret) in secrets
        .iter()
        .chain(&[("the authority's key", heart(&ca_key))])
    {
        for (place, text) in [
            ("the log", log.as_slice()),
            ("answers", answers.as_bytes()),
            ("what is printed of messages", printed.as_bytes()),
            ("what is printed of requests", debugged.as_bytes()),
        ] {
            assert!(!contains(text, secret), "{what} is in {place}");
        }
    }
}
