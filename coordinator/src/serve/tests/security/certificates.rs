//! Certificates that are no longer, or not here, what they seem.

use super::super::bench::*;
use crate::server::problem;
use quorate_pki::{Authority, Identity, Leaf, Role, TlsMaterial, Usage, client_config};
use quorate_proto::v1::agent_message::Message as FromAgent;
use quorate_proto::v1::coordinator_message::Message as ToAgent;
use quorate_proto::v1::operator_client::OperatorClient;
use quorate_proto::v1::*;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;

/// The coordinator's own authority, as nobody but itself has it.
fn authority(bench: &Bench) -> Authority {
    let key = std::fs::read_to_string(bench.state().join("ca/ca.key")).unwrap();
    Authority::load(bench.daemon.parts.authority.ca_pem(), &key).unwrap()
}

fn issue(bench: &Bench, role: Role, id: &str, usage: Usage, validity: Duration) -> TlsMaterial {
    let identity = Identity::new(role, id).unwrap();
    let leaf = Leaf {
        common_name: id.to_owned(),
        organization: Vec::new(),
        names: Vec::new(),
        uri: Some(identity.to_uri()),
        usage,
        validity,
    };
    let made = authority(bench).issue(&leaf, SystemTime::now()).unwrap();
    TlsMaterial {
        cert_chain_pem: made.issued.cert_pem,
        key_pem: made.key_pem,
        ca_bundle_pem: bench.daemon.parts.authority.ca_pem().to_owned(),
    }
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate() {
    let bench = Bench::new().await;
    let short = Duration::from_secs(3);
    let brief = issue(&bench, Role::Admin, "brief", Usage::Client, short);
    let mut client = bench.operator(&brief).await;
    client.list_nodes(ListNodesRequest {}).await.unwrap();
    let refused = tokio::time::timeout(LIMIT, async {
        loop {
            if let Err(status) = client.list_nodes(ListNodesRequest {}).await {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let refused = refused.await.expect("it expired");
    assert_eq!(problem(&refused).code, "unauthenticated-expired");
    // And there is no new one.
    let again = dial(bench.daemon.session_address, client_config(&brief).unwrap()).await;
    let call = async {
        OperatorClient::new(again.ok()?)
            .list_nodes(ListNodesRequest {})
            .await
            .ok()
    };
    assert!(call.await.is_none());
}

#[tokio::test]
async fn a_node_that_is_not_on_record_is_nobody() {
    let bench = Bench::new().await;
    let day = Duration::from_secs(86_400);
    // Of the right authority and kind, but never enrolled: as after the record was removed.
    let stray = TestNode {
        address: bench.daemon.session_address,
        id: "01jd0000000000000000000001".to_owned(),
        material: issue(
            &bench,
            Role::Agent,
            "01jd0000000000000000000001",
            Usage::Client,
            day,
        ),
    };
    let mut client = stray.client().await.unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let fetch = client
        .fetch_artifact(FetchArtifactRequest { digest, offset: 0 })
        .await;
    assert_eq!(problem(&fetch.unwrap_err()).code, "denied-node");
    let renew = client.renew(RenewRequest::default()).await.unwrap_err();
    assert_eq!(problem(&renew).code, "denied-node");
    let session = client
        .session(tokio_stream::iter([AgentMessage::default()]))
        .await;
    assert_eq!(problem(&session.unwrap_err()).code, "denied-node");
}

#[tokio::test]
async fn a_certificate_for_the_other_side_is_none() {
    let bench = Bench::new().await;
    let day = Duration::from_secs(86_400);
    for (role, usage, good) in [
        (Role::Admin, Usage::Client, true),
        (Role::Admin, Usage::Server, false),
        (Role::Coordinator, Usage::Server, false),
        (Role::Coordinator, Usage::Client, false),
    ] {
        let material = issue(&bench, role, "x", usage, day);
        let channel = dial(
            bench.daemon.session_address,
            client_config(&material).unwrap(),
        )
        .await;
        let call = async {
            OperatorClient::new(channel.ok()?)
                .list_nodes(ListNodesRequest {})
                .await
                .ok()
        };
        assert_eq!(call.await.is_some(), good, "{role:?} {usage:?}");
    }
}

#[tokio::test]
async fn an_agent_speaks_for_itself_alone() {
    let bench = Bench::new().await;
    let (one, two) = (bench.node("n1").await, bench.node("n2").await);
    let mut honest = two.session().await;
    let liar = one.session().await;
    // Nothing in these messages names a node, so that what they say is about the sender, whatever is written in them.
    let report = NodeReport {
        sequence: 1,
        unix_ms: crate::clock::unix_ms(),
        host: Some(HostFacts {
            hostname: "n2".into(),
            cpus: 99,
            ..HostFacts::default()
        }),
        ..NodeReport::default()
    };
    liar.say(FromAgent::Report(report)).await;
    until(|| async { bench.listed("n1").await.host.is_some() }).await;
    assert!(bench.listed("n2").await.host.is_none());
    // A second hello in another name changes nothing.
    let hello = Hello {
        node_id: two.id.clone(),
        agent_version: "6.6.6".into(),
        ..Hello::default()
    };
    liar.say(FromAgent::Hello(hello)).await;
    liar.say(FromAgent::Heartbeat(Heartbeat::default())).await;
    let order = Acknowledge {
        id: "for-n2".to_owned(),
    };
    let message = CoordinatorMessage {
        message: Some(ToAgent::Acknowledge(order.clone())),
    };
    bench.daemon.parts.sessions.send("n2", message).unwrap();
    assert_eq!(honest.next().await, Some(ToAgent::Acknowledge(order)));
    let listed = bench.listed("n2").await;
    assert!(
        listed.connected && listed.agent_version == "1.2.3",
        "{listed:?}"
    );
}

#[tokio::test]
async fn a_revoked_agent_cannot_come_back_with_what_it_renewed() {
    let bench = Bench::new().await;
    let mut node = bench.node("n1").await;
    let key = quorate_pki::KeyRequest::generate().unwrap();
    let request = RenewRequest {
        csr_pem: key.csr_pem.clone(),
    };
    let renewed = node
        .client()
        .await
        .unwrap()
        .renew(request)
        .await
        .unwrap()
        .into_inner();
    node.material.cert_chain_pem = renewed.certificate_pem;
    node.material.key_pem = key.key_pem;
    let mut session = node.session().await;
    let mut admin = bench.operator(&bench.admin).await;
    let request = RevokeNodeRequest {
        name: "n1".to_owned(),
    };
    admin.revoke_node(request).await.unwrap();
    assert!(matches!(session.next().await, Some(ToAgent::Goodbye(_))));
    assert_eq!(session.next().await, None);
    let again = async {
        let mut client = node.client().await.ok()?;
        client.renew(RenewRequest::default()).await.ok()
    };
    assert!(again.await.is_none());
}

#[tokio::test]
async fn older_tls_and_plain_text_are_refused_on_both_ports() {
    let bench = Bench::new().await;
    for address in [bench.daemon.session_address, bench.daemon.enroll_address] {
        assert!(!answers(address, CLIENT_HELLO_OF_TLS_1_2).await);
        assert!(!answers(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await);
        assert!(!answers(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await);
    }
}

/// As TLS 1.2 begins: no extension that names a newer version.
const CLIENT_HELLO_OF_TLS_1_2: &[u8] = &[
    0x16, 0x03, 0x01, 0x00, 0x2f, 0x01, 0x00, 0x00, 0x2b, 0x03, 0x03, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
    0x00, 0x00, 0x04, 0xc0, 0x2b, 0xc0, 0x2f, 0x01, 0x00,
];

/// Whether anything but an alert comes back.
async fn answers(address: std::net::SocketAddr, bytes: &[u8]) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const ALERT: u8 = 0x15;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    // The other side closes; what it may say before that is an alert.
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut heard))
        .await
        .expect("it is closed");
    !heard.is_empty() && heard[0] != ALERT
}
