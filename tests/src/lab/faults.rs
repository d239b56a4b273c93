//! What can happen to a host: loss of power, of its cable, of one peer, of time.

use std::time::Duration;

use anyhow::{Context, Result};

use super::host::Host;
use super::network;
use super::sweep;
use super::wait::eventually;

const SHUTDOWN: Duration = Duration::from_secs(100);

impl Host {
    /// Everything in the host is dead at once, and no peer hears a word of it. The disk stays.
    pub fn power_cut(&self) -> Result<()> {
        let cut = || -> Result<()> {
            let supervisor = self.supervisor().context("it is not running")?;
            // First the cable: the kernel closes a killed process's connections politely, power cuts do not.
            network::set_link(self.place(), self.name(), false)?;
            // The frozen cannot die.
            self.resume()?;
            sweep::stop(supervisor)?;
            self.power_off()
        };
        cut().with_context(|| format!("{self}: cannot cut its power"))
    }

    /// Shuts down in order, as `systemctl poweroff` does.
    pub fn shut_down(&self) -> Result<()> {
        self.end_by("poweroff")
    }

    /// Reboots in order. A host that reboots by itself (`systemctl reboot` inside) powers off instead,
    /// and [`Host::boot`] brings it back.
    pub fn reboot(&self) -> Result<()> {
        self.end_by("reboot")?;
        self.boot()
    }

    fn end_by(&self, verb: &str) -> Result<()> {
        let supervisor = self.supervisor();
        let supervisor = supervisor.with_context(|| format!("{self} is not running"))?;
        self.ok(["systemctl", "--no-block", verb])?;
        eventually(SHUTDOWN, &format!("{self} to end by {verb}"), || {
            Ok((!supervisor.alive()).then_some(()))
        })?;
        self.power_off()
    }

    /// Pulls the network cable.
    pub fn cut(&self) -> Result<()> {
        self.set_cut(true)
    }

    /// Puts the network cable back.
    pub fn heal(&self) -> Result<()> {
        self.set_cut(false)
    }

    fn set_cut(&self, cut: bool) -> Result<()> {
        self.note_cut(cut);
        if !self.running() {
            return Ok(());
        }
        network::set_link(self.place(), self.name(), !cut)
            .with_context(|| format!("{self}: cannot change its cable"))
    }

    /// Drops all traffic between this host and `other`, both ways, silently.
    pub fn cut_from(&self, other: &Host) -> Result<()> {
        network::set_blocked(self.place(), self.name(), other.name(), true)
            .with_context(|| format!("{self}: cannot cut it from {other}"))
    }

    pub fn heal_from(&self, other: &Host) -> Result<()> {
        network::set_blocked(self.place(), self.name(), other.name(), false)
            .with_context(|| format!("{self}: cannot heal it from {other}"))
    }

    /// Stops every process where it stands; connections stay open and the kernel still answers pings.
    pub fn pause(&self) -> Result<()> {
        self.cgroups()?
            .freeze(true)
            .with_context(|| format!("{self}: cannot pause it"))
    }

    pub fn resume(&self) -> Result<()> {
        self.cgroups()?
            .freeze(false)
            .with_context(|| format!("{self}: cannot resume it"))
    }

    /// Kills the host and removes all there is of it.
    pub fn down(&self) -> Result<()> {
        if self.running() {
            self.power_cut()?;
        }
        self.power_off()?;
        sweep::remove_dir(&self.dir())
            .with_context(|| format!("{self}: cannot remove its disk"))?;
        self.shared().change(|record| {
            record.hosts.remove(self.name());
            Ok(())
        })
    }
}
