//! The YAML as written. Unknown fields are errors: a misspelt field must not be silently without effect.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterFile {
    pub name: String,
    pub distribution: DistributionField,
    #[serde(default)]
    pub version: Option<String>,
    /// `host[:port]` under which clients reach the cluster.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Further names of the serving certificates.
    #[serde(default)]
    pub certificate_names: Vec<String>,
    #[serde(default)]
    pub load_balancer: LoadBalancer,
    pub nodes: Vec<Node>,
    /// Names of preflight checks whose fatal findings are accepted.
    #[serde(default)]
    pub ignore_preflight_errors: Vec<String>,
    #[serde(default)]
    pub kubernetes: Kubernetes,
    #[serde(default)]
    pub install: Install,
    #[serde(default)]
    pub snapshots: Snapshots,
    #[serde(default)]
    pub dead_nodes: DeadNodes,
    #[serde(default)]
    pub storage: Storage,
}

/// Storage that has a quorum of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Storage {
    #[serde(default)]
    pub check: Option<StorageCheck>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StorageCheck {
    #[serde(default)]
    pub command: Option<Vec<String>>,
    #[serde(default)]
    pub rook_ceph: Option<RookCeph>,
    #[serde(default)]
    pub on: StorageOn,
    #[serde(default)]
    pub timeout: Option<String>,
}

/// Where it is asked; the only place that is sure to hold the administrator's access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageOn {
    #[default]
    ControlPlane,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RookCeph {
    #[serde(default = "rook_namespace")]
    pub namespace: String,
}

fn rook_namespace() -> String {
    "rook-ceph".to_owned()
}

/// What is done about nodes that have fallen silent for good.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeadNodes {
    #[serde(default)]
    pub policy: DeadPolicy,
    #[serde(default)]
    pub after: Option<String>,
    #[serde(default)]
    pub purge_after: Option<String>,
    #[serde(default)]
    pub min_healthy_control_planes: Option<u32>,
    #[serde(default)]
    pub min_healthy_workers: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadPolicy {
    #[default]
    Off,
    Taint,
    Fence,
    Purge,
}

/// Of etcd.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Snapshots {
    #[serde(default)]
    pub every: Option<String>,
    #[serde(default)]
    pub keep: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistributionField {
    Kubeadm,
    Etcd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    None,
    External,
    Managed,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LoadBalancer {
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub stats_port: Option<u16>,
    /// Extra TCP front ends.
    #[serde(default)]
    pub frontends: Vec<Frontend>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Frontend {
    pub name: String,
    pub port: u16,
    /// The same as `port` if absent.
    #[serde(default)]
    pub backend_port: Option<u16>,
    pub to: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    ControlPlanes,
    Workers,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A control plane with its etcd member (kubeadm).
    ControlPlane,
    Worker,
    /// A member of an etcd cluster of its own.
    Etcd,
    LoadBalancer,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    /// The enrolled agent's first address if absent.
    #[serde(default)]
    pub address: Option<String>,
    pub roles: Vec<Role>,
    #[serde(default)]
    pub zone: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub taints: Vec<Taint>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Taint {
    pub key: String,
    #[serde(default)]
    pub value: String,
    pub effect: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Kubernetes {
    #[serde(default)]
    pub pod_subnet: Option<String>,
    #[serde(default)]
    pub service_subnet: Option<String>,
    #[serde(default)]
    pub dns_domain: Option<String>,
    /// YAML documents of kubeadm, kubelet and kube-proxy, merged over ours by kind.
    #[serde(default)]
    pub config: Option<String>,
    #[serde(default)]
    pub config_files: Vec<String>,
    /// Manifests applied after the first control plane serves: a CNI at least.
    #[serde(default)]
    pub addons: Vec<String>,
    #[serde(default)]
    pub containerd: Containerd,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Containerd {
    /// File name -> path of TOML that is merged after ours.
    #[serde(default)]
    pub drop_ins: BTreeMap<String, String>,
    #[serde(default)]
    pub sandbox_image: Option<String>,
    #[serde(default)]
    pub systemd_cgroup: Option<bool>,
    #[serde(default)]
    pub restrict_oom_score_adj: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Install {
    #[serde(default)]
    pub apt: Option<Apt>,
    /// Hold the packages at their version; on unless switched off.
    #[serde(default)]
    pub hold: Option<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Apt {
    /// `URIs` of the source.
    pub uri: String,
    pub suite: String,
    #[serde(default)]
    pub components: Vec<String>,
    /// Path of the ASCII-armoured signing key.
    pub key: String,
}

/// Parses the text; the error names line and column.
pub fn parse(text: &str) -> Result<ClusterFile, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}
