//! Where certificates of a cluster lie on a node.

use crate::paths::Paths;
use std::path::{Path, PathBuf};

/// Where the key of a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Elsewhere, or a matter of its own: authorities.
    Unseen,
    File(PathBuf),
    /// In the certificate's own file, one behind the other.
    Beside,
    /// In the kubeconfig that holds the certificate.
    Kubeconfig,
}

/// One file with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    /// As a person on the node finds it.
    pub place: String,
    pub kind: &'static str,
    pub key: Key,
    /// Which authorities it is to be signed by.
    pub authority: Option<PathBuf>,
    pub renewable: bool,
}

impl Source {
    /// Every file that the judgement depends on, the certificate's own first.
    pub fn inputs(&self) -> Vec<&Path> {
        let key = match &self.key {
            Key::File(path) => Some(path.as_path()),
            Key::Unseen | Key::Beside | Key::Kubeconfig => None,
        };
        let authority = self.authority.as_deref();
        [Some(self.path.as_path()), key, authority]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Name below kubeadm's pki folder, kind, and the authority's file.
const KUBEADM: [(&str, &str, &str); 7] = [
    ("apiserver", "api-server", "ca.crt"),
    (
        "apiserver-kubelet-client",
        "api-server-kubelet-client",
        "ca.crt",
    ),
    (
        "apiserver-etcd-client",
        "api-server-etcd-client",
        "etcd/ca.crt",
    ),
    (
        "front-proxy-client",
        "front-proxy-client",
        "front-proxy-ca.crt",
    ),
    ("etcd/server", "etcd-server", "etcd/ca.crt"),
    ("etcd/peer", "etcd-peer", "etcd/ca.crt"),
    (
        "etcd/healthcheck-client",
        "etcd-healthcheck-client",
        "etcd/ca.crt",
    ),
];
const AUTHORITIES: [&str; 3] = ["ca.crt", "front-proxy-ca.crt", "etcd/ca.crt"];
/// kubelet.conf only points at the kubelet's own file.
const KUBECONFIGS: [&str; 4] = [
    "admin.conf",
    "super-admin.conf",
    "controller-manager.conf",
    "scheduler.conf",
];
const ETCD: [(&str, &str); 3] = [
    ("server", "etcd-server"),
    ("peer", "etcd-peer"),
    ("client", "etcd-client"),
];
const KUBELET: &str = "/var/lib/kubelet/pki";

pub fn of_node(paths: &Paths) -> Vec<Source> {
    let mut all = of_kubeadm(paths);
    all.extend(of_kubelet(paths));
    all.extend(of_etcd(paths));
    let identity = paths.identity();
    all.push(Source {
        key: Key::File(identity.join("key.pem")),
        authority: Some(identity.join("ca.pem")),
        ..source(paths, identity.join("cert.pem"), "agent")
    });
    all
}

fn of_kubeadm(paths: &Paths) -> Vec<Source> {
    let pki = paths.kubernetes().join("pki");
    let leaves = KUBEADM.map(|(name, kind, authority)| Source {
        key: Key::File(pki.join(format!("{name}.key"))),
        authority: Some(pki.join(authority)),
        renewable: true,
        ..source(paths, pki.join(format!("{name}.crt")), kind)
    });
    let authorities = AUTHORITIES.map(|name| source(paths, pki.join(name), "ca"));
    let kubeconfigs = KUBECONFIGS.map(|name| Source {
        key: Key::Kubeconfig,
        authority: Some(pki.join("ca.crt")),
        renewable: true,
        ..source(paths, paths.kubernetes().join(name), "kubeconfig")
    });
    leaves
        .into_iter()
        .chain(authorities)
        .chain(kubeconfigs)
        .collect()
}

/// The client's renews itself. A serving one that the cluster's authority has not signed is the kubelet's own, and trusted by nobody.
fn of_kubelet(paths: &Paths) -> Vec<Source> {
    let folder = paths.at(KUBELET);
    let authority = Some(paths.kubernetes().join("pki/ca.crt"));
    let client = Source {
        key: Key::Beside,
        authority: authority.clone(),
        ..source(
            paths,
            folder.join("kubelet-client-current.pem"),
            "kubelet-client",
        )
    };
    let issued = folder.join("kubelet-server-current.pem");
    let serving = match issued.exists() {
        true => Source {
            key: Key::Beside,
            authority,
            ..source(paths, issued, "kubelet-serving")
        },
        false => Source {
            key: Key::File(folder.join("kubelet.key")),
            ..source(paths, folder.join("kubelet.crt"), "kubelet-serving")
        },
    };
    vec![client, serving]
}

fn of_etcd(paths: &Paths) -> Vec<Source> {
    let folder = paths.etcd_pki();
    let leaves = ETCD.map(|(name, kind)| Source {
        key: Key::File(folder.join(format!("{name}.key"))),
        authority: Some(folder.join("ca.crt")),
        renewable: true,
        ..source(paths, folder.join(format!("{name}.crt")), kind)
    });
    let authority = source(paths, folder.join("ca.crt"), "ca");
    leaves.into_iter().chain([authority]).collect()
}

fn source(paths: &Paths, path: PathBuf, kind: &'static str) -> Source {
    let inside = path.strip_prefix(paths.root()).unwrap_or(&path);
    Source {
        place: format!("/{}", inside.display()),
        path,
        kind,
        key: Key::Unseen,
        authority: None,
        renewable: false,
    }
}
