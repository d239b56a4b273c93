//! What guides tell: make the serving certificates anew for the new address, write it wherever the old one stands, restart. On all
//! machines at once, as a loop over ssh does.

use super::real::{BACK, Bed};
use crate::bench::bed::on_each;
use crate::lab::{Host, eventually};
use crate::product::kubernetes;
use crate::product::load::Target;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

const ETCD_PKI: &str = "/etc/quorate/etcd/pki";
const KUBERNETES: &str = "/etc/kubernetes";
const ROLLOUT: Duration = Duration::from_secs(180);

pub fn rotate(bed: &Bed, members: &[Host], from: &Target, to: &Target) -> Result<()> {
    match bed.kubernetes {
        true => kubeadm(members, from, to),
        false => on_each(members, |member| etcd(member, to)).map(drop),
    }
}

fn etcd(member: &Host, to: &Target) -> Result<()> {
    let at = |name: &str| format!("{ETCD_PKI}/{name}");
    let names = format!(
        "subjectAltName=DNS:{},DNS:localhost,IP:127.0.0.1,IP:{},IP:{}\nextendedKeyUsage=serverAuth,clientAuth\n",
        member.name(),
        member.ip(),
        to.host
    );
    member.write("/root/names", names, 0o600)?;
    let subject = format!("/CN={}", member.name());
    let request = "/root/server.csr";
    member.ok([
        "openssl",
        "req",
        "-new",
        "-key",
        &at("server.key"),
        "-subj",
        &subject,
        "-out",
        request,
    ])?;
    #[rustfmt::skip]
    member.ok(["openssl", "x509", "-req", "-in", request, "-CA", &at("ca.crt"), "-CAkey", &at("ca.key"),
        "-CAcreateserial", "-days", "365", "-extfile", "/root/names", "-out", &at("server.crt")])?;
    member.ok(["systemctl", "restart", "etcd.service"])?;
    Ok(())
}

fn kubeadm(members: &[Host], from: &Target, to: &Target) -> Result<()> {
    on_each(members, |member| control_plane(member, from, to))?;
    let first = members.first().context("no member")?;
    eventually(BACK, "an API server to be back", || {
        kubernetes::kubectl(first, &["get", "--raw", "/readyz"]).map(Some)
    })?;
    for (namespace, name) in [
        ("kube-system", "kubeadm-config"),
        ("kube-public", "cluster-info"),
        ("kube-system", "kube-proxy"),
    ] {
        replace_in_object(first, namespace, name, from, to)?;
    }
    let rollout = ["--namespace", "kube-system", "rollout"];
    let daemons = "daemonset/kube-proxy";
    let words = |verb: &'static str| {
        rollout
            .into_iter()
            .chain([verb, daemons])
            .collect::<Vec<_>>()
    };
    kubernetes::kubectl(first, &words("restart"))?;
    eventually(ROLLOUT, "kube-proxy to be restarted", || {
        let text = kubernetes::kubectl(
            first,
            &["--namespace", "kube-system", "get", daemons, "-o", "json"],
        )?;
        let seen: Value = serde_json::from_str(&text)?;
        let number = |pointer: &str| seen.pointer(pointer).and_then(Value::as_u64);
        let wanted = number("/status/desiredNumberScheduled");
        let current = number("/metadata/generation") == number("/status/observedGeneration");
        let done = wanted.is_some()
            && current
            && number("/status/updatedNumberScheduled") == wanted
            && number("/status/numberReady") == wanted;
        Ok(done.then_some(()))
    })
}

fn control_plane(member: &Host, from: &Target, to: &Target) -> Result<()> {
    let pair = ["crt", "key"].map(|ending| format!("{KUBERNETES}/pki/apiserver.{ending}"));
    member.ok(["rm", pair[0].as_str(), pair[1].as_str()])?;
    let (address, endpoint) = (member.ip().to_string(), to.to_string());
    let version = member.ok(["kubeadm", "version", "-o", "short"])?;
    #[rustfmt::skip]
    member.ok(["kubeadm", "init", "phase", "certs", "apiserver", "--apiserver-advertise-address", &address,
        "--control-plane-endpoint", &endpoint, "--kubernetes-version", version.trim()])?;
    let script = format!("s|https://{from}|https://{to}|");
    for name in [
        "admin",
        "super-admin",
        "controller-manager",
        "scheduler",
        "kubelet",
    ] {
        let file = format!("{KUBERNETES}/{name}.conf");
        if member.run(["test", "-e", &file])?.success() {
            member.ok(["sed", "-i", &script, &file])?;
        }
    }
    for program in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ] {
        member.ok(["pkill", "--full", &format!("^{program} ")])?;
    }
    member.ok(["systemctl", "restart", "kubelet.service"])?;
    Ok(())
}

fn replace_in_object(
    member: &Host,
    namespace: &str,
    name: &str,
    from: &Target,
    to: &Target,
) -> Result<()> {
    let get = [
        "--namespace",
        namespace,
        "get",
        "configmap",
        name,
        "-o",
        "json",
    ];
    let text = kubernetes::kubectl(member, &get)?;
    let (old, new) = (from.to_string(), to.to_string());
    ensure!(text.contains(&old), "{name} does not hold {old}: {text}");
    member.write("/root/object.json", text.replace(&old, &new), 0o600)?;
    kubernetes::kubectl(member, &["replace", "-f", "/root/object.json"]).map(drop)
}
