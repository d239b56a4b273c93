//! Whether the wanted packages can be had, and whether what is installed fits the cluster's version.

use super::finding::{fatal, ok, warning};
use super::role::Role;
use crate::host::tool::Tool;
use crate::orders::install::installed::Installed;
use crate::orders::install::packages::{Offer, Way, program, way};
use crate::orders::install::version::numbers;
use crate::orders::install::wanted;
use quorate_proto::v1::{ClusterConfig, Finding, Preflight, Problem};

/// A kubelet may be this many minor versions older than the API server.
const KUBELET_SKEW: u32 = 3;
/// From this version on the kubelet needs containerd 2.
const CONTAINERD_2_FROM: (u32, u32) = (1, 36);

pub async fn check(role: Role, cluster: &ClusterConfig, action: &Preflight) -> Vec<Finding> {
    let mut findings = match Installed::read().await {
        Ok(installed) => check_packages(role, cluster, action, &installed).await,
        Err(problem) => vec![fatal(
            "Packages",
            problem.because("this is no Debian system"),
        )],
    };
    if role.containers() {
        let (kubelet, containerd) = tokio::join!(
            version_of("kubelet", &["--version"], 1),
            version_of("containerd", &["--version"], 2)
        );
        let replaced = program(&action.artifacts, "kubelet", cluster).is_some();
        findings.push(judge_kubelet(
            kubelet.filter(|_| !replaced),
            numbers(&cluster.version),
        ));
        findings.push(judge_containerd(containerd, numbers(&cluster.version)));
    }
    findings
}

async fn check_packages(
    role: Role,
    cluster: &ClusterConfig,
    action: &Preflight,
    installed: &Installed,
) -> Vec<Finding> {
    let offer = Offer {
        installed,
        artifacts: &action.artifacts,
        apt: false,
    };
    let names = wanted::names(&action.wanted_packages, role.containers(), cluster, &offer).await;
    names
        .iter()
        .map(|name| judge_package(name, way(name, cluster, &offer)))
        .collect()
}

/// The order does not say whether the cluster file names an apt source, so that absence only warns.
fn judge_package(package: &str, way: Way) -> Finding {
    let name = format!("Package-{package}");
    match way {
        Way::Present => ok(name, "installed"),
        Way::Artifact(_) => ok(name, "among the artifacts"),
        Way::Binary => ok(name, "among the artifacts, as a program"),
        Way::Source(source) => ok(name, format!("from the apt source: {source}")),
        Way::Missing(problem) => warning(
            name,
            problem.because("it is neither installed nor among the artifacts; unless the cluster file names an apt source, installing fails"),
        ),
    }
}

/// The word of its own version line, if the program is there.
async fn version_of(tool: &str, arguments: &[&str], word: usize) -> Option<(u32, u32, u32)> {
    let run = Tool::new(tool).args(arguments.iter().copied()).ok().await;
    numbers(run.ok()?.stdout.split_whitespace().nth(word)?)
}

fn judge_kubelet(kubelet: Option<(u32, u32, u32)>, cluster: Option<(u32, u32, u32)>) -> Finding {
    const NAME: &str = "KubeletVersion";
    let (Some(kubelet), Some(cluster)) = (kubelet, cluster) else {
        return ok(NAME, "installed with the cluster's version");
    };
    let shown = format!("v{}.{}.{}", kubelet.0, kubelet.1, kubelet.2);
    let newer = kubelet > cluster;
    let older = kubelet.0 < cluster.0 || kubelet.1 + KUBELET_SKEW < cluster.1;
    if !newer && !older {
        return ok(NAME, format!("kubelet {shown}"));
    }
    let (major, minor, patch) = cluster;
    fatal(
        NAME,
        Problem::new(
            "kubelet-version",
            format!("kubelet {shown} does not fit the cluster's v{major}.{minor}.{patch}"),
        )
        .because(format!(
            "a kubelet may not be newer than the API server, nor more than {KUBELET_SKEW} minor versions older"
        ))
        .next("deliver the cluster's version as a package or an artifact, or remove the installed one"),
    )
}

fn judge_containerd(
    containerd: Option<(u32, u32, u32)>,
    cluster: Option<(u32, u32, u32)>,
) -> Finding {
    const NAME: &str = "ContainerRuntimeVersion";
    let Some((major, minor, patch)) = containerd else {
        return ok(NAME, "no containerd yet");
    };
    let shown = format!("containerd {major}.{minor}.{patch}");
    let needs_two = cluster.is_some_and(|(major, minor, _)| (major, minor) >= CONTAINERD_2_FROM);
    if major >= 2 || !needs_two {
        return ok(NAME, shown);
    }
    warning(
        NAME,
        Problem::new(
            "containerd-version",
            format!("{shown} is too old for this Kubernetes"),
        )
        .because("Kubernetes 1.35 is the last to support containerd 1")
        .next("deliver containerd 2 as a package or an artifact"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::role::testing::etcd_member;
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    #[test]
    fn kubelet_within_the_skew() {
        let cluster = Some((1, 33, 13));
        for (kubelet, expected) in [
            (None, Good),
            (Some((1, 33, 13)), Good),
            (Some((1, 30, 0)), Good),
            (Some((1, 29, 9)), Fatal),
            (Some((1, 33, 14)), Fatal),
            (Some((1, 34, 0)), Fatal),
        ] {
            assert_eq!(
                judge_kubelet(kubelet, cluster).severity(),
                expected,
                "{kubelet:?}"
            );
        }
    }

    #[test]
    fn containerd_by_the_clusters_version() {
        for (containerd, cluster, expected) in [
            (None, Some((1, 36, 0)), Good),
            (Some((1, 7, 28)), Some((1, 35, 4)), Good),
            (Some((1, 7, 28)), Some((1, 36, 0)), Warning),
            (Some((2, 1, 0)), Some((1, 36, 0)), Good),
        ] {
            assert_eq!(judge_containerd(containerd, cluster).severity(), expected);
        }
    }

    #[tokio::test]
    async fn every_wanted_package_has_a_finding() {
        let action = Preflight {
            wanted_packages: vec!["runc".into(), "socat".into()],
            ..Preflight::default()
        };
        let installed = Installed::parse("runc\t1.1\tinstall\tinstalled\t\n");
        let cluster = ClusterConfig::default();
        let findings = check_packages(etcd_member(), &cluster, &action, &installed).await;
        let seen: Vec<_> = findings
            .iter()
            .map(|finding| (finding.name.as_str(), finding.severity()))
            .collect();
        assert_eq!(seen, [("Package-runc", Good), ("Package-socat", Warning)]);
    }
}
