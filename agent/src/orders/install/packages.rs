//! Where each wanted package comes from: what is installed, an artifact, a delivered binary, or the apt source.

use super::installed::Installed;
use super::version::{asked, compare, is_asked};
use quorate_proto::v1::{ArtifactKind, ArtifactRef, ClusterConfig, Problem};
use std::cmp::Ordering;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Installed, and as new as what was delivered.
    Present,
    /// The .deb with this digest.
    Artifact(String),
    /// Delivered as a plain program.
    Binary,
    /// From the apt source: what `apt-get install` is given.
    Source(String),
    Missing(Problem),
}

pub struct Offer<'a> {
    pub installed: &'a Installed,
    pub artifacts: &'a [ArtifactRef],
    pub apt: bool,
}

/// As Debian's policy has it: letters, digits, plus, minus and dot. So no name can pass for an option or for a file.
fn is_package_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

/// Decides for one wanted package. An artifact goes before the apt source, as it needs no network and is one exact file.
pub fn way(package: &str, cluster: &ClusterConfig, offer: &Offer<'_>) -> Way {
    if !is_package_name(package) {
        let shown: String = package.chars().take(100).collect();
        return Way::Missing(
            Problem::new(
                "package-malformed",
                format!("{shown:?} is no package's name"),
            )
            .because("coordinator and agent of different versions"),
        );
    }
    let asked = asked(package, cluster);
    let artifact = newest(offer.artifacts, package, asked);
    let present = offer.installed.answers_to(package);
    if let Some(version) = present
        && asked.is_none_or(|asked| is_asked(version, asked))
        && artifact.is_none_or(|artifact| not_older(version, &artifact.version))
    {
        return Way::Present;
    }
    if let Some(artifact) = artifact {
        return Way::Artifact(artifact.digest.clone());
    }
    if program(offer.artifacts, package, cluster).is_some() {
        return Way::Binary;
    }
    if offer.apt {
        return Way::Source(match asked {
            Some(asked) => format!("{package}={asked}-*"),
            None => package.to_owned(),
        });
    }
    Way::Missing(missing(package, asked, present))
}

/// A provided name may carry no version; then it is as good as any.
fn not_older(version: &str, than: &str) -> bool {
    version.is_empty() || compare(version, than) != Ordering::Less
}

fn newest<'a>(
    artifacts: &'a [ArtifactRef],
    package: &str,
    asked: Option<&str>,
) -> Option<&'a ArtifactRef> {
    of_kind(artifacts, ArtifactKind::Deb)
        .filter(|artifact| artifact.package == package)
        .filter(|artifact| asked.is_none_or(|asked| is_asked(&artifact.version, asked)))
        .max_by(|one, other| compare(&one.version, &other.version))
}

/// The programs that are installed as plain files, where they are not packaged.
pub const PROGRAMS: [&str; 3] = ["kubeadm", "kubelet", "kubectl"];

/// The delivered program of that name in the cluster's version.
pub fn program<'a>(
    artifacts: &'a [ArtifactRef],
    name: &str,
    cluster: &ClusterConfig,
) -> Option<&'a ArtifactRef> {
    let fits = |version: &str| {
        version.is_empty()
            || version.trim_start_matches('v') == cluster.version.trim_start_matches('v')
    };
    of_kind(artifacts, ArtifactKind::Binary)
        .filter(|artifact| PROGRAMS.contains(&name) && artifact.name == name)
        .find(|artifact| fits(&artifact.version))
}

pub fn of_kind(
    artifacts: &[ArtifactRef],
    kind: ArtifactKind,
) -> impl Iterator<Item = &ArtifactRef> {
    artifacts
        .iter()
        .filter(move |artifact| artifact.kind() == kind)
}

/// The .deb artifacts that could be installed here: of each package the newest, if it is newer than what is there.
pub fn candidates<'a>(
    artifacts: &'a [ArtifactRef],
    cluster: &ClusterConfig,
    installed: &Installed,
) -> Vec<&'a ArtifactRef> {
    of_kind(artifacts, ArtifactKind::Deb)
        .filter(|artifact| {
            let best = newest(
                artifacts,
                &artifact.package,
                asked(&artifact.package, cluster),
            );
            best.is_some_and(|best| best.digest == artifact.digest)
        })
        .filter(|artifact| {
            installed
                .version(&artifact.package)
                .is_none_or(|version| compare(version, &artifact.version) == Ordering::Less)
        })
        .collect()
}

