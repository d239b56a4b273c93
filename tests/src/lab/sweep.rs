//! Removes whatever an earlier run left: processes, mounts, cgroups, networks, disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};

use super::cgroups::Cgroups;
use super::network;
use super::place::Place;
use super::processes::{Process, init_of, supervisors_below};
use super::wait::eventually;

/// Leaves nothing of any host of the lab. Caches (base root, packages) stay.
pub(super) fn sweep(place: &Place) -> Result<()> {
    let hosts = place.hosts_dir();
    let mut cgroups = Vec::new();
    for entry in fs::read_dir(&hosts).into_iter().flatten() {
        let listed = Cgroups::listed(&entry?.path().join("cgroups"))?;
        // The frozen cannot die. An error says that these cgroups are gone.
        drop(listed.freeze(false));
        cgroups.push(listed);
    }
    for supervisor in supervisors_below(&hosts) {
        stop(supervisor)?;
    }
    network::remove_all(place)?;
    for host in cgroups {
        stop_strays(&host)?;
        host.remove()?;
    }
    remove_dir(&hosts)?;
    match fs::remove_file(place.record_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Kills a host and waits until its supervisor is gone too.
pub(super) fn stop(supervisor: Process) -> Result<()> {
    let init = init_of(supervisor);
    if let Some(init) = init {
        // With PID 1 the kernel kills every process of its namespace at once.
        init.kill()?;
    } else {
        supervisor.kill()?;
    }
    let gone = || Ok((!supervisor.alive() && init.is_none_or(|init| !init.alive())).then_some(()));
    let what = "the killed host's supervisor to end";
    if eventually(Duration::from_secs(5), what, gone).is_err() {
        supervisor.kill()?;
        eventually(Duration::from_secs(5), what, gone)?;
    }
    Ok(())
}

/// Kills what lives in a dead host's cgroups: commands that were on their way into it.
pub(super) fn stop_strays(cgroups: &Cgroups) -> Result<()> {
    for pid in cgroups.processes() {
        if let Some(process) = Process::of(pid) {
            process.kill()?;
        }
    }
    Ok(())
}

/// Unmounts everything below a folder, then removes it.
pub(super) fn remove_dir(dir: &Path) -> Result<()> {
    for mount in mounts_below(dir)?.iter().rev() {
        umount2(mount, MntFlags::MNT_DETACH)
            .with_context(|| format!("cannot unmount {}", mount.display()))?;
    }
    if let Some(left) = mounts_below(dir)?.first() {
        // Removing now could reach into whatever is mounted there.
        bail!("still mounted: {}", left.display());
    }
    if !dir.exists() {
        return Ok(());
    }
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(point.replace("\\040", " ")));
    Ok(points.filter(|point| point.starts_with(dir)).collect())
}
