//! Too much, too slow, or without an end: bounded, and everybody else is served meanwhile.

use super::super::bench::*;
use crate::server::gate::{Bound, Limits};
use crate::server::{bind, listener};
use quorate_pki::{client_config, pinned_client_config};
use quorate_proto::limits::{MAX_ENROLL_BYTES, MAX_MESSAGE_BYTES};
use quorate_proto::v1::operator_client::OperatorClient;
use quorate_proto::v1::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::metadata::MetadataValue;

/// More than one caller needs, and far less than the bounds.
const MANY: usize = 200;

async fn is_served(bench: &Bench) -> bool {
    let mut admin = bench.operator(&bench.admin).await;
    let list = admin.list_nodes(ListNodesRequest {});
    timeout(LIMIT / 2, list)
        .await
        .is_ok_and(|answer| answer.is_ok())
}

#[tokio::test]
async fn connections_that_say_nothing_or_almost_nothing_hold_up_nobody() {
    let bench = Bench::new().await;
    let mut slow = Vec::new();
    for address in [bench.daemon.session_address, bench.daemon.enroll_address] {
        for at in 0..MANY {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if at % 2 == 0 {
                // The head of a handshake message whose rest never comes.
                stream
                    .write_all(&[0x16, 0x03, 0x01, 0x40, 0x00, 0x01])
                    .await
                    .unwrap();
            }
            slow.push(stream);
        }
    }
    assert!(is_served(&bench).await);
    let token = bench.token("n1").await;
    bench.node("n2").await;
    assert!(!token.secret.is_empty());
    // Ten seconds for a handshake; a byte now and then does not make it longer.
    let mut dripping = slow.swap_remove(0);
    let drip = async {
        loop {
            if dripping.write_all(&[0]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_secs(15), drip)
        .await
        .expect("it is closed");
    for mut stream in slow {
        let ended = timeout(LIMIT, stream.read(&mut [0; 16]))
            .await
            .expect("it is closed");
        // An alert at most, then the end.
        assert!(ended.is_err() || ended.is_ok_and(|read| read <= 16));
    }
}

#[tokio::test]
async fn beyond_its_share_an_address_is_turned_away_and_others_are_not() {
    let bench = Bench::new().await;
    let listening = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listening.local_addr().unwrap();
    let bound = Bound { total: 5, each: 3 };
    let limits = Limits {
        handshakes: bound,
        connections: bound,
    };
    let stop = CancellationToken::new();
    let authority = Arc::clone(&bench.daemon.parts.authority);
    let config = move || authority.mutual_config();
    let mut accepted = listener::accept(listening, config, limits, stop.clone());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let mut fourth = TcpStream::connect(address).await.unwrap();
    let end = timeout(LIMIT, fourth.read(&mut [0; 1]))
        .await
        .expect("turned away at once");
    assert!(matches!(end, Ok(0) | Err(_)));
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = socket.connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client_config(&bench.admin).unwrap()));
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let shaken = timeout(LIMIT, connector.connect(name, other))
        .await
        .expect("not held up");
    assert!(shaken.is_ok());
    assert!(
        timeout(LIMIT, accepted.next())
            .await
            .expect("it is served")
            .is_some()
    );
    drop(held);
    stop.cancel();
}

