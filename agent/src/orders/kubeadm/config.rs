//! kubeadm's configuration of one node, from the cluster's, the node's and the user's documents (pure).

use super::documents::{self, Kind, merge};
use super::{API_PORT, CRI_SOCKET, guard};
use crate::kube::http::authority;
use quorate_proto::v1::{ClusterConfig, MemberAddress, NodeConfig, Problem};
use serde_json::{Value, json};

/// kubeadm's own folder; never another one in the configuration that the cluster keeps.
const CERTIFICATES: &str = "/etc/kubernetes/pki";
/// Keys of a few hundred microseconds instead of RSA's hundreds of milliseconds each, a dozen on every control plane.
const KEYS: &str = "ECDSA-P256";

/// The documents of one node, ready for kubeadm.
#[derive(Clone, Debug)]
pub struct Config {
    init: Value,
    cluster: Value,
    join: Value,
    kubelet: Value,
    kube_proxy: Value,
    user_tokens: bool,
}

impl Config {
    pub fn build(cluster: &ClusterConfig, node: &NodeConfig) -> Result<Self, Problem> {
        let mut config = Config {
            init: init_document(node),
            cluster: cluster_document(cluster)?,
            join: join_document(cluster, node),
            kubelet: Kind::Kubelet.document(),
            kube_proxy: Kind::KubeProxy.document(),
            user_tokens: false,
        };
        let ours = config.clone();
        for (kind, user) in documents::parse(&cluster.kubeadm_documents)? {
            guard::check(kind, ours.document(kind), &user)?;
            merge(config.document_mut(kind), &user);
        }
        config.user_tokens = config.init["bootstrapTokens"].is_array();
        Ok(config)
    }

    fn document(&self, kind: Kind) -> &Value {
        match kind {
            Kind::Init => &self.init,
            Kind::Cluster => &self.cluster,
            Kind::Join => &self.join,
            Kind::Kubelet => &self.kubelet,
            Kind::KubeProxy => &self.kube_proxy,
        }
    }

    fn document_mut(&mut self, kind: Kind) -> &mut Value {
        match kind {
            Kind::Init => &mut self.init,
            Kind::Cluster => &mut self.cluster,
            Kind::Join => &mut self.join,
            Kind::Kubelet => &mut self.kubelet,
            Kind::KubeProxy => &mut self.kube_proxy,
        }
    }

    /// For `kubeadm init` and its phases.
    pub fn for_init(&self) -> String {
        documents::render([&self.init, &self.cluster, &self.kubelet, &self.kube_proxy])
    }

    /// For `kubeadm init phase certs`, into another folder than the final one.
    pub fn for_certificates(&self, folder: &str) -> String {
        let mut cluster = self.cluster.clone();
        cluster["certificatesDir"] = json!(folder);
        documents::render([&self.init, &cluster, &self.kubelet, &self.kube_proxy])
    }

    /// For the etcd manifest of a node that joins the given members.
    pub fn for_existing_etcd(&self, members: &[MemberAddress]) -> String {
        let list: Vec<String> = members
            .iter()
            .map(|member| format!("{}={}", member.name, member.peer_url))
            .collect();
        let arguments = json!({"etcd": {"local": {"extraArgs": [
            {"name": "initial-cluster", "value": list.join(",")},
            {"name": "initial-cluster-state", "value": "existing"},
        ]}}});
        let mut cluster = self.cluster.clone();
        merge(&mut cluster, &arguments);
        documents::render([&self.init, &cluster, &self.kubelet, &self.kube_proxy])
    }

    /// For the phases that talk to the API. kubeadm makes a token of 24 hours unless it is given one:
    /// here one whose group may do nothing, and which is over in a moment.
    pub fn for_cluster_objects(&self, throwaway_token: &str) -> String {
        let mut init = self.init.clone();
        if !self.user_tokens {
            init["bootstrapTokens"] = json!([{
                "token": throwaway_token,
                "ttl": "1m0s",
                "usages": ["authentication"],
                "groups": ["system:bootstrappers:unused"],
                "description": "unused",
            }]);
        }
        documents::render([&init, &self.cluster, &self.kubelet, &self.kube_proxy])
    }

