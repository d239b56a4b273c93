//! What this control plane sees of nodes that have fallen silent: their leases and objects, and etcd's connections to them. Looked at
//! only while the coordinator suspects somebody.

use crate::kube::api::Api;
use crate::kube::http::{Call, Connection};
use crate::kube::objects::life;
use crate::orders::kubeadm::member::METRICS_PORT;
use crate::paths::Paths;
use quorate_proto::v1::{EtcdView, NodeLife, Problem};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For all of them: those that are missing are unknown.
const WITHIN: Duration = Duration::from_secs(2);
/// The number of connections to each member that this one has had since its start.
const ACTIVE: &str = "etcd_network_active_peers{";

pub async fn lives(paths: &Paths, names: &[String]) -> Vec<NodeLife> {
    let mut lives = Vec::new();
    let read = timeout(WITHIN, read(paths, names, &mut lives)).await;
    if let Ok(Err(problem)) = read {
        tracing::debug!(%problem, "what became of silent nodes is not known");
    }
    lives
}

async fn read(paths: &Paths, names: &[String], lives: &mut Vec<NodeLife>) -> Result<(), Problem> {
    let mut api = Api::new(paths)?;
    for name in names {
        lives.extend(life::read(&mut api, name).await?);
    }
    Ok(())
}

/// Fills in which members the local one has no connection to.
pub async fn peers(view: &mut EtcdView) {
    if !view.running || view.members.is_empty() {
        return;
    }
    if let Some(page) = metrics().await {
        let connected = connected(&page);
        let others = view.members.iter().map(|it| it.id);
        view.peers_away = others
            .filter(|id| *id != view.member_id && !connected.contains(id))
            .collect();
        view.peers_known = true;
    }
}

/// As kubeadm has it listen: on the loopback address of the cluster's first family.
async fn metrics() -> Option<String> {
    let loopbacks = [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    for address in loopbacks {
        let Ok(Ok(tcp)) = timeout(WITHIN, TcpStream::connect((address, METRICS_PORT))).await else {
            continue;
        };
        let mut connection = Connection::over(tcp, "localhost".to_owned()).await.ok()?;
        let answer = connection.call(Call::get("/metrics"), WITHIN).await.ok()?;
        let text = answer.success().then_some(answer.body)?;
        return String::from_utf8(text.to_vec()).ok();
    }
    None
}

fn connected(page: &str) -> BTreeSet<u64> {
    page.lines()
        .filter_map(|line| {
            let (labels, value) = line.strip_prefix(ACTIVE)?.split_once("} ")?;
            let (_, remote) = labels.split_once("Remote=\"")?;
            let id = u64::from_str_radix(remote.split('"').next()?, 16).ok()?;
            (value.trim().parse::<f64>().ok()? > 0.0).then_some(id)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_by_etcds_own_count() {
        let page = "\
# TYPE etcd_network_active_peers gauge
etcd_network_active_peers{Local=\"8e9e05c52164694d\",Remote=\"a\"} 1
etcd_network_active_peers{Local=\"8e9e05c52164694d\",Remote=\"ade526d28b1f92f7\"} 0
etcd_network_active_peers{Local=\"8e9e05c52164694d\",Remote=\"ffffffffffffffff\"} 2
etcd_network_peer_sent_bytes_total{To=\"b\"} 7
etcd_network_active_peers{Local=\"8e9e05c52164694d\",Remote=\"zz\"} 1
";
        assert_eq!(connected(page), BTreeSet::from([10, u64::MAX]));
        assert!(connected("").is_empty());
    }
}
