//! One host: made, booted, cut off, killed, removed.

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::mount::{MsFlags, mount};

use super::cgroups::Cgroups;
use super::network;
use super::nspawn;
use super::place::Place;
use super::processes::{Process, init_of, supervisors_below};
use super::shared::Shared;
use super::sweep;
use super::wait::eventually;

const BOOT: Duration = Duration::from_secs(90);

/// A host of the lab. Clones are the same host; it is removed when its [`Lab`](super::Lab) is dropped.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    name: String,
    ip: Ipv4Addr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// systemd-nspawn, if this process started it: it must be waited for.
    child: Option<Child>,
    supervisor: Option<Process>,
    init: Option<Process>,
    /// Whether the cable is out; it stays so over a power cut.
    cut: bool,
}

impl Host {
    /// A host whose disk is there: a new one, or one of another process.
    pub(super) fn existing(shared: Arc<Shared>, name: &str, ip: Ipv4Addr) -> Self {
        let name = name.to_owned();
        let state = Mutex::default();
        Self(Arc::new(Inner {
            shared,
            name,
            ip,
            state,
        }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.0.ip
    }

    pub fn ip6(&self) -> Ipv6Addr {
        network::ipv6_of(self.0.ip)
    }

    /// The host's disk as the machine sees it, to read or change while the host is off.
    pub fn disk(&self) -> PathBuf {
        self.place().root(self.name())
    }

    /// Lays out a fresh disk over the base root.
    pub(super) fn make_disk(&self) -> Result<()> {
        let dir = self.dir();
        for folder in ["up", "work", "root", "containerd", "kubelet"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.0.shared.base.display(),
            dir.join("up").display(),
            dir.join("work").display()
        );
        let overlay = Some("overlay");
        mount(
            overlay,
            &self.disk(),
            overlay,
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .with_context(|| format!("{self}: cannot mount its disk"))?;
        let etc = self.disk().join("etc");
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        fs::write(etc.join("machine-id"), uuid.replace('-', ""))?;
        fs::write(etc.join("hostname"), format!("{}\n", self.name()))?;
        // Nobody answers there, and says so at once; without the file kubelet and CoreDNS do not start.
        let resolver = format!("nameserver {}\n", network::GATEWAY);
        fs::write(etc.join("resolv.conf"), resolver)?;
        Ok(())
    }

    /// Powers the host on with the disk it has, and waits until systemd says that it is up.
    pub fn boot(&self) -> Result<()> {
        self.start()
            .with_context(|| format!("{self}: cannot boot"))?;
        let console = self.place().console(self.name());
        let up = eventually(BOOT, &format!("{self} to be up"), || {
            if let Some(status) = self.child_ended()? {
                return Ok(Some(Err(anyhow!("{self}: systemd-nspawn ended: {status}"))));
            }
            let answer = self.run(["systemctl", "is-system-running"])?;
            match answer.stdout.trim() {
                "running" | "degraded" => Ok(Some(Ok(()))),
                other => bail!("systemd says {other:?} {}", answer.stderr.trim()),
            }
        });
        up.and_then(|up| up).with_context(|| {
            format!(
                "its console is in {}:\n{}",
                console.display(),
                tail(&console)
            )
        })
    }

    fn start(&self) -> Result<()> {
        ensure!(!self.running(), "it is running already");
        let place = self.place();
        // As after power-on: no connection, route or firewall rule of before.
        self.power_off()?;
        network::plug(place, self.name(), self.ip())?;
        network::set_link(place, self.name(), !self.state().cut)?;
        let cgroups = Cgroups::make(place, self.name(), &self.cgroup_list())?;
        let console = File::create(place.console(self.name()))?;
        let mut command = cgroups.enter();
        nspawn::complete(&mut command, self, &self.0.shared.shares());
        command.stdin(Stdio::null());
        command.stdout(console.try_clone()?).stderr(console);
        let child = command.spawn().context("cannot start systemd-nspawn")?;
        let pid = i32::try_from(child.id())?;
        let mut state = self.state();
        state.supervisor = Process::of(pid);
        state.child = Some(child);
        state.init = None;
        Ok(())
    }

    pub fn running(&self) -> bool {
        self.supervisor().is_some()
    }

    /// Takes note that its supervisor was killed by somebody else.
    pub(super) fn reap(&self) {
        if let Some(mut child) = self.state().child.take() {
            // An error can only say that it was waited for already.
            drop(child.wait());
        }
    }

    /// What is left to do once its processes are gone.
    pub(super) fn power_off(&self) -> Result<()> {
        let mut state = self.state();
        state.init = None;
        state.supervisor = None;
        drop(state);
        self.reap();
        network::unplug(self.place(), self.name())?;
        let cgroups = self.cgroups()?;
        sweep::stop_strays(&cgroups)?;
        cgroups.remove()
    }

    /// PID 1 of the host, by the machine's number.
    pub(super) fn init(&self) -> Result<Process> {
        let supervisor = self.supervisor();
        let mut state = self.state();
        if !state.init.is_some_and(Process::alive) {
            // A reboot from inside makes a new one below the same supervisor.
            state.init = supervisor.and_then(init_of);
        }
        state.init.with_context(|| format!("{self} is not running"))
    }

    pub(super) fn cgroups(&self) -> Result<Cgroups> {
        Cgroups::listed(&self.cgroup_list())
    }

    pub(super) fn supervisor(&self) -> Option<Process> {
        let mut state = self.state();
        if !state.supervisor.is_some_and(Process::alive) {
            state.supervisor = supervisors_below(&self.disk()).first().copied();
        }
        state.supervisor
    }

    fn child_ended(&self) -> Result<Option<std::process::ExitStatus>> {
        let mut state = self.state();
        Ok(state
            .child
            .as_mut()
            .map(Child::try_wait)
            .transpose()?
            .flatten())
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// Whether the cable is out, from now on.
    pub(super) fn note_cut(&self, cut: bool) {
        self.state().cut = cut;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn place(&self) -> &Place {
        &self.0.shared.place
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.place().host_dir(self.name())
    }

    fn cgroup_list(&self) -> PathBuf {
        self.dir().join("cgroups")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({} {})", self.name(), self.ip())
    }
}

fn tail(console: &Path) -> String {
    let bytes = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
