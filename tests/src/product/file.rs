//! Cluster files for tests.

use crate::lab::Host;

/// An etcd cluster on these hosts, behind a managed load balancer if one is named.
pub fn etcd(name: &str, members: &[&Host], balancer: Option<&Host>) -> String {
    let endpoint = balancer.map(|balancer| format!("{}:2379", balancer.ip()));
    let balancers: Vec<&Host> = balancer.into_iter().collect();
    etcd_at(name, endpoint.as_deref(), members, &balancers)
}

/// The same at any endpoint: with load balancers that need not be it.
pub fn etcd_at(
    name: &str,
    endpoint: Option<&str>,
    members: &[&Host],
    balancers: &[&Host],
) -> String {
    let mut text = format!("name: {name}\ndistribution: etcd\n");
    // The disk of a machine that also builds and runs all other hosts may be slow; the cluster is to form nonetheless.
    text.push_str("ignorePreflightErrors: [EtcdDiskLatency]\n");
    if let Some(endpoint) = endpoint {
        text.push_str(&format!("endpoint: {endpoint}\n"));
    }
    if !balancers.is_empty() {
        text.push_str("loadBalancer:\n  mode: managed\n");
    }
    text.push_str("nodes:\n");
    for (at, member) in members.iter().enumerate() {
        let zone = ["a", "b", "c"][at % 3];
        text.push_str(&format!(
            "  - {{name: {}, address: {}, roles: [etcd], zone: {zone}}}\n",
            member.name(),
            member.ip()
        ));
    }
    for balancer in balancers {
        text.push_str(&format!(
            "  - {{name: {}, address: {}, roles: [load-balancer]}}\n",
            balancer.name(),
            balancer.ip()
        ));
    }
    text
}
