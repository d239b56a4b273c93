//! The lab as a whole: one at a time, clean at the start, gone at the end.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::Flock;

use super::host::Host;
use super::place::Place;
use super::shared::{Shared, lock as locked};
use super::sweep::sweep;
use super::{base, cgroups, debs, journals, lock, network};

/// The lab. Holds a lock, so that two test runs do not disturb each other; hosts go with it.
pub struct Lab {
    shared: Arc<Shared>,
    hosts: Mutex<Vec<Host>>,
    keep: bool,
    _lock: Flock<File>,
}

impl Lab {
    /// This machine's address on the lab's network.
    pub const GATEWAY: std::net::Ipv4Addr = super::network::GATEWAY;

    /// A lab without hosts. Waits for another test that uses it, and removes what a dead one left.
    pub fn open() -> Result<Self> {
        let place = Place::from_env()?;
        let lock = lock::prepare(&place)?;
        sweep(&place).context("cannot remove what an earlier run left")?;
        Self::with(place, lock)
    }

    /// The lab with the hosts another process left running (`lab up`, `QUORATE_LAB_KEEP=1`).
    pub fn attach() -> Result<Self> {
        let place = Place::from_env()?;
        let lock = lock::prepare(&place)?;
        Self::with(place, lock)
    }

    /// Removes all hosts of the lab, whoever made them.
    pub fn clean() -> Result<()> {
        let place = Place::from_env()?;
        let _lock = lock::prepare(&place)?;
        sweep(&place)
    }

    /// The hosts there are, to look at without the lock while somebody else uses the lab.
    pub fn look() -> Result<Vec<Host>> {
        let place = Place::from_env()?;
        let shared = Shared::new(place, PathBuf::new())?;
        Ok(Arc::new(shared).existing())
    }

    fn with(place: Place, lock: Flock<File>) -> Result<Self> {
        cgroups::prepare_machine().context("cannot prepare the machine's cgroups")?;
        let base = base::prepare(&place)?;
        network::make_switch(&place).context("cannot make the lab's network")?;
        let shared = Arc::new(Shared::new(place, base)?);
        let hosts = shared.existing();
        let keep = Place::keep();
        Ok(Self {
            shared,
            hosts: Mutex::new(hosts),
            keep,
            _lock: lock,
        })
    }

    /// A new host, up and running, at the next free address.
    pub fn host(&self, name: &str) -> Result<Host> {
        self.only(&[(name, None)])
    }

    /// A new host at that address of 10.77.0.0/24.
    pub fn host_at(&self, name: &str, ip: Ipv4Addr) -> Result<Host> {
        self.only(&[(name, Some(ip))])
    }

    /// Several new hosts, booted at the same time.
    pub fn hosts(&self, names: &[&str]) -> Result<Vec<Host>> {
        let wanted: Vec<_> = names.iter().map(|name| (*name, None)).collect();
        self.add(&wanted)
    }

    /// A name all hosts resolve to these addresses: a load balancer's, say. Replaces what it was.
    pub fn alias(&self, name: &str, addresses: &[IpAddr]) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        ensure!(
            !name.is_empty() && name.chars().all(plain),
            "not a host name: {name:?}"
        );
        self.shared.change(|record| {
            record.aliases.insert(name.to_owned(), addresses.to_vec());
            Ok(())
        })
    }

    /// Shows a folder of the machine, read-only, in every host booted from now on.
    pub fn share(&self, local: &Path, inside: &Path) -> Result<()> {
        let local =
            fs::canonicalize(local).with_context(|| format!("cannot share {}", local.display()))?;
        let plain =
            |path: &Path| path.is_absolute() && !path.to_string_lossy().contains([':', '\\']);
        ensure!(
            plain(&local) && plain(inside),
            "cannot share a path with : or \\, or a relative one"
        );
        self.shared.shares().push((local, inside.to_owned()));
        Ok(())
    }

    /// A folder with these Debian packages and all they need that a fresh host lacks.
    pub fn debs(&self, names: &[&str]) -> Result<PathBuf> {
        debs::folder(&self.shared.place, &self.shared.base, names)
    }

    /// Runs a command of the machine in the lab's network, beside the hosts (at 10.77.0.1).
    pub fn run_beside_hosts(&self, args: &[&str]) -> Result<String> {
        network::run_on_switch(&self.shared.place, args)
    }

    /// Does something on the lab's network, beside the hosts. Sockets that it makes stay there, as do threads that it starts.
    pub fn beside_hosts<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        network::on_switch(&self.shared.place, work)
    }

    /// Every host there is.
    pub fn all(&self) -> Vec<Host> {
        let hosts = locked(&self.hosts);
        let there = |host: &&Host| self.shared.has(host.name());
        hosts.iter().filter(there).cloned().collect()
    }

    /// Lets the hosts live on after this process.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    fn only(&self, wanted: &[(&str, Option<Ipv4Addr>)]) -> Result<Host> {
        let mut hosts = self.add(wanted)?;
        hosts.pop().context("no host was made")
    }

    fn add(&self, wanted: &[(&str, Option<Ipv4Addr>)]) -> Result<Vec<Host>> {
        let mut hosts = Vec::new();
        // All disks first: at their first boot hosts then know every name already.
        self.shared.change(|record| {
            for (name, ip) in wanted {
                let ip = record.add(name, *ip)?;
                let host = Host::existing(Arc::clone(&self.shared), name, ip);
                host.make_disk()?;
                hosts.push(host);
            }
            Ok(())
        })?;
        locked(&self.hosts).extend(hosts.iter().cloned());
        thread::scope(|scope| {
            let boots: Vec<_> = hosts
                .iter()
                .map(|host| scope.spawn(|| host.boot()))
                .collect();
            for boot in boots {
                match boot.join() {
                    Ok(booted) => booted?,
                    Err(_) => bail!("a boot panicked"),
                }
            }
            Ok(())
        })?;
        Ok(hosts)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // A test that returns an error does not panic, so saved whatever the outcome.
        if let Err(error) = journals::save(&self.shared.place, &self.all()) {
            eprintln!("lab: cannot save the hosts' journals: {error:#}");
        }
        if let Err(error) = sweep(&self.shared.place) {
            eprintln!("lab: cannot remove the hosts: {error:#}");
        }
        for host in locked(&self.hosts).drain(..) {
            host.reap();
        }
    }
}
