//! The few of etcd's own numbers that a hand-over is decided by. They are served beside the clients' port, on the loopback of both
//! distributions, so that they can be read while clients are held.

use crate::kube::http::plain_get;
use quorate_proto::v1::Problem;
use std::time::Duration;

pub const METRICS_PORT: u16 = 2381;
const WITHIN: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub has_leader: bool,
    /// How often a new leader was seen.
    pub leaders: u64,
    /// Writes that are under way.
    pub pending: u64,
}

pub async fn read() -> Result<Gauges, Problem> {
    let answer = plain_get("127.0.0.1", METRICS_PORT, "/metrics", WITHIN).await?;
    parse(&String::from_utf8_lossy(&answer.body)).ok_or_else(|| {
        Problem::new("etcd-metrics", "etcd's metrics say nothing of its leader")
            .at(format!("http://127.0.0.1:{METRICS_PORT}/metrics"))
            .because("another program listens there, or a version that this agent does not know")
    })
}

fn parse(text: &str) -> Option<Gauges> {
    let value = |name: &str| {
        let line = |line: &str| line.strip_prefix(name)?.trim().parse::<f64>().ok();
        text.lines().find_map(line)
    };
    Some(Gauges {
        has_leader: value("etcd_server_has_leader ")? > 0.0,
        leaders: value("etcd_server_leader_changes_seen_total ")? as u64,
        pending: value("etcd_server_proposals_pending ")? as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_etcd_writes_them() {
        let text = "# HELP etcd_server_has_leader Whether or not a leader exists.\n\
            # TYPE etcd_server_has_leader gauge\netcd_server_has_leader 1\n\
            etcd_server_leader_changes_seen_total 3\netcd_server_proposals_pending 12\n";
        let expected = Gauges {
            has_leader: true,
            leaders: 3,
            pending: 12,
        };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("etcd_server_has_leader 1\n"), None);
        assert_eq!(parse("<html>"), None);
    }
}
