//! Where things are on a host. One struct, so that a test can put all of it under a folder of its own.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Paths::under("/")
    }
}

impl Paths {
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Paths { root: root.into() }
    }

    /// Any absolute path of the host, below this root.
    pub fn at(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The agent's own state: identity, journal, marks, cached artifacts.
    pub fn state(&self) -> PathBuf {
        self.at("/var/lib/quorate-agent")
    }

    pub fn identity(&self) -> PathBuf {
        self.state().join("identity")
    }

    pub fn journal(&self) -> PathBuf {
        self.state().join("orders")
    }

    pub fn artifacts(&self) -> PathBuf {
        self.state().join("artifacts")
    }

    /// Snapshots of etcd, a folder for each cluster.
    pub fn snapshots(&self) -> PathBuf {
        self.state().join("snapshots")
    }

    pub fn marks(&self) -> PathBuf {
        self.state().join("marks.json")
    }

    /// Memory only (tmpfs): sealed parts of orders on their way into a unit.
    pub fn runtime(&self) -> PathBuf {
        self.at("/run/quorate-agent")
    }

    pub fn kubernetes(&self) -> PathBuf {
        self.at("/etc/kubernetes")
    }

    /// The certificates of an etcd cluster of its own; kubeadm keeps its in /etc/kubernetes/pki.
    pub fn etcd_pki(&self) -> PathBuf {
        self.at("/etc/quorate/etcd/pki")
    }
}
