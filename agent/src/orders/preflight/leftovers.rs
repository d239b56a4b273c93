//! What an earlier cluster left on this machine.

use super::finding::{fatal, of_path, ok, warning};
use super::role::Role;
use crate::context::Context;
use crate::host::service;
use crate::orders::install::documents::Documents;
use crate::paths::Paths;
use quorate_proto::v1::{ClusterConfig, Distribution, Finding, Marks, Problem};
use std::fs;

const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// Data and configuration of a member of an etcd cluster of its own; what Debian's etcd left beside them is no obstacle.
const ETCD_OWN: [&str; 2] = ["/var/lib/etcd/quorate", "/etc/quorate/etcd"];
const CNI: &str = "/etc/cni/net.d";
/// Where kubeadm looks for container runtimes.
const SOCKETS: [&str; 3] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Must not exist.
    File(String),
    /// Must be absent or empty.
    Folder(String),
}

pub async fn check(
    context: &Context,
    role: Role,
    cluster: &ClusterConfig,
    marks: &Marks,
    documents: &Documents,
) -> Vec<Finding> {
    let mut findings = vec![judge_mark(&marks.cluster_id, &cluster.id)];
    if role.ours {
        findings.push(ok("Leftovers", "this node is part of the cluster already"));
        return findings;
    }
    let paths = &context.paths;
    for place in places(role, documents) {
        let found = found(paths, &place);
        findings.push(judge_place(&place, &found));
    }
    if role.containers() {
        findings.push(judge_cni(&entries(paths, CNI)));
        findings.push(judge_sockets(&existing(paths, &SOCKETS)));
        let active = service::active_state("kubelet.service").await;
        let active = active.is_ok_and(|state| state == "active");
        findings.push(judge_kubelet(active, paths.at(KUBELET_CONF).exists()));
    }
    findings
}

fn judge_mark(mark: &str, cluster: &str) -> Finding {
    const NAME: &str = "OtherCluster";
    if mark.is_empty() || mark == cluster {
        return ok(NAME, "this node is no part of another cluster");
    }
    fatal(
        NAME,
        Problem::new(
            "other-cluster",
            format!("this node is part of the cluster {mark}"),
        )
        .because("it was not removed from there")
        .next("remove it from that cluster's file and apply, then add it here"),
    )
}

fn places(role: Role, documents: &Documents) -> Vec<Place> {
    let file = |path: &str| Place::File(path.to_owned());
    let folder = |path: &str| Place::Folder(path.to_owned());
    let mut places = Vec::new();
    if role.containers() {
        places.push(file(KUBELET_CONF));
        places.push(file("/etc/kubernetes/bootstrap-kubelet.conf"));
    }
    if role.control_plane() {
        places.extend(
            [
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "etcd",
            ]
            .map(|pod| Place::File(format!("/etc/kubernetes/manifests/{pod}.yaml"))),
        );
        places.push(folder(documents.etcd_data()));
    } else if role.containers() {
        places.push(file("/etc/kubernetes/pki/ca.crt"));
    }
    if role.member && role.distribution == Distribution::Etcd {
        places.extend(ETCD_OWN.map(folder));
    }
    places
}

/// The file itself, or what is in the folder.
fn found(paths: &Paths, place: &Place) -> Vec<String> {
    match place {
        Place::File(path) => existing(paths, &[path]),
        Place::Folder(path) => entries(paths, path),
    }
}

fn existing(paths: &Paths, places: &[&str]) -> Vec<String> {
    let there = places.iter().filter(|place| paths.at(place).exists());
    there.map(|place| (*place).to_owned()).collect()
}

