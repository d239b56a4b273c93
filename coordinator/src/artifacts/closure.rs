//! Which packages to send so that the wanted ones can be installed: they themselves and what they depend on, as far as
//! it is among the artifacts. The rest has to be on the node already, which apt finds out there.

use super::relation::{self, Alternative};
use super::version;
use quorate_proto::v1::{ArtifactKind, ArtifactRef};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Closure {
    /// One version of each package, by package name.
    pub debs: Vec<ArtifactRef>,
    /// Wanted packages that no artifact holds, as they were asked for.
    pub missing: Vec<String>,
}

/// `wanted` are package names, "kubeadm" or "kubeadm=1.33.13-1.1". `architecture` is Debian's or the kernel's name of
/// it; empty takes any. Of several versions the newest one that fits is taken.
pub fn closure(wanted: &[String], available: &[ArtifactRef], architecture: &str) -> Closure {
    let pool = Pool::new(available, architecture);
    let mut chosen: BTreeMap<&str, &ArtifactRef> = BTreeMap::new();
    let mut missing = Vec::new();
    // All wanted ones first: a version that was asked for wins over the newest that a dependency would take.
    for text in wanted {
        match pool.wanted(text) {
            Some(deb) => {
                chosen.entry(&deb.package).or_insert(deb);
            }
            None => missing.push(text.clone()),
        }
    }
    let mut queue: VecDeque<&ArtifactRef> = chosen.values().copied().collect();
    while let Some(deb) = queue.pop_front() {
        for dependency in relation::dependencies(&deb.depends) {
            if dependency
                .0
                .iter()
                .any(|one| chosen.values().any(|deb| fits(one, deb)))
            {
                continue;
            }
            let found = dependency.0.iter().find_map(|one| pool.best(one));
            let Some(found) = found.filter(|found| !chosen.contains_key(found.package.as_str()))
            else {
                continue;
            };
            chosen.insert(&found.package, found);
            queue.push_back(found);
        }
    }
    Closure {
        debs: chosen.into_values().cloned().collect(),
        missing,
    }
}

struct Pool<'a> {
    debs: Vec<&'a ArtifactRef>,
}

impl<'a> Pool<'a> {
    fn new(available: &'a [ArtifactRef], architecture: &str) -> Self {
        let architecture = debian_architecture(architecture);
        let usable = |deb: &&ArtifactRef| {
            deb.kind() == ArtifactKind::Deb
                && (architecture.is_empty()
                    || ["all", "", architecture].contains(&deb.architecture.as_str()))
        };
        let mut debs: Vec<_> = available.iter().filter(usable).collect();
        // Newest first; of equal ones always the same.
        debs.sort_by(|a, b| {
            version::compare(&b.version, &a.version).then_with(|| a.digest.cmp(&b.digest))
        });
        Pool { debs }
    }

    fn wanted(&self, text: &str) -> Option<&'a ArtifactRef> {
        let (package, version) = match text.split_once('=') {
            Some((package, version)) => (package, Some(version)),
            None => (text, None),
        };
        self.debs.iter().copied().find(|deb| {
            deb.package == package
                && version.is_none_or(|version| version::compare(&deb.version, version).is_eq())
        })
    }

    /// A package of that name before one that only provides it.
    fn best(&self, wanted: &Alternative) -> Option<&'a ArtifactRef> {
        let fitting: Vec<_> = self
            .debs
            .iter()
            .copied()
            .filter(|deb| fits(wanted, deb))
            .collect();
        let named = fitting.iter().find(|deb| deb.package == wanted.package);
        named.or(fitting.first()).copied()
    }
}

fn fits(wanted: &Alternative, deb: &ArtifactRef) -> bool {
    let holds = |version: Option<&str>| match (&wanted.constraint, version) {
        (None, _) => true,
        (Some(constraint), Some(version)) => constraint.holds(version),
        // A name that is provided without a version satisfies no constraint.
        (Some(_), None) => false,
    };
    (deb.package == wanted.package && holds(Some(&deb.version)))
        || relation::provided(&deb.provides)
            .iter()
            .any(|(name, version)| *name == wanted.package && holds(version.as_deref()))
}

