//! Whether other machines can be reached from here on the ports that the cluster uses.

use super::finding::{fatal, ok};
use quorate_proto::v1::{Finding, PeerPort, Problem};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A connection across a slow network, with one lost packet sent again.
const CONNECT: Duration = Duration::from_secs(3);
/// Connections tried at once: a large cluster is through in seconds, a firewall sees no scan.
const AT_ONCE: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
    Silent(String),
}

pub async fn check(peers: &[PeerPort]) -> Vec<Finding> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut tries = JoinSet::new();
    for peer in peers {
        let (peer, gate) = (peer.clone(), gate.clone());
        tries.spawn(async move {
            let turn = gate.acquire_owned().await;
            let answer = connect(&peer).await;
            drop(turn);
            judge(&peer, &answer)
        });
    }
    let mut findings = tries.join_all().await;
    findings.sort_by(|one, other| one.name.cmp(&other.name));
    findings
}

async fn connect(peer: &PeerPort) -> Answer {
    let (Ok(address), Ok(port)) = (peer.address.parse::<IpAddr>(), u16::try_from(peer.port)) else {
        return Answer::Silent("that is no address".into());
    };
    let target = SocketAddr::new(address, port);
    match tokio::time::timeout(CONNECT, TcpStream::connect(target)).await {
        Ok(Ok(_)) => Answer::Accepted,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Answer::Refused,
        Ok(Err(error)) => Answer::Silent(error.to_string()),
        Err(_) => Answer::Silent(format!("no answer within {} s", CONNECT.as_secs())),
    }
}

fn judge(peer: &PeerPort, answer: &Answer) -> Finding {
    let name = format!("Reach-{}-{}", peer.node, peer.port);
    let target = format!(
        "{}:{} ({}) of {}",
        peer.address, peer.port, peer.purpose, peer.node
    );
    match answer {
        Answer::Accepted => ok(name, format!("{target} accepts")),
        Answer::Refused if !peer.required => {
            ok(name, format!("{target} is reachable, nothing listens there yet"))
        }
        Answer::Refused => fatal(
            name,
            Problem::new("peer-refused", format!("{target} refuses connections"))
                .at(target)
                .because("the service there is down or listens on another address, or a firewall rejects")
                .next("start the service on that node"),
        ),
        Answer::Silent(reason) => fatal(
            name,
            Problem::new("peer-unreachable", format!("{target} is not reachable: {reason}"))
                .at(target)
                .because("a firewall drops the packets, there is no route, or the machine is down")
                .next(format!("let TCP port {} through from this node", peer.port)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good};

    fn peer(port: u32, required: bool) -> PeerPort {
        PeerPort {
            node: "n2".into(),
            address: "127.0.0.1".into(),
            port,
            purpose: "etcd peers".into(),
            required,
        }
    }

    #[test]
    fn refusal_is_an_answer_silence_is_not() {
        for (required, answer, expected) in [
            (false, Answer::Accepted, Good),
            (true, Answer::Accepted, Good),
            (false, Answer::Refused, Good),
            (true, Answer::Refused, Fatal),
            (false, Answer::Silent("x".into()), Fatal),
        ] {
            let finding = judge(&peer(2380, required), &answer);
            assert_eq!(finding.severity(), expected, "{required} {answer:?}");
            assert_eq!(finding.name, "Reach-n2-2380");
        }
    }

    #[tokio::test]
    async fn real_connections_are_told_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let open = u32::from(listener.local_addr().expect("address").port());
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let shut = u32::from(closed.local_addr().expect("address").port());
        drop(closed);
        assert_eq!(connect(&peer(open, true)).await, Answer::Accepted);
        assert_eq!(connect(&peer(shut, true)).await, Answer::Refused);
        assert!(matches!(
            connect(&peer(70_000, true)).await,
            Answer::Silent(_)
        ));
        let findings = check(&[peer(shut, true), peer(open, true)]).await;
        let fatal = findings
            .iter()
            .filter(|finding| finding.severity() == Fatal);
        assert_eq!((findings.len(), fatal.count()), (2, 1));
    }
}
