//! Which Debian packages are on this host, read from dpkg's own records.

use crate::host::tool::Tool;
use quorate_proto::v1::Problem;
use std::collections::BTreeMap;

const FORMAT: &str =
    "${Package}\t${Version}\t${db:Status-Want}\t${db:Status-Status}\t${Provides}\n";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    packages: BTreeMap<String, Package>,
    /// Virtual name -> version it is provided with, empty without one.
    provided: BTreeMap<String, String>,
    /// Packages that an interrupted dpkg left half done.
    pub broken: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub version: String,
    pub held: bool,
}

impl Installed {
    pub async fn read() -> Result<Self, Problem> {
        let output = Tool::new("dpkg-query")
            .args(["--show", "--showformat", FORMAT])
            .ok()
            .await?;
        Ok(Self::parse(&output.stdout))
    }

    pub fn parse(text: &str) -> Self {
        let mut installed = Installed::default();
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(name), Some(version), Some(want), Some(state)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            match state {
                "installed" | "triggers-awaited" | "triggers-pending" => {
                    installed.add(name, version, want == "hold");
                    for (name, version) in provides(fields.next().unwrap_or_default()) {
                        installed.provided.insert(name, version);
                    }
                }
                "half-installed" | "unpacked" | "half-configured" => {
                    installed.broken.push(name.to_owned());
                }
                // "not-installed" and "config-files": gone.
                _ => {}
            }
        }
        installed
    }

    pub fn add(&mut self, name: &str, version: &str, held: bool) {
        let version = version.to_owned();
        self.packages
            .insert(name.to_owned(), Package { version, held });
    }

    /// The version of the package of that very name.
    pub fn version(&self, name: &str) -> Option<&str> {
        self.packages
            .get(name)
            .map(|package| package.version.as_str())
    }

    pub fn held(&self, name: &str) -> bool {
        self.packages.get(name).is_some_and(|package| package.held)
    }

    /// The version under which the name is there, by itself or through another package.
    pub fn answers_to(&self, name: &str) -> Option<&str> {
        self.version(name)
            .or_else(|| self.provided.get(name).map(String::as_str))
    }
}

/// `containerd, runc (= 1.1)` as names with versions.
pub fn provides(field: &str) -> Vec<(String, String)> {
    field
        .split(',')
        .filter_map(|part| {
            let (name, rest) = match part.trim().split_once(' ') {
                Some((name, rest)) => (name, rest),
                None => (part.trim(), ""),
            };
            let version = rest.trim_matches(['(', ')', '=', ' ']);
            (!name.is_empty()).then(|| (name.to_owned(), version.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
containerd.io\t1.7.1-1\tinstall\tinstalled\tcontainerd, runc
kubeadm\t1.33.13-1.1\thold\tinstalled\t
etcd-server\t3.4.23\tinstall\tunpacked\t
old\t1\tdeinstall\tconfig-files\t
dbus\t1.14\tinstall\ttriggers-pending\tdefault-dbus-system-bus (= 1.14), dbus-bin
";

    #[test]
    fn reads_what_is_there_held_and_half_done() {
        let installed = Installed::parse(LISTING);
        assert_eq!(installed.version("kubeadm"), Some("1.33.13-1.1"));
        assert!(installed.held("kubeadm"));
        assert!(!installed.held("containerd.io"));
        assert_eq!(installed.version("old"), None);
        assert_eq!(installed.version("etcd-server"), None);
        assert_eq!(installed.broken, ["etcd-server"]);
        assert_eq!(installed.version("dbus"), Some("1.14"));
    }

    #[test]
    fn a_package_answers_to_what_it_provides() {
        let installed = Installed::parse(LISTING);
        assert_eq!(installed.version("containerd"), None);
        assert_eq!(installed.answers_to("containerd"), Some(""));
        assert_eq!(
            installed.answers_to("default-dbus-system-bus"),
            Some("1.14")
        );
        assert_eq!(installed.answers_to("haproxy"), None);
    }
}
