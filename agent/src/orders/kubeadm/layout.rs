//! kubeadm's files on a node, and where ours wait for their turn.

use crate::paths::Paths;
use std::path::PathBuf;

pub const ETCD_DATA: &str = "/var/lib/etcd";
pub const KUBELET: &str = "/var/lib/kubelet";

/// The kubeconfigs of a control plane, besides the first member's super-admin.conf.
pub const KUBECONFIGS: [&str; 4] = [
    "admin.conf",
    "kubelet.conf",
    "controller-manager.conf",
    "scheduler.conf",
];
pub const SUPER_ADMIN: &str = "super-admin.conf";
pub const KUBELET_CONF: &str = "kubelet.conf";
pub const BOOTSTRAP_KUBELET: &str = "bootstrap-kubelet.conf";

/// What every control plane of a cluster shares, below the pki folder.
pub const SHARED_KEYS: [&str; 8] = [
    "ca.crt",
    "ca.key",
    "sa.key",
    "sa.pub",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    "etcd/ca.crt",
    "etcd/ca.key",
];

#[derive(Clone)]
pub struct Layout<'a> {
    paths: &'a Paths,
}

impl<'a> Layout<'a> {
    pub fn of(paths: &'a Paths) -> Self {
        Layout { paths }
    }

    pub fn kubernetes(&self, file: &str) -> PathBuf {
        self.paths.kubernetes().join(file)
    }

    pub fn pki(&self) -> PathBuf {
        self.kubernetes("pki")
    }

    /// Beside the pki folder, as it takes its place by a rename.
    pub fn staged_pki(&self) -> PathBuf {
        self.kubernetes(".quorate-pki")
    }

    pub fn manifests(&self) -> PathBuf {
        self.kubernetes("manifests")
    }

    pub fn etcd_manifest(&self) -> PathBuf {
        self.manifests().join("etcd.yaml")
    }

    pub fn kubelet(&self, file: &str) -> PathBuf {
        self.paths.at(KUBELET).join(file)
    }

    /// Which member the etcd data of this node belongs to.
    pub fn member_record(&self) -> PathBuf {
        self.paths.state().join("kubeadm-member.json")
    }
}
