//! Everything that a node is to have installed: the packages that the order names, and on a node of Kubernetes its programs, which
//! come as packages or as plain files, or are there already.

use super::packages::{Offer, PROGRAMS, Way, way};
use crate::host::tool::Tool;
use quorate_proto::v1::{ClusterConfig, Distribution};
use std::time::Duration;

/// A program tells its version at once, or is broken.
const TELL: Duration = Duration::from_secs(20);

/// `containers`: whether the node runs a kubelet.
pub async fn names(
    packages: &[String],
    containers: bool,
    cluster: &ClusterConfig,
    offer: &Offer<'_>,
) -> Vec<String> {
    let mut names = packages.to_vec();
    match cluster.distribution() {
        Distribution::Kubeadm if containers => {}
        Distribution::Kubeadm | Distribution::Etcd | Distribution::Unspecified => return names,
    }
    let mut from_source = false;
    for name in PROGRAMS {
        if packages.iter().any(|package| package == name) {
            continue;
        }
        let way = way(name, cluster, offer);
        let there = match way {
            // Only then its version matters; asking costs a start of the program.
            Way::Missing(_) | Way::Source(_) => version(name).await,
            Way::Present | Way::Artifact(_) | Way::Binary => None,
        };
        let right = there.is_some_and(|there| same(&there, &cluster.version));
        if is_wanted(name, &way, right, from_source) {
            from_source |= matches!(way, Way::Source(_));
            names.push(name.to_owned());
        }
    }
    names
}

/// One that is there in the `right` version needs no source. kubectl is only a help: it comes along from where the others come.
fn is_wanted(name: &str, way: &Way, right: bool, others_from_source: bool) -> bool {
    match way {
        Way::Present | Way::Artifact(_) | Way::Binary => true,
        Way::Source(_) => !right && (name != "kubectl" || others_from_source),
        Way::Missing(_) => !right && name != "kubectl",
    }
}

pub fn same(one: &str, other: &str) -> bool {
    one.trim_start_matches('v') == other.trim_start_matches('v')
}

/// What the program in the path says of itself: `v1.33.13`.
pub async fn version(program: &str) -> Option<String> {
    let arguments: &[&str] = match program {
        "kubeadm" => &["version", "-o", "short"],
        "kubectl" => &["version", "--client"],
        _ => &["--version"],
    };
    let run = Tool::new(program)
        .args(arguments.iter().copied())
        .timeout(TELL)
        .ok()
        .await;
    word(&run.ok()?.stdout)
}

fn word(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    text.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::installed::Installed;
    use quorate_proto::v1::{ArtifactKind, ArtifactRef, Problem};

    #[test]
    fn a_program_without_a_source_is_wanted_unless_it_is_there() {
        let missing = Way::Missing(Problem::new("x", "x"));
        let source = Way::Source("x".into());
        for (name, way, right, from_source, wanted) in [
            ("kubelet", &Way::Binary, true, false, true),
            ("kubelet", &missing, false, false, true),
            ("kubelet", &missing, true, false, false),
            ("kubelet", &source, false, false, true),
            ("kubelet", &source, true, false, false),
            ("kubectl", &missing, false, true, false),
            ("kubectl", &source, false, false, false),
            ("kubectl", &source, false, true, true),
        ] {
            let seen = is_wanted(name, way, right, from_source);
            assert_eq!(seen, wanted, "{name} {way:?} {right} {from_source}");
        }
    }

    #[test]
    fn versions_as_the_programs_print_them() {
        for (text, version) in [
            ("v1.33.13\n", Some("v1.33.13")),
            ("Kubernetes v1.33.13\n", Some("v1.33.13")),
            (
                "Client Version: v1.33.13\nKustomize Version: v5.6.0\n",
                Some("v1.33.13"),
            ),
            ("very sorry\n", None),
        ] {
            assert_eq!(word(text).as_deref(), version, "{text}");
        }
    }

    #[tokio::test]
    async fn only_nodes_of_kubernetes_want_its_programs() {
        let program = |name: &str| ArtifactRef {
            name: name.into(),
            kind: ArtifactKind::Binary as i32,
            ..ArtifactRef::default()
        };
        let artifacts = PROGRAMS.map(program);
        let installed = Installed::default();
        let offer = Offer {
            installed: &installed,
            artifacts: &artifacts,
            apt: false,
        };
        let packages = ["kubelet".to_owned(), "socat".to_owned()];
        for (distribution, containers, expected) in [
            (
                Distribution::Kubeadm,
                true,
                &["kubelet", "socat", "kubeadm", "kubectl"][..],
            ),
            (Distribution::Kubeadm, false, &["kubelet", "socat"]),
            (Distribution::Etcd, true, &["kubelet", "socat"]),
        ] {
            let cluster = ClusterConfig {
                distribution: distribution as i32,
                ..ClusterConfig::default()
            };
            let names = names(&packages, containers, &cluster, &offer).await;
            assert_eq!(names, expected, "{distribution:?} {containers}");
        }
    }
}