/// After the handshake nothing, or half of what HTTP/2 begins with: an enrolment's connection lives for half a minute.
#[tokio::test]
async fn an_enrolment_that_never_begins_is_ended() {
    let bench = Bench::new().await;
    let pin = bench.token("").await.pin;
    let mut ends = tokio::task::JoinSet::new();
    for said in [
        &b""[..],
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
    ] {
        let connector = TlsConnector::from(Arc::new(pinned_client_config(&pin).unwrap()));
        let address = bench.daemon.enroll_address;
        ends.spawn(async move {
            let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            stream.write_all(said).await.unwrap();
            stream.flush().await.unwrap();
            // What it says in between (settings, pings) is read and not answered.
            let end = async {
                while matches!(stream.read(&mut [0; 1024]).await, Ok(read) if read > 0) {}
            };
            timeout(Duration::from_secs(45), end).await.is_ok()
        });
    }
    assert!(is_served(&bench).await);
    assert_eq!(ends.join_all().await, [true; 3]);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_connection_goes_on() {
    let bench = Bench::new().await;
    let mut admin = bench.operator(&bench.admin).await;
    let plan = PlanRequest {
        file: "x".repeat(MAX_MESSAGE_BYTES),
        ..PlanRequest::default()
    };
    let refused = admin.plan(plan).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    admin.list_nodes(ListNodesRequest {}).await.unwrap();

    let node = bench.node("n1").await;
    let mut session = node.session().await;
    let report = NodeReport {
        host: Some(HostFacts {
            os: "x".repeat(MAX_MESSAGE_BYTES),
            ..HostFacts::default()
        }),
        ..NodeReport::default()
    };
    session.say(agent_message::Message::Report(report)).await;
    assert_eq!(
        session.next().await,
        None,
        "the session ends, and the report is not taken"
    );
    assert!(bench.listed("n1").await.host.is_none());

    let token = bench.token("n2").await;
    let key = quorate_pki::KeyRequest::generate().unwrap();
    let mut request = enroll_request(&token, "n2", &key);
    request.machine_id = "m".repeat(MAX_ENROLL_BYTES);
    assert_eq!(
        bench.enroll(&token, request).await.unwrap_err().code(),
        Code::OutOfRange
    );
    bench
        .enroll(&token, enroll_request(&token, "n2", &key))
        .await
        .unwrap();
}

#[tokio::test]
async fn headers_are_bounded() {
    let bench = Bench::new().await;
    let config = client_config(&bench.admin).unwrap();
    let channel = dial(bench.daemon.session_address, config).await.unwrap();
    let mut client = OperatorClient::new(channel);
    let mut request = tonic::Request::new(ListNodesRequest {});
    let long = MetadataValue::try_from("x".repeat(64 * 1024)).unwrap();
    request.metadata_mut().insert("x-long", long);
    assert!(
        timeout(LIMIT, client.list_nodes(request))
            .await
            .expect("an answer")
            .is_err()
    );
    assert!(is_served(&bench).await);
}

#[tokio::test]
async fn streams_without_an_end_leave_room_for_others() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    let other = bench.node("n2").await;
    // As many calls as a connection may have, each a session that never says hello.
    let mut client = node.client().await.unwrap();
    let mut open = Vec::new();
    for _ in 0..64 {
        let silent = tokio_stream::pending::<AgentMessage>();
        open.push(client.session(silent).await.unwrap().into_inner());
    }
    let session = other.session().await;
    assert!(is_served(&bench).await);
    session
        .say(agent_message::Message::Heartbeat(Heartbeat::default()))
        .await;
    assert!(bench.listed("n2").await.connected);
    // Who says nothing is shown out.
    for stream in &mut open {
        let first = timeout(Duration::from_secs(15), stream.message())
            .await
            .expect("an end");
        let goodbye = first.ok().flatten().and_then(|message| message.message);
        assert!(matches!(
            goodbye,
            Some(coordinator_message::Message::Goodbye(_))
        ));
    }
    assert!(!bench.listed("n1").await.connected);
}

#[tokio::test]
async fn metrics_are_served_past_slow_readers() {
    let bench = Bench::new().await;
    let address: SocketAddr = bench.daemon.metrics_address.unwrap();
    let mut slow = Vec::new();
    for _ in 0..15 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /met").await.unwrap();
        slow.push(stream);
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut stream in slow {
        let mut rest = Vec::new();
        // Five seconds for the request's lines.
        let _ = timeout(LIMIT, stream.read_to_end(&mut rest))
            .await
            .expect("it is closed");
    }
}
