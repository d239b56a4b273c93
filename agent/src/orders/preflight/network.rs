//! Names and addresses: the node's own and the cluster's endpoint.

use super::finding::{fatal, ok, warning};
use nix::ifaddrs::getifaddrs;
use quorate_proto::v1::{ClusterConfig, Finding, NodeConfig, Problem};
use std::net::IpAddr;
use std::time::Duration;

/// A resolver with an unreachable server needs this long to say so.
const RESOLVE: Duration = Duration::from_secs(10);
/// Longest DNS name.
const NAME_BYTES: usize = 253;

pub async fn check(cluster: &ClusterConfig, node: &NodeConfig) -> Vec<Finding> {
    let addresses = addresses();
    let host = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let (own, endpoint) = tokio::join!(resolve(&node.name), check_endpoint(cluster));
    let mut findings = vec![
        judge_address(&node.address, &addresses),
        judge_hostname(&node.name, &host, &own, &addresses),
    ];
    findings.extend(endpoint);
    findings
}

fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    interfaces
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let four = address.as_sockaddr_in().map(|four| IpAddr::from(four.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::from(six.ip())))
        })
        .collect()
}

/// What a name stands for; empty if it stands for nothing.
async fn resolve(name: &str) -> Vec<IpAddr> {
    match tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

async fn check_endpoint(cluster: &ClusterConfig) -> Option<Finding> {
    let endpoint = cluster.endpoint.as_ref()?;
    if endpoint.host.is_empty() {
        return None;
    }
    let found = match endpoint.host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => resolve(&endpoint.host).await,
    };
    Some(judge_endpoint(&endpoint.host, &found))
}

fn judge_endpoint(host: &str, found: &[IpAddr]) -> Finding {
    const NAME: &str = "ControlPlaneEndpoint";
    if !found.is_empty() {
        return ok(NAME, format!("{host} is {}", join(found)));
    }
    fatal(
        NAME,
        Problem::new(
            "endpoint-unresolved",
            format!("the cluster's endpoint {host} has no address here"),
        )
        .at(host)
        .because("the name is not in DNS or /etc/hosts, or this node's resolver does not answer")
        .next(format!(
            "make `getent hosts {host}` work on the node, or use an address as endpoint"
        )),
    )
}

fn join(addresses: &[IpAddr]) -> String {
    let mut texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.dedup();
    texts.join(", ")
}

fn judge_address(address: &str, own: &[IpAddr]) -> Finding {
    const NAME: &str = "NodeAddress";
    let parsed: Option<IpAddr> = address.parse().ok();
    if parsed.is_some_and(|parsed| own.contains(&parsed)) {
        return ok(NAME, format!("{address} is on this machine"));
    }
    fatal(
        NAME,
        Problem::new(
            "address-elsewhere",
            format!("the address {address} is not on this machine"),
        )
        .at(address)
        .because(format!("this machine has {}", join(own)))
        .next("correct the node's address in the cluster file"),
    )
}

fn judge_hostname(node: &str, host: &str, found: &[IpAddr], own: &[IpAddr]) -> Finding {
    const NAME: &str = "Hostname";
    if !is_dns_name(node) {
        return fatal(
            NAME,
            Problem::new("node-name", format!("{node:?} cannot be a node's name"))
                .at(node)
                .because("names are lower-case letters, digits, - and ., at most 253")
                .next("rename the node in the cluster file"),
        );
    }
    let problem = |what: String, next: &str| {
        warning(NAME, Problem::new("hostname", what).at(node).next(next))
    };
    if found.is_empty() {
        problem(
            format!("the node's name {node} has no address here"),
            "add it to /etc/hosts or DNS; what looks the node up by name does not find it",
        )
    } else if !found.iter().any(|address| own.contains(address)) {
        problem(
            format!(
                "the node's name {node} stands for {}, not for this machine",
                join(found)
            ),
            "correct /etc/hosts or DNS",
        )
    } else if host != node {
        problem(
            format!("this machine calls itself {host}, the cluster file {node}"),
            "use the machine's own name, or set it with `hostnamectl hostname`",
        )
    } else {
        ok(NAME, format!("{node} is this machine"))
    }
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(plain)
    };
    name.len() <= NAME_BYTES && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts
            .iter()
            .map(|text| text.parse().expect("address"))
            .collect()
    }

    #[test]
    fn addresses_and_names() {
        let own = ips(&["127.0.0.1", "10.80.0.11", "::1"]);
        for (address, expected) in [
            ("10.80.0.11", Good),
            ("10.80.0.12", Fatal),
            ("", Fatal),
            ("n1", Fatal),
        ] {
            assert_eq!(
                judge_address(address, &own).severity(),
                expected,
                "{address}"
            );
        }
        let here = ips(&["10.80.0.11"]);
        let there = ips(&["10.80.0.12"]);
        for (node, host, found, expected) in [
            ("n1", "n1", &here, Good),
            ("n1", "other", &here, Warning),
            ("n1", "n1", &there, Warning),
            ("n1", "n1", &vec![], Warning),
            ("N1", "N1", &here, Fatal),
            ("n1.example.org", "n1.example.org", &here, Good),
            ("-n1", "-n1", &here, Fatal),
            ("", "", &here, Fatal),
        ] {
            let finding = judge_hostname(node, host, found, &own);
            assert_eq!(finding.severity(), expected, "{node} {host} {found:?}");
        }
        assert_eq!(judge_endpoint("api", &[]).severity(), Fatal);
        assert_eq!(judge_endpoint("api", &here).severity(), Good);
    }

    #[tokio::test]
    async fn this_machine_has_its_loopback() {
        assert!(addresses().contains(&"127.0.0.1".parse().expect("address")));
        assert!(!resolve("localhost").await.is_empty());
        assert!(resolve("no-such-host.invalid").await.is_empty());
    }
}
