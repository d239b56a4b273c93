//! What monitoring gets, over a real connection.

use super::bench::*;
use crate::serve::metrics_listener;
use crate::store::Store;
use quorate_proto::v1::agent_message::Message as FromAgent;
use quorate_proto::v1::*;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The whole answer; empty: the connection was closed.
async fn ask(bench: &Bench, request: &str) -> String {
    let address = bench.daemon.metrics_address.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough closes before all is written.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = timeout(LIMIT, read).await.expect("no answer");
    String::from_utf8(answer).unwrap()
}

async fn get(bench: &Bench, path: &str) -> String {
    ask(bench, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
}

fn certificate(kind: &str, place: &str, not_after_unix: i64) -> CertificateInfo {
    CertificateInfo {
        kind: kind.into(),
        place: place.into(),
        not_after_unix,
        ..CertificateInfo::default()
    }
}

#[tokio::test]
async fn a_scrape_tells_of_nodes_and_their_certificates() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    bench.node("n2").await;
    let session = node.session().await;
    let mut unreadable = certificate("etcd-peer", "/peer.crt", 0);
    unreadable.problem = Some(Problem::new("certificate", "garbage"));
    let report = NodeReport {
        certificates: vec![
            certificate("api-server", "/api\"server.crt", 1_900_000_000),
            // A scrape with the same labels twice would be refused as a whole.
            certificate("api-server", "/api\"server.crt", 1_800_000_000),
            unreadable,
        ],
        ..NodeReport::default()
    };
    session.say(FromAgent::Report(report)).await;
    until(|| async { get(&bench, "/metrics").await.contains("api-server") }).await;
    let answer = get(&bench, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    let issued = bench
        .daemon
        .parts
        .authority
        .node(&node.id)
        .unwrap()
        .unwrap();
    let ca = bench.state().join("ca/ca.crt");
    for line in [
        format!("quorate_build_info{{version=\"{}\"}} 1", crate::serve::VERSION),
        "quorate_agents_connected 1".to_owned(),
        "quorate_agents_enrolled 2".to_owned(),
        "# TYPE quorate_certificate_expiry_timestamp_seconds gauge".to_owned(),
        ends("n1", "api-server", "/api\\\"server.crt", 1_800_000_000),
        ends("n1", "agent", "issued", issued.certificate_expires_unix),
        "quorate_certificate_unreadable{cluster=\"\",node=\"n1\",kind=\"etcd-peer\",place=\"/peer.crt\"} 1".to_owned(),
    ] {
        assert!(answer.lines().any(|found| found == line), "{line}\n{answer}");
    }
    assert!(answer.contains(&format!("kind=\"ca\",place=\"{}\"", ca.display())));
    let place = "place=\"/peer.crt\"";
    assert_eq!(
        answer.matches(place).count(),
        1,
        "an end that is not known is no end"
    );
    let admin = &mut bench.operator(&bench.admin).await;
    let gone = RevokeNodeRequest { name: "n1".into() };
    admin.revoke_node(gone).await.unwrap();
    let answer = get(&bench, "/metrics").await;
    assert!(!answer.contains("node=\"n1\""), "{answer}");
    assert!(answer.contains("\nquorate_agents_enrolled 1\n"), "{answer}");
}

fn ends(node: &str, kind: &str, place: &str, unix: i64) -> String {
    format!(
        "quorate_certificate_expiry_timestamp_seconds{{cluster=\"\",node=\"{node}\",kind=\"{kind}\",place=\"{place}\"}} {unix}"
    )
}

#[tokio::test]
async fn health_is_that_of_the_store() {
    let bench = Bench::new().await;
    let answer = get(&bench, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    let bench = bench.restart().await;
    bench.daemon.parts.store.close().await;
    let answer = get(&bench, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("the store is closed\n"), "{answer}");
}

#[tokio::test]
async fn nothing_else_is_served() {
    let bench = Bench::new().await;
    for (request, want) in [
        (
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            "HTTP/1.1 404 ",
        ),
        (
            "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "HTTP/1.1 405 ",
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(100_000)),
            "HTTP/1.1 4",
        ),
        (
            format!(
                "GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n",
                "x".repeat(100_000)
            ),
            "HTTP/1.1 4",
        ),
        (
            format!("GET /metrics HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100)),
            "HTTP/1.1 4",
        ),
        (
            "\u{16}\u{3}\u{1}".to_owned() + &"x".repeat(200),
            "HTTP/1.1 4",
        ),
    ] {
        let answer = ask(&bench, &request).await;
        let start: String = request.chars().take(30).collect();
        // One that is cut off may not even get the answer.
        let cut = answer.is_empty() && request.len() > 10_000;
        assert!(answer.starts_with(want) || cut, "{start}: {answer}");
    }
    let head = ask(&bench, "HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = holder.local_addr().unwrap();
    let store = Store::in_memory();
    assert!(metrics_listener(address, &store).is_none());
    let notices = store.notices();
    assert!(notices[0].contains(&address.to_string()), "{notices:?}");
}
