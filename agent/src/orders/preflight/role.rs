//! What this node is to be, and how far it is already.

use quorate_proto::v1::{ClusterConfig, Distribution, Marks, NodeConfig};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    pub distribution: Distribution,
    pub member: bool,
    pub worker: bool,
    pub load_balancer: bool,
    /// Part of this cluster already: its own files and ports are no obstacle.
    pub ours: bool,
    /// The order install has run: what it sets must be set by now.
    pub installed: bool,
}

impl Role {
    pub fn of(cluster: &ClusterConfig, node: &NodeConfig, marks: &Marks) -> Self {
        Role {
            distribution: cluster.distribution(),
            member: node.member,
            worker: node.worker,
            load_balancer: node.load_balancer,
            ours: !cluster.id.is_empty() && marks.cluster_id == cluster.id,
            installed: !marks.install.is_empty(),
        }
    }

    /// Runs a kubelet and a container runtime.
    pub fn containers(&self) -> bool {
        match self.distribution {
            Distribution::Kubeadm => self.member || self.worker,
            Distribution::Etcd | Distribution::Unspecified => false,
        }
    }

    pub fn control_plane(&self) -> bool {
        self.containers() && self.member
    }
}

#[cfg(test)]
pub mod testing {
    use super::*;

    pub fn control_plane() -> Role {
        Role {
            distribution: Distribution::Kubeadm,
            member: true,
            worker: false,
            load_balancer: false,
            ours: false,
            installed: false,
        }
    }

    pub fn worker() -> Role {
        Role {
            member: false,
            worker: true,
            ..control_plane()
        }
    }

    pub fn etcd_member() -> Role {
        Role {
            distribution: Distribution::Etcd,
            ..control_plane()
        }
    }

    pub fn load_balancer() -> Role {
        Role {
            member: false,
            load_balancer: true,
            ..control_plane()
        }
    }
}
