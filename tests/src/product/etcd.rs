//! etcd as its own tool sees it: what tests believe, apart from what the product reports.

use crate::lab::Host;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// A command that hangs on a member without quorum must not hang the test.
const TIMEOUT: Duration = Duration::from_secs(15);
const PKI: &str = "/etc/quorate/etcd/pki";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    pub name: String,
    pub peer_url: String,
    pub learner: bool,
}

/// Runs etcdctl on the host against its own member, or against `endpoint`.
pub fn etcdctl(host: &Host, endpoint: Option<&str>, arguments: &[&str]) -> Result<String> {
    let endpoint = endpoint.unwrap_or("https://127.0.0.1:2379");
    let [ca, cert, key] = credentials(host)?;
    let mut command = vec![
        "env",
        "ETCDCTL_API=3",
        "etcdctl",
        "--endpoints",
        endpoint,
        "--cacert",
        &ca,
        "--cert",
        &cert,
        "--key",
        &key,
        "--command-timeout",
        "5s",
    ];
    command.extend(arguments);
    let output = host.run_within(TIMEOUT, command)?;
    ensure!(
        output.success(),
        "etcdctl {arguments:?} on {}: {}{}",
        host.name(),
        output.stdout,
        output.stderr
    );
    Ok(output.stdout)
}

/// Of a cluster of its own, or of the one below a kubeadm control plane.
fn credentials(host: &Host) -> Result<[String; 3]> {
    if host
        .run(["test", "-e", &format!("{PKI}/ca.crt")])?
        .success()
    {
        return Ok(["ca.crt", "client.crt", "client.key"].map(|file| format!("{PKI}/{file}")));
    }
    Ok([
        "etcd/ca.crt",
        "apiserver-etcd-client.crt",
        "apiserver-etcd-client.key",
    ]
    .map(|file| format!("/etc/kubernetes/pki/{file}")))
}

pub fn members(host: &Host) -> Result<Vec<Member>> {
    let text = etcdctl(host, None, &["member", "list", "-w", "json"])?;
    let list: Value = serde_json::from_str(&text).context("member list")?;
    let members = list["members"].as_array().context("no members")?;
    Ok(members
        .iter()
        .map(|member| Member {
            id: member["ID"].as_u64().unwrap_or_default(),
            name: member["name"].as_str().unwrap_or_default().to_owned(),
            peer_url: member["peerURLs"][0]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            learner: member["isLearner"].as_bool().unwrap_or_default(),
        })
        .collect())
}

/// Names of started voters, sorted; an error if any member is a learner or has not started.
pub fn voters(host: &Host) -> Result<Vec<String>> {
    let members = members(host)?;
    let odd = members.iter().find(|m| m.learner || m.name.is_empty());
    ensure!(odd.is_none(), "a member that is no started voter: {odd:?}");
    let mut names: Vec<String> = members.into_iter().map(|m| m.name).collect();
    names.sort();
    Ok(names)
}

pub fn put(host: &Host, endpoint: Option<&str>, key: &str, value: &str) -> Result<()> {
    etcdctl(host, endpoint, &["put", key, value]).map(drop)
}

pub fn get(host: &Host, endpoint: Option<&str>, key: &str) -> Result<String> {
    let text = etcdctl(host, endpoint, &["get", key, "--print-value-only"])?;
    Ok(text.trim_end().to_owned())
}
