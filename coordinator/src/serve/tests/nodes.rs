//! Nodes from their token to their end.

use super::bench::*;
use quorate_pki::KeyRequest;
use quorate_proto::v1::agent_message::Message as FromAgent;
use quorate_proto::v1::coordinator_message::Message as ToAgent;
use quorate_proto::v1::*;
use tonic::Code;

#[tokio::test]
async fn a_session_shows_in_the_list() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    assert!(!bench.listed("n1").await.connected);
    let mut session = node.open(&node.id).await;
    let Some(ToAgent::Welcome(welcome)) = session.next().await else {
        panic!("no welcome");
    };
    assert_eq!(welcome.epoch, bench.daemon.parts.tenure.epoch());
    assert_eq!(welcome.endpoints, ["localhost:7443"]);
    assert!(matches!(session.next().await, Some(ToAgent::Pace(_))));
    let report = NodeReport {
        sequence: 1,
        unix_ms: crate::clock::unix_ms(),
        host: Some(HostFacts {
            cpus: 3,
            ..HostFacts::default()
        }),
        ..NodeReport::default()
    };
    session.say(FromAgent::Report(report)).await;
    until(|| async { bench.listed("n1").await.host.is_some() }).await;
    let listed = bench.listed("n1").await;
    assert!(listed.connected && listed.last_seen_unix_ms > 0);
    assert_eq!(
        (listed.agent_version.as_str(), listed.host.unwrap().cpus),
        ("1.2.3", 3)
    );
    assert!(listed.peer_address.starts_with("127.0.0.1:"));

    // Answered, so that the agent knows until when it was heard.
    let beat = Heartbeat {
        sequence: 7,
        unix_ms: 1,
    };
    session.say(FromAgent::Heartbeat(beat)).await;
    assert_eq!(session.next().await, Some(ToAgent::Heard(beat)));

    session.say(FromAgent::Goodbye(Goodbye::default())).await;
    assert_eq!(session.next().await, None);
    until(|| async { !bench.listed("n1").await.connected }).await;
}

#[tokio::test]
async fn a_newer_session_ends_the_older_one() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    let mut old = node.session().await;
    let mut new = node.session().await;
    assert_eq!(old.next().await, None);
    until(|| async { bench.listed("n1").await.connected }).await;
    let acknowledge = Acknowledge { id: "x".to_owned() };
    let message = CoordinatorMessage {
        message: Some(ToAgent::Acknowledge(acknowledge.clone())),
    };
    bench.daemon.parts.sessions.send("n1", message).unwrap();
    assert_eq!(new.next().await, Some(ToAgent::Acknowledge(acknowledge)));
}

#[tokio::test]
async fn a_hello_of_another_node_is_refused() {
    let bench = Bench::new().await;
    let (one, two) = (bench.node("n1").await, bench.node("n2").await);
    let mut session = one.open(&two.id).await;
    assert!(matches!(session.next().await, Some(ToAgent::Goodbye(_))));
    assert_eq!(session.next().await, None);
    assert!(!bench.listed("n1").await.connected && !bench.listed("n2").await.connected);
}

#[tokio::test]
async fn a_revoked_node_is_out_at_once() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    let mut session = node.session().await;
    let mut client = node.client().await.unwrap();
    let mut admin = bench.operator(&bench.admin).await;
    admin
        .revoke_node(RevokeNodeRequest {
            name: "n1".to_owned(),
        })
        .await
        .unwrap();
    assert!(matches!(session.next().await, Some(ToAgent::Goodbye(_))));
    assert_eq!(session.next().await, None);
    let key = KeyRequest::generate().unwrap();
    let refused = client
        .renew(RenewRequest {
            csr_pem: key.csr_pem.clone(),
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let again = async {
        let mut client = node.client().await.ok()?;
        client
            .renew(RenewRequest {
                csr_pem: key.csr_pem,
            })
            .await
            .ok()
    };
    assert!(again.await.is_none());
    let nodes = admin
        .list_nodes(ListNodesRequest {})
        .await
        .unwrap()
        .into_inner()
        .nodes;
    assert!(nodes.len() == 1 && nodes[0].revoked);
}

#[tokio::test]
async fn a_renewed_certificate_serves_as_the_old_one_did() {
    let bench = Bench::new().await;
    let mut node = bench.node("n1").await;
    let key = KeyRequest::generate().unwrap();
    let mut client = node.client().await.unwrap();
    let granted = client
        .renew(RenewRequest {
            csr_pem: key.csr_pem.clone(),
        })
        .await
        .unwrap()
        .into_inner();
    node.session().await;
    node.material.cert_chain_pem = granted.certificate_pem;
    node.material.key_pem = key.key_pem;
    node.session().await;
}

#[tokio::test]
async fn a_stop_says_goodbye_and_a_start_has_a_higher_epoch() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    let mut session = node.session().await;
    let before = bench.daemon.parts.tenure.epoch();
    let bench = bench.restart().await;
    assert!(matches!(session.next().await, Some(ToAgent::Goodbye(_))));
    assert_eq!(session.next().await, None);
    assert!(bench.daemon.parts.tenure.epoch() > before);
    let node = TestNode {
        address: bench.daemon.session_address,
        ..node
    };
    let _session = node.session().await;
    until(|| async { bench.listed("n1").await.connected }).await;
}

#[tokio::test]
async fn an_old_copy_of_the_state_is_noticed() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    let session = node.session().await;
    drop(session);
    assert!(bench.daemon.parts.store.notices().is_empty());
    let (say, messages) = tokio::sync::mpsc::channel(1);
    let hello = Hello {
        node_id: node.id.clone(),
        highest_epoch: u64::MAX,
        ..Hello::default()
    };
    say.send(AgentMessage {
        message: Some(FromAgent::Hello(hello)),
    })
    .await
    .unwrap();
    let mut client = node.client().await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut hear = client.session(stream).await.unwrap().into_inner();
    hear.message().await.unwrap();
    let notices = bench.daemon.parts.store.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("newer coordinator"),
        "{notices:?}"
    );
}