fn missing(package: &str, asked: Option<&str>, present: Option<&str>) -> Problem {
    let wanted = match asked {
        Some(asked) => format!("{package} {asked}"),
        None => package.to_owned(),
    };
    let there = match present {
        Some(present) => format!("version {present} is installed"),
        None => "it is not installed".to_owned(),
    };
    Problem::new("package-missing", format!("no source for the package {wanted}"))
        .at(package)
        .because(format!(
            "{there}, no artifact holds it, and the cluster file names no apt source"
        ))
        .next(format!(
            "quorate artifacts add the .deb of {wanted} and of what it depends on, or name an apt source in the cluster file"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Distribution;

    fn deb(package: &str, version: &str) -> ArtifactRef {
        ArtifactRef {
            digest: format!("sha256:{package}{version}"),
            kind: ArtifactKind::Deb as i32,
            package: package.into(),
            version: version.into(),
            ..ArtifactRef::default()
        }
    }

    fn binary(name: &str) -> ArtifactRef {
        ArtifactRef {
            name: name.into(),
            kind: ArtifactKind::Binary as i32,
            ..ArtifactRef::default()
        }
    }

    fn cluster() -> ClusterConfig {
        ClusterConfig {
            distribution: Distribution::Kubeadm as i32,
            version: "v1.33.13".into(),
            ..ClusterConfig::default()
        }
    }

    fn installed(packages: &[(&str, &str)]) -> Installed {
        let mut installed = Installed::default();
        for (name, version) in packages {
            installed.add(name, version, false);
        }
        installed
    }

    fn kind(way: &Way) -> &str {
        match way {
            Way::Present => "present",
            Way::Artifact(digest) => digest,
            Way::Binary => "binary",
            Way::Source(what) => what,
            Way::Missing(_) => "missing",
        }
    }

    #[test]
    fn each_wanted_package_has_one_way() {
        let runc = [
            deb("runc", "1.1.5"),
            deb("runc", "1.1.12"),
            deb("etcd", "1"),
        ];
        let kube = [deb("kubeadm", "1.33.13-1.1"), deb("kubeadm", "1.34.0-1.1")];
        let programs = [binary("kubeadm")];
        type Row<'a> = (
            &'a str,
            &'a [(&'a str, &'a str)],
            &'a [ArtifactRef],
            bool,
            &'a str,
        );
        let table: [Row; 13] = [
            ("runc", &[("runc", "1.1.5")], &[], false, "present"),
            ("runc", &[("runc", "1.1.12")], &runc, true, "present"),
            (
                "runc",
                &[("runc", "1.1.5")],
                &runc,
                true,
                "sha256:runc1.1.12",
            ),
            ("runc", &[], &runc, false, "sha256:runc1.1.12"),
            ("runc", &[], &runc[2..], true, "runc"),
            ("runc", &[], &[], false, "missing"),
            (
                "kubeadm",
                &[("kubeadm", "1.33.13-1.1")],
                &[],
                false,
                "present",
            ),
            (
                "kubeadm",
                &[("kubeadm", "1.32.0-1.1")],
                &[],
                false,
                "missing",
            ),
            (
                "kubeadm",
                &[("kubeadm", "1.32.0-1.1")],
                &[],
                true,
                "kubeadm=1.33.13-*",
            ),
            ("kubeadm", &[], &kube, false, "sha256:kubeadm1.33.13-1.1"),
            ("kubeadm", &[], &kube[1..], false, "missing"),
            ("kubeadm", &[], &programs, true, "binary"),
            (
                "kubeadm",
                &[("kubeadm", "1.33.13-1.1")],
                &programs,
                true,
                "present",
            ),
        ];
        for (package, there, artifacts, apt, expected) in table {
            let there = installed(there);
            let offer = Offer {
                installed: &there,
                artifacts,
                apt,
            };
            let way = way(package, &cluster(), &offer);
            assert_eq!(kind(&way), expected, "{package} with {there:?} apt {apt}");
        }
    }

    #[test]
    fn a_missing_package_is_named_with_the_way_out() {
        let there = installed(&[("kubelet", "1.30.0-1.1")]);
        let offer = Offer {
            installed: &there,
            artifacts: &[],
            apt: false,
        };
        let Way::Missing(problem) = way("kubelet", &cluster(), &offer) else {
            panic!("kubelet of another version is no kubelet");
        };
        assert!(problem.what.contains("kubelet 1.33.13"), "{problem}");
        assert!(problem.cause.contains("1.30.0-1.1"), "{problem}");
        assert!(problem.next.contains("quorate artifacts add"), "{problem}");
    }

    #[test]
    fn candidates_are_the_newest_that_are_not_there() {
        let artifacts = [
            deb("runc", "1.1.5"),
            deb("runc", "1.1.12"),
            deb("socat", "1.7"),
            deb("kubeadm", "1.34.0-1.1"),
        ];
        let there = installed(&[("socat", "1.7")]);
        let names: Vec<String> = candidates(&artifacts, &cluster(), &there)
            .iter()
            .map(|artifact| format!("{} {}", artifact.package, artifact.version))
            .collect();
        assert_eq!(names, ["runc 1.1.12"]);
    }
}