fn debian_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Packages that are there in more than one version, with the versions, newest first: worth a warning.
pub fn several_versions(available: &[ArtifactRef]) -> Vec<(String, Vec<String>)> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for deb in available
        .iter()
        .filter(|one| one.kind() == ArtifactKind::Deb)
    {
        versions
            .entry(&deb.package)
            .or_default()
            .insert(&deb.version);
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(package, versions)| {
            let mut sorted: Vec<String> = versions.into_iter().map(str::to_owned).collect();
            sorted.sort_by(|a, b| version::compare(b, a));
            (package.to_owned(), sorted)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(package: &str, version: &str, depends: &str, provides: &str) -> ArtifactRef {
        ArtifactRef {
            digest: format!("{package}-{version}"),
            kind: ArtifactKind::Deb as i32,
            package: package.to_owned(),
            version: version.to_owned(),
            depends: depends.to_owned(),
            provides: provides.to_owned(),
            architecture: "amd64".to_owned(),
            ..ArtifactRef::default()
        }
    }

    fn names(wanted: &[&str], available: &[ArtifactRef]) -> (Vec<String>, Vec<String>) {
        let wanted: Vec<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
        let closure = closure(&wanted, available, "x86_64");
        let digests = closure.debs.into_iter().map(|deb| deb.digest).collect();
        (digests, closure.missing)
    }

    #[test]
    fn a_table() {
        let pool = [
            deb("kubeadm", "1.33.13-1.1", "cri-tools (>= 1.30.0)", ""),
            deb("kubeadm", "1.34.1-1.1", "cri-tools (>= 1.30.0)", ""),
            deb(
                "kubelet",
                "1.33.9-1.1",
                "iptables (>= 1.4) | nftables, libc6",
                "",
            ),
            deb(
                "kubelet",
                "1.33.13-1.1",
                "iptables (>= 1.4) | nftables, libc6, kubernetes-cni (>= 1.2)",
                "",
            ),
            deb("cri-tools", "1.33.0-1.1", "", ""),
            deb("cri-tools", "1.20.0-1.1", "", ""),
            deb("kubernetes-cni", "1.6.0-1.1", "kubelet", ""),
            deb("nftables", "1.0.6", "", ""),
            deb("a", "1", "mta", ""),
            deb("b", "1", "mta (>= 2)", ""),
            deb("exim", "4", "", "mta, mail (= 3)"),
            deb("c", "1", "mail (>= 3), gone | exim", ""),
            ArtifactRef {
                architecture: "arm64".to_owned(),
                ..deb("arm", "1", "", "")
            },
        ];
        let cases: [(&[&str], &[&str], &[&str]); 9] = [
            (
                &["kubeadm"],
                &["cri-tools-1.33.0-1.1", "kubeadm-1.34.1-1.1"],
                &[],
            ),
            (
                &["kubeadm=1.33.13-1.1"],
                &["cri-tools-1.33.0-1.1", "kubeadm-1.33.13-1.1"],
                &[],
            ),
            (
                &["kubelet"],
                &[
                    "kubelet-1.33.13-1.1",
                    "kubernetes-cni-1.6.0-1.1",
                    "nftables-1.0.6",
                ],
                &[],
            ),
            (
                &["kubernetes-cni", "kubelet=1.33.9-1.1"],
                &[
                    "kubelet-1.33.9-1.1",
                    "kubernetes-cni-1.6.0-1.1",
                    "nftables-1.0.6",
                ],
                &[],
            ),
            (&["a"], &["a-1", "exim-4"], &[]),
            (&["b"], &["b-1"], &[]),
            (&["c"], &["c-1", "exim-4"], &[]),
            (
                &["containerd", "kubeadm=9"],
                &[],
                &["containerd", "kubeadm=9"],
            ),
            (&["arm"], &[], &["arm"]),
        ];
        for (wanted, expected, missing) in cases {
            let (got, gone) = names(wanted, &pool);
            assert_eq!(got, expected, "{wanted:?}");
            assert_eq!(gone, missing, "{wanted:?}");
        }
    }

    #[test]
    fn several_versions_are_named_newest_first() {
        let pool = [
            deb("a", "1.9", "", ""),
            deb("a", "1.10", "", ""),
            deb("b", "1", "", ""),
        ];
        let expected = vec![("a".to_owned(), vec!["1.10".to_owned(), "1.9".to_owned()])];
        assert_eq!(several_versions(&pool), expected);
    }
}
