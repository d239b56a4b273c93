//! The machine: name, addresses, sizes, and the versions of what is installed.

use crate::host::tool::Tool;
use crate::paths::Paths;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::statvfs::statvfs;
use quorate_proto::v1::HostFacts;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses reported: a node with more has them from its pods' network.
const MAX_ADDRESSES: usize = 32;
/// Bytes of a version.
const MAX_VERSION: usize = 64;
/// A program that takes longer to tell its version says nothing now.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);
/// Before a program that did not tell its version is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Where packages and people put programs.
const FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
/// Component, and how it is asked.
const TOOLS: [(&str, &[&str]); 6] = [
    ("kubeadm", &["version", "-o", "short"]),
    ("kubelet", &["--version"]),
    ("kubectl", &["version", "--client"]),
    ("containerd", &["--version"]),
    ("etcd", &["--version"]),
    ("haproxy", &["-v"]),
];

/// Programs are asked once; a replaced one has another inode or time. One entry a path of the lists above.
static ANSWERS: Mutex<BTreeMap<PathBuf, Answer>> = Mutex::new(BTreeMap::new());

#[derive(Clone)]
struct Answer {
    stamp: (u64, i64, i64),
    version: Option<String>,
    at: Instant,
}

pub async fn facts(paths: &Paths) -> HostFacts {
    let disk = statvfs(&existing(paths.at("/var/lib"))).ok();
    let bytes = |blocks: fn(&nix::sys::statvfs::Statvfs) -> u64| {
        disk.as_ref()
            .map_or(0, |disk| blocks(disk).saturating_mul(disk.fragment_size()))
    };
    HostFacts {
        hostname: hostname(paths),
        machine_id: machine_id(paths),
        boot_id: boot_id(paths),
        addresses: addresses(),
        os: os_name(&text(paths, "/etc/os-release")),
        kernel: text(paths, "/proc/sys/kernel/osrelease"),
        architecture: architecture().to_owned(),
        cpus: cpus(&text(paths, "/proc/cpuinfo")),
        memory_bytes: memory(&text(paths, "/proc/meminfo")),
        disk_bytes: bytes(|disk| disk.blocks()),
        disk_free_bytes: bytes(|disk| disk.blocks_available()),
        versions: versions(paths).await,
        uptime_seconds: uptime(&text(paths, "/proc/uptime")),
    }
}

pub fn hostname(paths: &Paths) -> String {
    text(paths, "/proc/sys/kernel/hostname")
}

pub fn machine_id(paths: &Paths) -> String {
    text(paths, "/etc/machine-id")
}

pub fn boot_id(paths: &Paths) -> String {
    text(paths, "/proc/sys/kernel/random/boot_id")
}

/// Unreadable is unknown, which is empty.
fn text(paths: &Paths, path: &str) -> String {
    fs::read_to_string(paths.at(path))
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn existing(path: PathBuf) -> PathBuf {
    path.ancestors()
        .find(|folder| folder.exists())
        .map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

fn os_name(release: &str) -> String {
    release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches(['"', '\'']).to_owned())
        .unwrap_or_default()
}

/// Debian's and Kubernetes' names.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn cpus(cpuinfo: &str) -> u32 {
    let listed = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    u32::try_from(listed).unwrap_or(u32::MAX)
}

fn memory(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib.saturating_mul(1024))
}

fn uptime(uptime: &str) -> i64 {
    uptime
        .split(['.', ' '])
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(0)
}

/// By which other machines may reach this one.
fn addresses() -> Vec<String> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let found: BTreeSet<IpAddr> = interfaces
        .filter(|interface| {
            interface.flags.contains(InterfaceFlags::IFF_UP)
                && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        })
        .filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
        })
        .filter(is_reachable)
        .collect();
    found
        .into_iter()
        .take(MAX_ADDRESSES)
        .map(|address| address.to_string())
        .collect()
}

fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => !four.is_link_local() && !four.is_loopback(),
        IpAddr::V6(six) => !six.is_unicast_link_local() && !six.is_loopback(),
    }
}

