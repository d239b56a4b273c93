//! What the operator wants, resolved from the cluster file.

use crate::dead::DeadNodes;
use crate::endpoint::EndpointIntent;
use crate::leaving::Leaving;
use crate::recovery::Recovery;
use crate::shutdown::Shutdown;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a finished step leaves on its node as a mark: the same digest means that there is nothing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    Kubeadm,
    Etcd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balancing {
    /// The endpoint is the first control plane.
    None,
    /// Somebody else's; verified, never touched.
    External,
    /// HAProxy on the nodes of that role.
    Managed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub distribution: Distribution,
    pub balancing: Balancing,
    pub nodes: Vec<NodeIntent>,
    /// Add-on manifests, if any.
    pub manifests: Option<Digest>,
    pub endpoint: EndpointIntent,
    /// The node that is to go, if one is.
    pub leaving: Option<Leaving>,
    #[serde(default)]
    pub dead_nodes: DeadNodes,
    /// The quorum is lost for good, and what becomes of it.
    pub recovery: Option<Recovery>,
    /// The cluster is to stand still, or to run again after that.
    #[serde(default)]
    pub shutdown: Option<Shutdown>,
    /// Storage with a quorum of its own is asked before a node is taken down.
    #[serde(default)]
    pub storage: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeIntent {
    pub name: NodeName,
    pub address: String,
    pub member: bool,
    pub worker: bool,
    pub balancer: bool,
    pub peer_url: String,
    pub zone: Option<String>,
    pub wants: Wants,
}

/// The marks that the node shows when each step is done as asked now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wants {
    pub preflight: Digest,
    pub install: Digest,
    /// Labels, taints and zone; none for an etcd cluster.
    pub configure: Option<Digest>,
}

impl Intent {
    pub fn node(&self, name: &NodeName) -> Option<&NodeIntent> {
        self.nodes.iter().find(|node| &node.name == name)
    }

    pub fn members(&self) -> impl Iterator<Item = &NodeIntent> {
        self.nodes.iter().filter(|node| node.member)
    }

    pub fn is_leaving(&self, name: &NodeName) -> bool {
        self.leaving.as_ref().is_some_and(|it| &it.node == name)
    }

    pub fn by_peer_url(&self, peer_url: &str) -> Option<&NodeIntent> {
        self.members().find(|node| node.peer_url == peer_url)
    }
}
