//! The command line that boots a folder as a host.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cgroups;
use super::host::Host;
use super::network;

/// overlayfs on overlayfs does not work, and containerd's snapshots are overlays.
const OWN_FOLDERS: &[(&str, &str)] = &[
    ("containerd", "/var/lib/containerd"),
    ("kubelet", "/var/lib/kubelet"),
];

/// Adds program, arguments and environment to a command that enters the host's cgroups.
pub(super) fn complete(command: &mut Command, host: &Host, shares: &[(PathBuf, PathBuf)]) {
    let place = host.place();
    let option = |name: &str, value: &str| format!("--{name}={value}");
    command.args([
        "systemd-nspawn".to_owned(),
        option("directory", &host.disk().to_string_lossy()),
        option("machine", &place.scoped(host.name())),
        option("hostname", host.name()),
        option(
            "network-namespace-path",
            &network::netns_path(place, host.name()),
        ),
    ]);
    command.args([
        "--boot",
        "--register=no",
        "--keep-unit",
        "--settings=no",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=pipe",
        "--capability=all",
        "--system-call-filter=@keyring bpf @mount @module",
    ]);
    if Path::new("/dev/kmsg").exists() {
        command.arg("--bind=/dev/kmsg");
    }
    for (folder, inside) in OWN_FOLDERS {
        let outside = host.dir().join(folder);
        command.arg(option("bind", &format!("{}:{inside}", outside.display())));
    }
    for (outside, inside) in shares {
        command.arg(option(
            "bind-ro",
            &format!("{}:{}", outside.display(), inside.display()),
        ));
    }
    // A container runtime makes namespaces, mounts and sysctls of its own.
    command.env("SYSTEMD_SECCOMP", "0");
    command.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1");
    if !cgroups::unified() {
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "0");
    }
    // Ctrl-C on a test must not shut the hosts down one by one before the test notices.
    command.process_group(0);
}
