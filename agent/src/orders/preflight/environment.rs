//! Surroundings that get in the way: firewalls with rules of their own, and proxies for addresses of the cluster.

use super::finding::{ok, warning};
use super::role::Role;
use crate::context::Context;
use crate::host::service;
use quorate_proto::v1::{ClusterConfig, Finding, NodeConfig, Problem};
use std::collections::BTreeMap;

pub async fn check(
    context: &Context,
    role: Role,
    cluster: &ClusterConfig,
    node: &NodeConfig,
) -> Vec<Finding> {
    let (firewalld, ufw) = tokio::join!(active("firewalld.service"), active("ufw.service"));
    let mut findings = vec![
        judge_firewall("Firewalld", firewalld),
        judge_firewall("Ufw", ufw && ufw_enabled(context)),
    ];
    if role.containers() {
        let file = std::fs::read_to_string(context.paths.at("/etc/environment"));
        let mut variables = parse(&file.unwrap_or_default());
        let own = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        variables.extend(own);
        findings.push(judge_proxy(&variables, &addresses(cluster, node)));
    }
    findings
}

async fn active(unit: &str) -> bool {
    let state = service::active_state(unit).await;
    state.is_ok_and(|state| state == "active")
}

/// Its unit is active even while it filters nothing.
fn ufw_enabled(context: &Context) -> bool {
    let config = std::fs::read_to_string(context.paths.at("/etc/ufw/ufw.conf"));
    config.is_ok_and(|text| text.lines().any(|line| line.trim() == "ENABLED=yes"))
}

fn judge_firewall(name: &str, active: bool) -> Finding {
    if !active {
        return ok(name, "not active");
    }
    let program = name.to_lowercase();
    warning(
        name,
        Problem::new("firewall", format!("{program} is active"))
            .at(program)
            .because("it may drop what the cluster's nodes and pods send each other")
            .next("open the cluster's ports and the pods' network in it, or stop it"),
    )
}

/// `NAME=value` lines.
fn parse(text: &str) -> BTreeMap<String, String> {
    let entry = |line: &str| {
        let (name, value) = line.trim().trim_start_matches("export ").split_once('=')?;
        let plain = !name.starts_with('#');
        plain.then(|| {
            (
                name.trim().to_owned(),
                value.trim_matches(['"', '\'']).to_owned(),
            )
        })
    };
    text.lines().filter_map(entry).collect()
}

fn addresses(cluster: &ClusterConfig, node: &NodeConfig) -> Vec<String> {
    let endpoint = cluster
        .endpoint
        .as_ref()
        .map(|endpoint| endpoint.host.clone());
    let subnets = [&cluster.pod_subnet, &cluster.service_subnet];
    let subnets = subnets.into_iter().flat_map(|list| list.split(','));
    let subnets = subnets.map(|subnet| subnet.trim().to_owned());
    let mut addresses: Vec<String> = std::iter::once(node.address.clone())
        .chain(endpoint)
        .chain(subnets)
        .filter(|address| !address.is_empty())
        .collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// kubeadm writes the proxy's variables into the control plane's pods, and the kubelet and kubectl read them too.
fn judge_proxy(variables: &BTreeMap<String, String>, addresses: &[String]) -> Finding {
    const NAME: &str = "HTTPProxy";
    let value = |name: &str| {
        let lower = name.to_lowercase();
        let found = variables.get(&lower).or_else(|| variables.get(name));
        found.filter(|value| !value.is_empty())
    };
    let Some(_) = value("HTTPS_PROXY").or_else(|| value("HTTP_PROXY")) else {
        return ok(NAME, "no proxy");
    };
    let exceptions: Vec<&str> = value("NO_PROXY")
        .map(|list| list.split(',').map(str::trim).collect())
        .unwrap_or_default();
    let through: Vec<&str> = addresses
        .iter()
        .map(String::as_str)
        .filter(|address| !excepted(address, &exceptions))
        .collect();
    if through.is_empty() {
        return ok(
            NAME,
            "the proxy is not used for the cluster's own addresses",
        );
    }
    let through = through.join(",");
    warning(
        NAME,
        // The proxy itself may carry a password in its address.
        Problem::new(
            "proxy",
            format!("a proxy is set and would be used for {through}"),
        )
        .at("/etc/environment")
        .because("NO_PROXY does not name them; a proxy cannot reach a cluster's own addresses")
        .next(format!("add {through} to NO_PROXY on the node")),
    )
}

/// By name, by domain, by block that holds the address or the block.
fn excepted(address: &str, exceptions: &[&str]) -> bool {
    use super::cidr::Block;
    let block = |text: &str| {
        Block::parse(text).or_else(|| {
            let address: std::net::IpAddr = text.parse().ok()?;
            Block::new(address, if address.is_ipv4() { 32 } else { 128 })
        })
    };
    exceptions.iter().any(|exception| {
        let domain = exception.trim_start_matches('*').trim_start_matches('.');
        let named = *exception == "*"
            || address == *exception
            || (!domain.is_empty() && address.ends_with(&format!(".{domain}")));
        let held = block(exception)
            .zip(block(address))
            .is_some_and(|(outer, inner)| outer.holds(&inner));
        named || held
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Ok as Good, Warning};

    #[test]
    fn a_proxy_must_except_the_cluster() {
        let addresses = ["10.80.0.11", "api.example.org", "10.244.0.0/16"].map(str::to_owned);
        for (environment, expected) in [
            ("", Good),
            ("http_proxy=\"\"\n", Good),
            ("# https_proxy=http://proxy\n", Good),
            ("https_proxy=http://proxy:3128\n", Warning),
            ("HTTP_PROXY=http://proxy\nNO_PROXY=10.80.0.0/24\n", Warning),
            (
                "export HTTP_PROXY='http://proxy'\nNO_PROXY=10.0.0.0/8,.example.org\n",
                Good,
            ),
            ("HTTP_PROXY=http://proxy\nno_proxy=*\n", Good),
            (
                "HTTP_PROXY=http://proxy\nno_proxy=10.244.1.0/24,10.80.0.11,api.example.org\n",
                Warning,
            ),
        ] {
            let finding = judge_proxy(&parse(environment), &addresses);
            assert_eq!(finding.severity(), expected, "{environment}");
        }
    }

    #[test]
    fn a_proxys_password_is_not_shown() {
        let variables = parse("https_proxy=http://user:geheim@proxy:3128\n");
        let finding = judge_proxy(&variables, &["10.80.0.11".to_owned()]);
        assert!(!format!("{finding:?}").contains("geheim"));
    }

    #[test]
    fn firewalls_only_warn() {
        assert_eq!(judge_firewall("Firewalld", true).severity(), Warning);
        assert_eq!(judge_firewall("Ufw", false).severity(), Good);
    }
}