async fn versions(paths: &Paths) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([("agent".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    for (name, arguments) in TOOLS {
        if let Some(version) = version(paths, name, arguments).await {
            versions.insert(name.to_owned(), version);
        }
    }
    versions
}

async fn version(paths: &Paths, name: &str, arguments: &[&str]) -> Option<String> {
    let (program, meta) = FOLDERS.iter().find_map(|folder| {
        let program = paths.at(folder).join(name);
        let meta = fs::metadata(&program).ok().filter(fs::Metadata::is_file)?;
        Some((program, meta))
    })?;
    let stamp = (meta.ino(), meta.mtime(), meta.mtime_nsec());
    let known = answers().get(&program).cloned();
    if let Some(known) = known
        && known.stamp == stamp
        && (known.version.is_some() || known.at.elapsed() < ASK_AGAIN)
    {
        return known.version;
    }
    let output = Tool::new(program.display().to_string())
        .args(arguments.iter().copied())
        .timeout(VERSION_TIMEOUT)
        .run()
        .await
        .ok();
    let version = output.and_then(|output| version_in(&output.stdout));
    answers().insert(
        program,
        Answer {
            stamp,
            version: version.clone(),
            at: Instant::now(),
        },
    );
    version
}

fn answers() -> std::sync::MutexGuard<'static, BTreeMap<PathBuf, Answer>> {
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first word that looks like one: digits, a dot, digits, perhaps with a v in front.
fn version_in(output: &str) -> Option<String> {
    let looks_right = |word: &&str| {
        let bare = word.strip_prefix('v').unwrap_or(word);
        let mut parts = bare.splitn(3, '.');
        let major = parts.next().unwrap_or_default();
        let minor = parts.next().unwrap_or_default();
        !major.is_empty()
            && major.bytes().all(|b| b.is_ascii_digit())
            && minor.starts_with(|c: char| c.is_ascii_digit())
    };
    output
        .split_whitespace()
        .find(looks_right)
        .map(|word| word.chars().take(MAX_VERSION).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn versions_are_found_in_what_the_tools_print() {
        for (output, expected) in [
            ("v1.33.13\n", Some("v1.33.13")),
            ("Kubernetes v1.33.13\n", Some("v1.33.13")),
            (
                "Client Version: v1.33.13\nKustomize Version: v5.6.0\n",
                Some("v1.33.13"),
            ),
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u2\n",
                Some("1.6.20~ds1"),
            ),
            (
                "containerd github.com/containerd/containerd/v2 v2.0.5 fb4c30d\n",
                Some("v2.0.5"),
            ),
            (
                "etcd Version: 3.5.30\nGit SHA: Not provided\nGo Version: go1.24\n",
                Some("3.5.30"),
            ),
            (
                "HAProxy version 2.6.12-1+deb12u2 2025/04/22 - https://haproxy.org/\n",
                Some("2.6.12-1+deb12u2"),
            ),
            ("no version here 12\n", None),
            ("", None),
        ] {
            assert_eq!(version_in(output).as_deref(), expected, "{output}");
        }
    }

    #[test]
    fn files_are_read() {
        assert_eq!(
            os_name("ID=debian\nPRETTY_NAME=\"Debian 12\"\n"),
            "Debian 12"
        );
        assert_eq!(
            memory("MemTotal:       16384 kB\nMemFree: 1 kB"),
            16_777_216
        );
        assert_eq!(uptime("1234.56 99.0"), 1234);
        assert_eq!(cpus("processor\t: 0\nmodel\t: x\n\nprocessor\t: 1\n"), 2);
        assert_eq!((memory(""), uptime("x"), cpus("")), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_program_is_asked_once_until_it_is_replaced() {
        let root = tempfile::tempdir().expect("folder");
        let paths = Paths::under(root.path());
        let program = paths.at("/usr/bin/kubelet");
        let install = |version: &str| {
            let count = root.path().join("count");
            let script = format!(
                "#!/bin/sh\necho x >> {}\necho Kubernetes {version}\n",
                count.display()
            );
            crate::host::files::write_atomic(&program, script.as_bytes(), 0o755).expect("written");
        };
        let asked = || {
            fs::read_to_string(root.path().join("count"))
                .unwrap_or_default()
                .lines()
                .count()
        };
        install("v1.33.13");
        for _ in 0..3 {
            let found = version(&paths, "kubelet", &["--version"]).await;
            assert_eq!(found.as_deref(), Some("v1.33.13"));
        }
        assert_eq!(asked(), 1);
        fs::remove_file(&program).expect("removed");
        assert_eq!(version(&paths, "kubelet", &["--version"]).await, None);
        install("v1.34.0");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
        let found = version(&paths, "kubelet", &["--version"]).await;
        assert_eq!(found.as_deref(), Some("v1.34.0"));
        assert_eq!(asked(), 2);
    }

    #[tokio::test]
    async fn facts_of_this_machine() {
        let facts = facts(&Paths::default()).await;
        assert!(facts.cpus > 0 && facts.memory_bytes > 0 && facts.disk_bytes > 0);
        assert!(!facts.boot_id.is_empty() && !facts.kernel.is_empty());
        assert!(facts.versions.contains_key("agent"));
        assert!(
            facts
                .addresses
                .iter()
                .all(|a| a.parse::<IpAddr>().is_ok_and(|a| !a.is_loopback()))
        );
    }
}
