//! Where a lab lives on the machine: its folder, and the names made from it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

const DEFAULT_DIR: &str = "/var/lib/quorate-lab";
/// Names an interface `v-NAME`, and Linux allows 15 bytes.
const LONGEST_NAME: usize = 12;

/// The folder of a lab. Two folders are two labs that do not disturb each other.
#[derive(Clone, Debug)]
pub struct Place {
    dir: PathBuf,
    tag: String,
}

impl Place {
    /// `$QUORATE_LAB`, or /var/lib/quorate-lab.
    pub fn from_env() -> Result<Self> {
        let dir = env::var_os("QUORATE_LAB").unwrap_or_else(|| DEFAULT_DIR.into());
        Self::at(Path::new(&dir))
    }

    pub fn at(dir: &Path) -> Result<Self> {
        let text = dir.to_str().context("the lab folder is not UTF-8")?;
        // Both separate the options of an overlay mount.
        if !dir.is_absolute() || text.contains([',', ':', '\\']) {
            bail!("the lab folder must be an absolute path without , : or \\: {text}");
        }
        Ok(Self {
            dir: dir.to_owned(),
            tag: format!("q{:04x}", digest(&[text]) & 0xffff),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether hosts outlive this process (`QUORATE_LAB_KEEP=1`), to look at them after a failure.
    pub fn keep() -> bool {
        env::var_os("QUORATE_LAB_KEEP").is_some_and(|value| value == "1")
    }

    pub(super) fn hosts_dir(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    pub(super) fn host_dir(&self, name: &str) -> PathBuf {
        self.hosts_dir().join(name)
    }

    /// The root file system of a host, mounted as long as the host exists.
    pub(super) fn root(&self, name: &str) -> PathBuf {
        self.host_dir(name).join("root")
    }

    pub(super) fn console(&self, name: &str) -> PathBuf {
        self.host_dir(name).join("console.log")
    }

    /// Where the journals of a test's hosts stay when the hosts are gone.
    pub(super) fn journals_dir(&self, test: &str) -> PathBuf {
        self.dir
            .join("journals")
            .join(test.replace(['/', ':'], "-"))
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    pub(super) fn record_file(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// What every network namespace, cgroup and container of this lab starts with.
    pub(super) fn prefix(&self) -> String {
        format!("{}-", self.tag)
    }

    /// The network namespace (and container, and cgroup) of a host.
    pub(super) fn scoped(&self, name: &str) -> String {
        format!("{}-{name}", self.tag)
    }
}

/// A host name short enough for an interface and safe as a path and DNS label.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty()
            && name.len() <= LONGEST_NAME
            && name.chars().all(plain)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-'),
        "not a host name of at most {LONGEST_NAME} of a-z, 0-9 and -: {name:?}"
    );
    Ok(())
}

/// FNV-1a: names caches, guards nothing.
pub(super) fn digest(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_folders_are_two_labs() {
        let one = Place::at(Path::new("/var/lib/one")).unwrap();
        let two = Place::at(Path::new("/var/lib/two")).unwrap();
        assert_ne!(one.scoped("n1"), two.scoped("n1"));
        assert!(Place::at(Path::new("/var/a,b")).is_err());
    }

    #[test]
    fn names_fit_an_interface_and_a_path() {
        for good in ["n1", "cp-1", "twelve-chars"] {
            check_name(good).unwrap();
        }
        for bad in ["", "1n", "n1-", "N1", "../x", "thirteen-char", "a b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
