//! Holds clients of one port of this machine back for a moment: their packets are dropped, and TCP sends them again. No connection
//! ends and nothing is lost. New connections are let in, as a first packet that is dropped is sent again only after a second. The kernel itself ends each hold after a fixed time, whatever becomes of who asked for it.
//!
//! Whether a machine holds can be seen from others: while it does, and has said that it is [`Hold::ready`], it refuses connections
//! that come from [`SIGNAL_PORT`], which no client of a service comes from.

use super::tool::Tool;
use quorate_proto::v1::Problem;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// The longest that clients may be held: etcd's and Kubernetes' own clients and health checks wait for two seconds and more.
pub const LONGEST: Duration = Duration::from_millis(1000);
/// From its beginning on until when a machine shows that it holds: what follows from having seen it has the rest of [`LONGEST`].
const SHOWN: Duration = Duration::from_millis(700);
/// This machine's own caller comes from here on the loopback, and is not held.
pub const EXEMPT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 23, 79));
/// A port that needs privileges and that no service uses.
const SIGNAL_PORT: u16 = 379;
/// A machine in the same network answers within a millisecond, and one that drops the question never does.
const SIGNAL_WITHIN: Duration = Duration::from_millis(50);
/// nft takes some milliseconds; a machine that swaps takes longer.
const NFT_WITHIN: Duration = Duration::from_secs(2);

/// Clients of a port are held from its making on, [`LONGEST`] at most.
pub struct Hold {
    port: u16,
    since: Instant,
}

impl Hold {
    pub async fn begin(port: u16) -> Result<Self, Problem> {
        let since = Instant::now();
        nft(&rules(port)).await?;
        Ok(Hold { port, since })
    }

    /// From now on others can see that this machine holds.
    pub async fn ready(&self) -> Result<(), Problem> {
        let shown = SHOWN.saturating_sub(self.since.elapsed());
        nft(&shows(self.port, shown)).await
    }

    /// Whether what needs the hold may still begin.
    pub fn lasts(&self) -> bool {
        self.since.elapsed() < SHOWN
    }

    pub fn over(&self) -> bool {
        self.since.elapsed() >= LONGEST
    }

    /// Clients go on. Without it they go on when the kernel's time is over.
    pub async fn end(self) -> Result<(), Problem> {
        nft(END).await
    }
}

const END: &str = "add table inet quorate\ndelete table inet quorate\n";

/// One transaction: all of it, or nothing. What an earlier hold has left is replaced.
fn rules(port: u16) -> String {
    let (longest, exempt) = (LONGEST.as_millis(), EXEMPT);
    format!(
        "{END}\
table inet quorate {{
    set held {{ type inet_service; flags timeout; }}
    set shown {{ type inet_service; flags timeout; }}
    chain clients {{
        type filter hook input priority -10; policy accept;
        ip saddr {exempt} accept
        tcp dport @shown tcp sport {SIGNAL_PORT} tcp flags & (syn | ack) == syn reject with tcp reset
        tcp flags & (syn | ack) == syn accept
        tcp dport @held drop
    }}
}}
add element inet quorate held {{ {port} timeout {longest}ms }}
"
    )
}

fn shows(port: u16, shown: Duration) -> String {
    let millis = shown.as_millis().max(1);
    format!("add element inet quorate shown {{ {port} timeout {millis}ms }}\n")
}

async fn nft(script: &str) -> Result<(), Problem> {
    let tool = Tool::new("nft").args(["-f", "-"]).input(script);
    tool.timeout(NFT_WITHIN).ok().await.map(drop)
}

/// Whether the machine shows that it holds its clients. One whose service is down refuses too: it has no clients.
pub async fn is_shown(at: SocketAddr) -> bool {
    let work = async {
        let (socket, any) = match at {
            SocketAddr::V4(_) => (TcpSocket::new_v4()?, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
            SocketAddr::V6(_) => (TcpSocket::new_v6()?, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
        };
        socket.set_reuseaddr(true)?;
        // Gone at once when closed, so that the port is free for the next question.
        socket.set_zero_linger()?;
        socket.bind((any, SIGNAL_PORT).into())?;
        socket.connect(at).await.map(drop)
    };
    match timeout(SIGNAL_WITHIN, work).await {
        Ok(Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
        Ok(Ok(())) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_ends_every_hold() {
        let rules = rules(2379);
        assert!(rules.contains("add element inet quorate held { 2379 timeout 1000ms }"));
        // What is dropped depends on elements that expire, and on nothing else.
        let drops: Vec<&str> = rules.lines().filter(|it| it.contains("drop")).collect();
        assert_eq!(drops.len(), 1);
        assert_eq!(drops[0].trim(), "tcp dport @held drop");
        let elements = rules.lines().filter(|it| it.contains("element"));
        assert!(elements.clone().count() == 1 && elements.clone().all(|it| it.contains("timeout")));
        assert!(rules.starts_with(END), "an earlier table stays: {rules}");
        let shown = shows(2379, SHOWN);
        assert_eq!(
            shown,
            "add element inet quorate shown { 2379 timeout 700ms }\n"
        );
        assert!(
            shows(1, Duration::ZERO).contains("timeout 1ms"),
            "none is for ever"
        );
        assert!(SHOWN < LONGEST);
    }
}
