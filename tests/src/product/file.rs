//! Cluster files for tests.

use crate::lab::Host;
use std::net::IpAddr;

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
    Etcd {
        name,
        endpoint,
        members,
        balancers,
        ..Etcd::default()
    }
    .text()
}

/// All that the file of an etcd cluster says.
#[derive(Clone, Copy, Default)]
pub struct Etcd<'a> {
    pub name: &'a str,
    pub endpoint: Option<&'a str>,
    pub members: &'a [&'a Host],
    /// Managed ones.
    pub balancers: &'a [&'a Host],
    /// The load balancer is somebody else's.
    pub external: bool,
    /// The hosts' IPv6 addresses, and no others.
    pub ipv6: bool,
    pub apt: Option<Apt<'a>>,
}

/// An apt source with the suite `lab` and the component `main`.
#[derive(Clone, Copy)]
pub struct Apt<'a> {
    pub uri: &'a str,
    /// A file beside the cluster file.
    pub key: &'a str,
}

impl Etcd<'_> {
    pub fn text(&self) -> String {
        let mut text = format!("name: {}\ndistribution: etcd\n", self.name);
        // The disk of a machine that also builds and runs all other hosts may be slow; the cluster is to form nonetheless.
        text.push_str("ignorePreflightErrors: [EtcdDiskLatency]\n");
        if let Some(endpoint) = self.endpoint {
            // Quoted: an IPv6 address begins as a list does.
            text.push_str(&format!("endpoint: \"{endpoint}\"\n"));
        }
        if self.external {
            text.push_str("loadBalancer: {mode: external}\n");
        } else if !self.balancers.is_empty() {
            text.push_str("loadBalancer: {mode: managed}\n");
        }
        if let Some(Apt { uri, key }) = self.apt {
            text.push_str(&format!(
                "install:\n  apt: {{uri: \"{uri}\", suite: lab, components: [main], key: {key}}}\n"
            ));
        }
        text.push_str("nodes:\n");
        for (at, member) in self.members.iter().enumerate() {
            let zone = ["a", "b", "c"][at % 3];
            text.push_str(&self.node(member, &format!("roles: [etcd], zone: {zone}")));
        }
        for balancer in self.balancers {
            text.push_str(&self.node(balancer, "roles: [load-balancer]"));
        }
        text
    }

    fn node(&self, host: &Host, more: &str) -> String {
        let address = match self.ipv6 {
            true => IpAddr::from(host.ip6()),
            false => IpAddr::from(host.ip()),
        };
        let name = host.name();
        format!("  - {{name: {name}, address: \"{address}\", {more}}}\n")
    }
}