fn entries(paths: &Paths, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(paths.at(folder)) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn judge_place(place: &Place, found: &[String]) -> Finding {
    let (name, path, what) = match place {
        Place::File(path) => (
            of_path("FileAvailable", path),
            path,
            format!("{path} exists"),
        ),
        Place::Folder(path) => {
            let what = format!("{path} is not empty: {}", found.join(", "));
            (of_path("DirAvailable", path), path, what)
        }
    };
    if found.is_empty() {
        return ok(name, format!("no {path}"));
    }
    fatal(
        name,
        Problem::new("leftover", what)
            .at(path.clone())
            .because("this machine was part of another cluster")
            .next("if nothing of it is needed: `kubeadm reset` or stop its etcd, then remove this path"),
    )
}

fn judge_cni(files: &[String]) -> Finding {
    const NAME: &str = "CNIConfig";
    if files.is_empty() {
        return ok(NAME, format!("{CNI} is empty"));
    }
    warning(
        NAME,
        Problem::new(
            "leftover-cni",
            format!("{CNI} holds a pod network's configuration: {}", files.join(", ")),
        )
        .at(CNI)
        .because("an earlier cluster or podman left it; the first file by name wins over the new network's")
        .next("remove the files unless they are meant for this cluster"),
    )
}

fn judge_sockets(sockets: &[String]) -> Finding {
    const NAME: &str = "CRISocket";
    let sockets_text = sockets.join(", ");
    match sockets.len() {
        0 => ok(NAME, "no container runtime yet"),
        1 => ok(NAME, sockets_text),
        _ => warning(
            NAME,
            Problem::new(
                "several-runtimes",
                format!("several container runtimes: {sockets_text}"),
            )
            .at("/run")
            .because("kubeadm cannot choose among them; quorate uses containerd")
            .next("remove the others"),
        ),
    }
}

fn judge_kubelet(active: bool, configured: bool) -> Finding {
    const NAME: &str = "RunningKubelet";
    if !(active && configured) {
        return ok(NAME, "no kubelet of another cluster runs");
    }
    fatal(
        NAME,
        Problem::new(
            "other-kubelet",
            "a kubelet that belongs to another cluster runs",
        )
        .at(KUBELET_CONF)
        .because("this machine is a node of a cluster that quorate did not make")
        .next("remove it from there: drain, delete the node, `kubeadm reset`"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::role::testing::{control_plane, etcd_member, load_balancer, worker};
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    fn names(role: Role) -> Vec<String> {
        let places = places(role, &Documents::default());
        places
            .iter()
            .map(|place| judge_place(place, &[]).name)
            .collect()
    }

    #[test]
    fn each_role_has_its_places() {
        assert_eq!(
            names(control_plane()),
            [
                "FileAvailable--etc-kubernetes-kubelet.conf",
                "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
                "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
                "FileAvailable--etc-kubernetes-manifests-kube-controller-manager.yaml",
                "FileAvailable--etc-kubernetes-manifests-kube-scheduler.yaml",
                "FileAvailable--etc-kubernetes-manifests-etcd.yaml",
                "DirAvailable--var-lib-etcd",
            ]
        );
        assert!(names(worker()).contains(&"FileAvailable--etc-kubernetes-pki-ca.crt".to_owned()));
        assert_eq!(
            names(etcd_member()),
            [
                "DirAvailable--var-lib-etcd-quorate",
                "DirAvailable--etc-quorate-etcd"
            ]
        );
        assert!(names(load_balancer()).is_empty());
    }

    #[test]
    fn a_folder_is_a_leftover_only_with_content() {
        let root = tempfile::tempdir().expect("folder");
        let paths = Paths::under(root.path());
        let place = Place::Folder("/var/lib/etcd".into());
        let severity = || judge_place(&place, &found(&paths, &place)).severity();
        assert_eq!(severity(), Good);
        fs::create_dir_all(paths.at("/var/lib/etcd")).expect("folder");
        assert_eq!(severity(), Good);
        fs::create_dir(paths.at("/var/lib/etcd/member")).expect("folder");
        assert_eq!(severity(), Fatal);
    }

    #[test]
    fn marks_runtimes_networks_and_kubelets() {
        for (mark, expected) in [("", Good), ("ours", Good), ("theirs", Fatal)] {
            assert_eq!(judge_mark(mark, "ours").severity(), expected, "{mark}");
        }
        let some = |count: usize| vec!["x".to_owned(); count];
        for (count, expected) in [(0, Good), (1, Good), (2, Warning)] {
            assert_eq!(judge_sockets(&some(count)).severity(), expected, "{count}");
        }
        for (count, expected) in [(0, Good), (1, Warning)] {
            assert_eq!(judge_cni(&some(count)).severity(), expected, "{count}");
        }
        for (active, configured, expected) in [
            (false, true, Good),
            (true, false, Good),
            (true, true, Fatal),
        ] {
            assert_eq!(judge_kubelet(active, configured).severity(), expected);
        }
    }
}
