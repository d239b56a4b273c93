//! From the resolved file to the planner's intent: which marks each node is to show.

use super::records::ClusterRecord;
use crate::spec::file::Mode;
use crate::spec::{Spec, SpecNode};
use quorate_planner::endpoint::{Address, EndpointIntent};
use quorate_planner::intent::{
    Balancing, Digest, Distribution, Intent, NodeIntent, NodeName, Wants,
};
use quorate_proto::v1::Endpoint;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

pub fn intent(record: &ClusterRecord) -> Intent {
    let spec = &record.spec;
    let kubeadm = spec.is_kubeadm();
    Intent {
        distribution: if kubeadm {
            Distribution::Kubeadm
        } else {
            Distribution::Etcd
        },
        balancing: match spec.mode {
            Mode::None | Mode::External | Mode::Managed if record.external => Balancing::External,
            Mode::None => Balancing::None,
            Mode::External => Balancing::External,
            Mode::Managed => Balancing::Managed,
        },
        nodes: spec
            .nodes
            .iter()
            .map(|node| node_intent(spec, node))
            .collect(),
        manifests: (kubeadm && !spec.manifests.is_empty()).then(|| digest(&spec.manifests)),
        endpoint: EndpointIntent {
            address: address(spec.cluster.endpoint.as_ref()),
            extra_names: spec.cluster.extra_names.iter().cloned().collect(),
            rotation: record.rotation.clone(),
            renewal: record.renewal.clone(),
        },
        leaving: record.leaving.clone(),
        dead_nodes: spec.dead_nodes.clone(),
        recovery: record.recovery.clone(),
        shutdown: record.shutdown.clone(),
        storage: spec.storage.is_some(),
    }
}

pub fn address(endpoint: Option<&Endpoint>) -> Address {
    let endpoint = endpoint.cloned().unwrap_or_default();
    Address {
        // A port beyond 16 bits is refused where it comes in.
        port: u16::try_from(endpoint.port).unwrap_or_default(),
        host: endpoint.host,
    }
}

pub fn endpoint(address: &Address) -> Endpoint {
    Endpoint {
        host: address.host.clone(),
        port: address.port.into(),
    }
}

fn node_intent(spec: &Spec, node: &SpecNode) -> NodeIntent {
    let config = &node.config;
    NodeIntent {
        name: NodeName(config.name.clone()),
        address: config.address.clone(),
        member: config.member,
        worker: config.worker,
        balancer: config.load_balancer,
        peer_url: node.peer_url(),
        zone: (!config.zone.is_empty()).then(|| config.zone.clone()),
        wants: Wants {
            preflight: digest(&(&spec.cluster, config)),
            install: digest(&(
                &spec.cluster.distribution,
                &spec.cluster.version,
                (config.member, config.worker, config.load_balancer),
                packages(spec, node),
                &spec.containerd,
                &spec.apt,
            )),
            configure: configure_digest(spec, node),
        },
    }
}

/// Labels, taints and zone of a Kubernetes node; nothing to do where there are none.
pub fn configure_digest(spec: &Spec, node: &SpecNode) -> Option<Digest> {
    let config = &node.config;
    let any = !config.labels.is_empty() || !config.taints.is_empty() || !config.zone.is_empty();
    let kubernetes = spec.is_kubeadm() && (config.member || config.worker);
    (kubernetes && any).then(|| digest(&(&config.labels, &config.taints, &config.zone)))
}

/// Kubernetes' programs, as packages or by themselves.
pub const PROGRAMS: [&str; 3] = ["kubeadm", "kubelet", "kubectl"];

/// Debian packages that a node's roles need. kubeadm, kubelet and kubectl come as binaries or packages: see `lower`.
pub fn packages(spec: &Spec, node: &SpecNode) -> Vec<&'static str> {
    let mut packages = Vec::new();
    if node.config.load_balancer {
        packages.push("haproxy");
    }
    if spec.is_kubeadm() && (node.config.member || node.config.worker) {
        packages.extend([
            "containerd",
            "containernetworking-plugins",
            "conntrack",
            "ethtool",
            "iptables",
            "socat",
        ]);
    }
    if !spec.is_kubeadm() && node.config.member {
        packages.extend(["etcd-server", "etcd-client"]);
    }
    packages
}

pub fn digest(value: &impl Serialize) -> Digest {
    // Serializing our own types to memory cannot fail; if it did, an empty digest never equals a node's mark.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    Digest(hex::encode(&Sha256::digest(bytes)[..16]))
}