    /// Whether the user asked for bootstrap tokens of his own, which are then left alone.
    pub fn has_user_tokens(&self) -> bool {
        self.user_tokens
    }

    /// For `kubeadm join` of a worker.
    pub fn for_join(&self, token: &str, ca_hashes: &[String]) -> String {
        let mut join = self.join.clone();
        join["discovery"]["bootstrapToken"]["token"] = json!(token);
        join["discovery"]["bootstrapToken"]["caCertHashes"] = json!(ca_hashes);
        documents::render([&join])
    }

    pub fn etcd_data(&self) -> &str {
        self.cluster["etcd"]["local"]["dataDir"]
            .as_str()
            .unwrap_or(super::layout::ETCD_DATA)
    }

    pub fn version(&self) -> &str {
        self.cluster["kubernetesVersion"]
            .as_str()
            .unwrap_or_default()
    }

    /// The loopback address that etcd answers on: of the family of the node's own address.
    pub fn loopback(&self) -> &'static str {
        let address = self.init["localAPIEndpoint"]["advertiseAddress"].as_str();
        if address.is_some_and(|it| it.contains(':')) {
            "::1"
        } else {
            "127.0.0.1"
        }
    }

    /// The taints that a control plane of this configuration gets, kubeadm's default unless the user or the role says otherwise.
    pub fn member_taints(&self) -> Vec<Value> {
        match self.init["nodeRegistration"]["taints"].as_array() {
            Some(taints) => taints.clone(),
            None => vec![json!({"key": super::mark::CONTROL_PLANE, "effect": "NoSchedule"})],
        }
    }
}

fn init_document(node: &NodeConfig) -> Value {
    let mut document = Kind::Init.document();
    document["nodeRegistration"] = registration(node);
    if node.worker {
        // A control plane that carries workloads too.
        document["nodeRegistration"]["taints"] = json!([]);
    }
    document["localAPIEndpoint"] = json!({"advertiseAddress": node.address, "bindPort": API_PORT});
    document
}

fn join_document(cluster: &ClusterConfig, node: &NodeConfig) -> Value {
    let mut document = Kind::Join.document();
    document["nodeRegistration"] = registration(node);
    if !cluster.ignore_preflight_errors.is_empty() {
        document["nodeRegistration"]["ignorePreflightErrors"] =
            json!(cluster.ignore_preflight_errors);
    }
    document["discovery"] = json!({"bootstrapToken": {"apiServerEndpoint": endpoint(cluster)}});
    document
}

fn registration(node: &NodeConfig) -> Value {
    json!({
        "name": node.name,
        "criSocket": CRI_SOCKET,
        "kubeletExtraArgs": [{"name": "node-ip", "value": node.address}],
    })
}

fn cluster_document(cluster: &ClusterConfig) -> Result<Value, Problem> {
    if cluster.version.is_empty() {
        return Err(documents::refused("the cluster has no Kubernetes version"));
    }
    let mut document = Kind::Cluster.document();
    document["kubernetesVersion"] = json!(cluster.version);
    document["certificatesDir"] = json!(CERTIFICATES);
    document["encryptionAlgorithm"] = json!(KEYS);
    let endpoint = endpoint(cluster);
    if !endpoint.is_empty() {
        document["controlPlaneEndpoint"] = json!(endpoint);
    }
    let names = names(cluster);
    if !names.is_empty() {
        document["apiServer"] = json!({"certSANs": names});
    }
    for (field, value) in [
        ("podSubnet", &cluster.pod_subnet),
        ("serviceSubnet", &cluster.service_subnet),
        ("dnsDomain", &cluster.dns_domain),
    ] {
        if !value.is_empty() {
            document["networking"][field] = json!(value);
        }
    }
    Ok(document)
}

fn endpoint(cluster: &ClusterConfig) -> String {
    cluster
        .endpoint
        .as_ref()
        .and_then(|it| Some(authority(&it.host, u16::try_from(it.port).ok()?)))
        .unwrap_or_default()
}

fn names(cluster: &ClusterConfig) -> Vec<&String> {
    let mut names: Vec<&String> = Vec::new();
    let host = cluster.endpoint.as_ref().map(|endpoint| &endpoint.host);
    for name in host.into_iter().chain(&cluster.extra_names) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
