//! The hosts of the benchmark: everything installed, nothing formed, as often as wanted.
//!
//! A first forming installs packages, programs and images everywhere. After it, each wipe takes cluster and product back to where
//! they were: the tools' files by hand, the product's state from a copy made before.

use super::report::Figure;
use super::{CLUSTER, NODES};
use crate::lab::{Host, Lab};
use crate::product::{Fleet, file, kubernetes};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The forming that installs: packages are fetched and images imported on two cores.
const INSTALL: Duration = Duration::from_secs(900);
const COORDINATOR_STATE: &str = "/var/lib/quorate";
const AGENT_STATE: &str = "/var/lib/quorate-agent";
const COPY: &str = "/var/tmp/state-before.tar";

/// A distribution's own tools.
pub trait Plain: Sync {
    fn serial(&self) -> Result<Figure>;
    fn at_once(&self) -> Result<Figure>;
    /// Whether all members vote and all nodes are ready: an error or `false` is "not yet".
    fn usable(&self) -> Result<bool>;
    /// Takes one host back to installed and empty, whoever formed what is on it.
    fn wipe(&self, host: &Host) -> Result<()>;
}

pub struct Bed {
    pub fleet: Fleet,
    pub text: String,
}

impl Bed {
    pub fn etcd() -> Result<Self> {
        let lab = Lab::open()?;
        let debs = lab.debs(&["etcd-server", "etcd-client"])?;
        let fleet = Fleet::new(lab, &NODES)?;
        fleet.add_artifacts(&debs)?;
        let members: Vec<&Host> = fleet.nodes.iter().collect();
        let text = file::etcd(CLUSTER, &members, None);
        Self::installed(fleet, text)
    }

    pub fn kubeadm(folder: &Path) -> Result<Self> {
        let lab = Lab::open()?;
        let tools = lab.debs(&["etcd-client"])?;
        let fleet = Fleet::new(lab, &NODES)?;
        kubernetes::add_artifacts(&fleet, folder)?;
        // etcdctl, for the benchmark's own look at the members.
        let tools: Vec<_> = std::fs::read_dir(tools)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        for node in &fleet.nodes {
            node.install_debs(&tools)?;
        }
        let text = kubernetes::file(&fleet, CLUSTER, &NODES, &[], None)?;
        Self::installed(fleet, text)
    }

    fn installed(fleet: Fleet, text: String) -> Result<Self> {
        let bed = Bed { fleet, text };
        bed.stop_product()?;
        for (host, folder) in bed.states() {
            // Artifacts never change; what was fetched once need not be fetched again.
            host.ok([
                "tar",
                "--directory",
                folder,
                "--exclude=./artifacts",
                "--create",
                "--file",
                COPY,
                ".",
            ])?;
        }
        bed.start_daemons()?;
        bed.fleet.apply(&bed.text, INSTALL)?;
        Ok(bed)
    }

    fn states(&self) -> Vec<(&Host, &'static str)> {
        let agents = self.fleet.nodes.iter().map(|host| (host, AGENT_STATE));
        std::iter::once((&self.fleet.coordinator, COORDINATOR_STATE))
            .chain(agents)
            .collect()
    }

    fn units(&self) -> Vec<(&Host, &'static str)> {
        let agents = self.fleet.nodes.iter().map(|host| (host, "quorate-agent"));
        std::iter::once((&self.fleet.coordinator, "quorate-coordinator"))
            .chain(agents)
            .collect()
    }

    /// Leaves only what is installed. The product is stopped, so that it neither helps nor costs the plain tools.
    pub fn wipe(&self, plain: &dyn Plain) -> Result<()> {
        self.stop_product()?;
        on_each(&self.fleet.nodes, |host| plain.wipe(host)).map(drop)
    }

    fn stop_product(&self) -> Result<()> {
        for (host, unit) in self.units() {
            host.ok(["systemctl", "stop", unit])?;
        }
        for host in &self.fleet.nodes {
            // Orders outlive the agent.
            host.ok(["systemctl", "stop", "quorate-order-*.service"])?;
        }
        Ok(())
    }

    /// Coordinator and agents as they were when nothing had been applied.
    pub fn start_product(&self) -> Result<()> {
        for (host, folder) in self.states() {
            host.ok([
                "find",
                folder,
                "-mindepth",
                "1",
                "-maxdepth",
                "1",
                "!",
                "-name",
                "artifacts",
                "-exec",
                "rm",
                "-rf",
                "{}",
                "+",
            ])?;
            host.ok(["tar", "--directory", folder, "--extract", "--file", COPY])?;
        }
        self.start_daemons()
    }

    fn start_daemons(&self) -> Result<()> {
        for (host, unit) in self.units() {
            host.ok(["systemctl", "start", unit])?;
        }
        for host in &self.fleet.nodes {
            self.fleet.wait_connected(host.name())?;
        }
        Ok(())
    }

    /// Founder first.
    pub fn nodes(&self) -> &[Host] {
        &self.fleet.nodes
    }
}

/// On all hosts at the same time.
pub fn on_each<T: Send>(
    hosts: &[Host],
    work: impl Fn(&Host) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let tasks: Vec<_> = hosts
            .iter()
            .map(|host| scope.spawn(move || work(host).with_context(|| host.to_string())))
            .collect();
        tasks
            .into_iter()
            .map(|task| task.join().unwrap_or_else(|_| bail!("a task panicked")))
            .collect()
    })
}
