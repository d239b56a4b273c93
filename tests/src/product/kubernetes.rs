//! Real Kubernetes: a folder of binaries, images, packages and manifests that the user of the tests names.

use super::Fleet;
use crate::lab::Host;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a lab host needs differently from a machine of its own, in the product's ordinary settings: see the lab's notes on cgroups v1,
/// the missing kernel configuration and the missing right to lower OOM scores.
const LAB_CONFIG: &str = r"
    apiVersion: kubelet.config.k8s.io/v1beta1
    kind: KubeletConfiguration
    cgroupDriver: cgroupfs
    serverTLSBootstrap: true
    failSwapOn: false
    evictionHard: {nodefs.available: 1%, imagefs.available: 1%, memory.available: 50Mi}
    imageGCHighThresholdPercent: 100
    ---
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
";

/// A user's own wishes for the control plane, merged into quorate's document of the same kind.
const USERS_CONFIG: &str = r"    ---
    apiVersion: kubeadm.k8s.io/v1beta4
    kind: ClusterConfiguration
    apiServer:
      certSANs: [api.user.example]
      extraArgs: [{name: audit-log-maxage, value: '7'}]
";

/// The same as documents of their own, for kubeadm itself.
pub fn lab_config() -> String {
    LAB_CONFIG
        .lines()
        .map(|line| format!("{}\n", line.trim_start_matches("    ")))
        .collect()
}

/// `QUORATE_KUBERNETES`: holds bin/{kubeadm,kubelet,kubectl}, images/*.tar, debs/*.deb, manifests/cni.yaml.
pub fn given() -> Result<Option<PathBuf>> {
    let Some(folder) = std::env::var_os("QUORATE_KUBERNETES").map(PathBuf::from) else {
        return Ok(None);
    };
    ensure!(
        folder.join("bin/kubeadm").is_file(),
        "QUORATE_KUBERNETES={}: no bin/kubeadm there",
        folder.display()
    );
    Ok(Some(folder))
}

/// Says that it skips when there is no folder.
pub fn given_or_skip(test: &str) -> Result<Option<PathBuf>> {
    let folder = given()?;
    if folder.is_none() {
        println!(
            "SKIPPED {test}: QUORATE_KUBERNETES names no folder of Kubernetes binaries and images"
        );
    }
    Ok(folder)
}

pub fn add_artifacts(fleet: &Fleet, folder: &Path) -> Result<()> {
    for part in ["bin", "images", "debs"] {
        fleet.add_artifacts(&folder.join(part))?;
    }
    let manifest =
        std::fs::read(folder.join("manifests/cni.yaml")).context("manifests/cni.yaml")?;
    fleet.coordinator.write("/root/cni.yaml", manifest, 0o644)
}

pub fn version(folder: &Path) -> Result<String> {
    Ok(kubeadm(folder, &["version", "-o", "short"])?
        .trim()
        .to_owned())
}

/// The pause image of this Kubernetes: Debian's containerd has an older one in mind, which the folder does not hold.
pub fn sandbox_image(folder: &Path) -> Result<String> {
    let version = version(folder)?;
    let images = kubeadm(
        folder,
        &["config", "images", "list", "--kubernetes-version", &version],
    )?;
    let image = images.lines().find(|image| image.contains("/pause:"));
    Ok(image.context("kubeadm lists no pause image")?.to_owned())
}

fn kubeadm(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = std::process::Command::new(folder.join("bin/kubeadm"))
        .args(arguments)
        .output()
        .context("cannot run kubeadm")?;
    ensure!(
        output.status.success(),
        "kubeadm {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A kubeadm cluster on these hosts, behind a managed load balancer if one is named.
pub fn file(
    fleet: &Fleet,
    name: &str,
    members: &[&str],
    workers: &[&str],
    balancer: Option<&str>,
) -> Result<String> {
    let endpoint = match balancer {
        Some(host) => Some(format!("{}:6443", fleet.node(host)?.ip())),
        None => None,
    };
    let balancers: Vec<&str> = balancer.into_iter().collect();
    file_at(
        fleet,
        name,
        endpoint.as_deref(),
        members,
        workers,
        &balancers,
    )
}

/// The same at any endpoint: with load balancers that need not be it.
pub fn file_at(
    fleet: &Fleet,
    name: &str,
    endpoint: Option<&str>,
    members: &[&str],
    workers: &[&str],
    balancers: &[&str],
) -> Result<String> {
    let folder = given()?.context("QUORATE_KUBERNETES")?;
    let mut text = format!(
        "name: {name}\ndistribution: kubeadm\nversion: {}\n",
        version(&folder)?
    );
    if let Some(endpoint) = endpoint {
        text.push_str(&format!("endpoint: {endpoint}\n"));
    }
    if !balancers.is_empty() {
        text.push_str("loadBalancer:\n  mode: managed\n");
        text.push_str(
            "  frontends:\n    - {name: web, port: 80, backendPort: 30080, to: workers}\n",
        );
    }
    text.push_str("ignorePreflightErrors: [SystemVerification, KernelModules, EtcdDiskLatency]\nkubernetes:\n");
    text.push_str(&format!(
        "  addons: [cni.yaml]\n  containerd: {{systemdCgroup: false, restrictOomScoreAdj: true, sandboxImage: '{}'}}\n",
        sandbox_image(&folder)?
    ));
    text.push_str(&format!("  config: |{LAB_CONFIG}{USERS_CONFIG}"));
    text.push_str("nodes:\n");
    let zones = ["a", "b", "c"];
    for (at, member) in members.iter().enumerate() {
        text.push_str(&node(
            fleet.node(member)?,
            "control-plane",
            &format!(", zone: {}", zones[at % 3]),
        ));
    }
    for worker in workers {
        text.push_str(&node(
            fleet.node(worker)?,
            "worker",
            ", labels: {tier: app}",
        ));
    }
    for balancer in balancers {
        text.push_str(&node(fleet.node(balancer)?, "load-balancer", ""));
    }
    Ok(text)
}

fn node(host: &Host, role: &str, more: &str) -> String {
    format!(
        "  - {{name: {}, address: {}, roles: [{role}]{more}}}\n",
        host.name(),
        host.ip()
    )
}

/// kubectl with the administrator's own file on a control plane.
pub fn kubectl(host: &Host, arguments: &[&str]) -> Result<String> {
    let mut command = vec![
        "kubectl",
        "--kubeconfig",
        "/etc/kubernetes/admin.conf",
        "--request-timeout",
        "10s",
    ];
    command.extend(arguments);
    let output = host.run_within(Duration::from_secs(60), command)?;
    ensure!(
        output.success(),
        "kubectl {arguments:?} on {}: {}{}",
        host.name(),
        output.stdout,
        output.stderr
    );
    Ok(output.stdout)
}

/// Node objects: name, Ready, labels.
pub fn nodes(host: &Host) -> Result<Vec<(String, bool, Value)>> {
    let list: Value = serde_json::from_str(&kubectl(host, &["get", "nodes", "-o", "json"])?)?;
    let items = list["items"].as_array().context("no items")?;
    Ok(items
        .iter()
        .map(|node| {
            let conditions = node["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let ready = conditions
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            let name = node["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            (name, ready, node["metadata"]["labels"].clone())
        })
        .collect())
}
