//! The root file system every host starts from, made once by debootstrap.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::machine;
use super::place::{Place, digest};

pub(super) const SUITE: &str = "bookworm";
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// Nothing here that the product is to install itself.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "iproute2",
    "iptables",
    "nftables",
    "kmod",
    "procps",
    "ca-certificates",
    "bash",
    "openssl",
    "curl",
    "iputils-ping",
];

/// Units of no use here: logins on a console that is a pipe, and timers that would call Debian's mirror.
const MASKED_UNITS: &[&str] = &[
    "console-getty.service",
    "getty.target",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "systemd-timesyncd.service",
    "systemd-networkd-wait-online.service",
];

/// Hosts share the machine's kernel: settings of Debian's that no namespace holds would change the machine.
const MASKED_SYSCTLS: &[&str] = &["50-pid-max.conf", "99-protect-links.conf"];

/// What a container lacks against a virtual machine, given back at each boot, before any other service.
const MOUNTS_UNIT: &str = r#"[Unit]
Description=Writable cgroups and shared mounts, as on a virtual machine
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-mounts

[Install]
WantedBy=sysinit.target
"#;

const MOUNTS_SCRIPT: &str = r#"#!/bin/sh
set -eu
# Kubelet and containerd make cgroups of their own beside systemd's. Only this mount changes: the file
# systems are the machine's.
for dir in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ ! -L "$dir" ] && mountpoint -q "$dir"; then mount -o remount,bind,rw "$dir"; fi
done
# systemd does this on a machine of its own but not in a container; mount propagation of pods needs it.
mount --make-rshared /
"#;

pub(super) fn mirror() -> String {
    std::env::var("QUORATE_LAB_MIRROR").unwrap_or_else(|_| DEFAULT_MIRROR.to_owned())
}

/// The base root, made now unless an equal one is there already.
pub(super) fn prepare(place: &Place) -> Result<PathBuf> {
    let mut parts = vec![SUITE, MOUNTS_UNIT, MOUNTS_SCRIPT];
    parts.extend(PACKAGES);
    parts.extend(MASKED_UNITS);
    parts.extend(MASKED_SYSCTLS);
    let base = place.dir().join(format!("base-{:016x}", digest(&parts)));
    if base.is_dir() {
        return Ok(base);
    }
    // Made under another name, so that an interrupted run leaves nothing that looks finished.
    let unfinished = base.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    eprintln!(
        "lab: making the base root {} (once, takes a minute or two)",
        base.display()
    );
    let include = format!("--include={}", PACKAGES.join(","));
    let target = unfinished.to_string_lossy();
    machine::run(
        "debootstrap",
        ["--variant=minbase", &include, SUITE, &target, &mirror()],
    )
    .context("cannot make the base root (tests/run installs what the machine needs)")?;
    configure(&unfinished).context("cannot configure the base root")?;
    fs::rename(&unfinished, &base)?;
    Ok(base)
}

fn configure(root: &Path) -> Result<()> {
    let etc = root.join("etc");
    for unit in MASKED_UNITS {
        mask(&etc.join("systemd/system"), unit)?;
    }
    for file in MASKED_SYSCTLS {
        mask(&etc.join("sysctl.d"), file)?;
    }
    let script = root.join("usr/local/sbin/lab-mounts");
    fs::write(&script, MOUNTS_SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let unit = "etc/systemd/system/lab-mounts.service";
    fs::write(root.join(unit), MOUNTS_UNIT)?;
    let wants = etc.join("systemd/system/sysinit.target.wants");
    fs::create_dir_all(&wants)?;
    symlink(format!("/{unit}"), wants.join("lab-mounts.service"))?;
    // Every host writes its own; one of debootstrap's would name the machine it was made on.
    for file in ["machine-id", "hostname", "resolv.conf", "hosts"] {
        let path = etc.join(file);
        if path.symlink_metadata().is_ok() {
            fs::remove_file(path)?;
        }
    }
    for folder in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        let folder = root.join(folder);
        fs::remove_dir_all(&folder)?;
        fs::create_dir_all(&folder)?;
    }
    Ok(())
}

fn mask(folder: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(name);
    if path.symlink_metadata().is_ok() {
        fs::remove_file(&path)?;
    }
    symlink("/dev/null", &path).with_context(|| format!("cannot mask {}", path.display()))
}
