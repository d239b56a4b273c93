//! Cluster files for tests.

use crate::lab::Host;

/// An etcd cluster on these hosts, behind a managed load balancer if one is named.
pub fn etcd(name: &str, members: &[&Host], balancer: Option<&Host>) -> String {
    let mut text = format!("name: {name}\ndistribution: etcd\n");
    // The disk of a machine that also builds and runs all other hosts may be slow; the cluster is to form nonetheless.
    text.push_str("ignorePreflightErrors: [EtcdDiskLatency]\n");
    if let Some(balancer) = balancer {
        text.push_str(&format!(
            "endpoint: {}:2379\nloadBalancer:\n  mode: managed\n",
            balancer.ip()
        ));
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
    if let Some(balancer) = balancer {
        text.push_str(&format!(
            "  - {{name: {}, address: {}, roles: [load-balancer]}}\n",
            balancer.name(),
            balancer.ip()
        ));
    }
    text
}
