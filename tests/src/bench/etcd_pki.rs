//! Certificates for plain etcd, made by openssl before anything is timed.

use crate::lab::Host;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Where they lie on the hosts.
pub const FOLDER: &str = "/etc/plain-etcd";
const CURVE: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// One authority, and one certificate for all members' servers, peers and clients: what a short guide does.
pub fn install(hosts: &[Host]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (ca, ca_key) = (at("ca.crt"), at("ca.key"));
    openssl(&ca_key, &ca, "/CN=plain etcd", &[])?;
    let addresses = hosts.iter().map(|host| format!("IP:{}", host.ip()));
    let names: Vec<String> = std::iter::once("IP:127.0.0.1".to_owned())
        .chain(addresses)
        .collect();
    let names = format!("subjectAltName={}", names.join(","));
    let usage = "extendedKeyUsage=serverAuth,clientAuth";
    let (authority, key) = (ca.to_string_lossy(), ca_key.to_string_lossy());
    openssl(
        &at("member.key"),
        &at("member.crt"),
        "/CN=member",
        &[
            "-CA", &authority, "-CAkey", &key, "-addext", &names, "-addext", usage,
        ],
    )?;
    for host in hosts {
        for file in ["ca.crt", "member.crt", "member.key"] {
            host.push(&at(file), &format!("{FOLDER}/{file}"), 0o600)?;
        }
    }
    Ok(())
}

fn openssl(key: &Path, certificate: &Path, subject: &str, more: &[&str]) -> Result<()> {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", subject])
        .args(CURVE)
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .args(more)
        .output()
        .context("cannot run openssl")?;
    ensure!(
        output.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
