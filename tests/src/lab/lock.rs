//! One user of a lab at a time.

use std::env;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};

use super::place::Place;

/// What the machine must have; tests/run installs it.
const TOOLS: &[&str] = &[
    "apt-get",
    "debootstrap",
    "ip",
    "mount",
    "nft",
    "nsenter",
    "systemd-nspawn",
    "tar",
];

/// Checks what the lab needs, makes its folder and takes the lock.
pub(super) fn prepare(place: &Place) -> Result<Flock<File>> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lab boots real hosts and needs root: run as root (tests/run does all)"
    );
    let path = env::var_os("PATH").unwrap_or_default();
    let found = |tool: &&&str| env::split_paths(&path).any(|dir| dir.join(tool).exists());
    let missing: Vec<_> = TOOLS.iter().filter(|tool| !found(tool)).copied().collect();
    ensure!(
        missing.is_empty(),
        "the lab needs {}: tests/run installs them",
        missing.join(", ")
    );
    // Closed to others: hosts hold keys.
    let mut dir = DirBuilder::new();
    dir.recursive(true).mode(0o700).create(place.dir())?;
    let path = place.lock_file();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, _)) => {
            eprintln!("lab: waiting for another user of {}", place.dir().display());
            Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, error)| error)
                .with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
