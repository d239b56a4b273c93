//! The faults. Whatever a fault takes away comes back by itself or after a while, as machines and cables do; nobody tells the product.

use super::scene::Scene;
use crate::lab::Host;
use anyhow::{Result, ensure};
use std::thread::sleep;
use std::time::Duration;

/// Shorter than what makes anybody count as dead, longer than every election and heartbeat.
const AWAY: Duration = Duration::from_secs(10);
const STATE: &str = "/var/lib/quorate";
const AGENTS_STATE: &str = "/var/lib/quorate-agent";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    CoordinatorKilled,
    AgentKilled,
    HostPoweredOff,
    JoinerCutOff,
    LeaderCutOff,
    CoordinatorCutOff,
    FollowerPaused,
    CoordinatorDiskFull,
    AgentDiskFull,
    StoreDamaged,
    StoreCutShort,
}

impl Strike {
    pub const ALL: [Strike; 11] = [
        Strike::CoordinatorKilled,
        Strike::AgentKilled,
        Strike::HostPoweredOff,
        Strike::JoinerCutOff,
        Strike::LeaderCutOff,
        Strike::CoordinatorCutOff,
        Strike::FollowerPaused,
        Strike::CoordinatorDiskFull,
        Strike::AgentDiskFull,
        Strike::StoreDamaged,
        Strike::StoreCutShort,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Strike::CoordinatorKilled => "coordinator killed",
            Strike::AgentKilled => "agent killed",
            Strike::HostPoweredOff => "host powered off",
            Strike::JoinerCutOff => "subject cut off 10 s",
            Strike::LeaderCutOff => "leader cut off 10 s",
            Strike::CoordinatorCutOff => "coordinator cut off",
            Strike::FollowerPaused => "follower paused 10 s",
            Strike::CoordinatorDiskFull => "coordinator disk full",
            Strike::AgentDiskFull => "agent disk full",
            Strike::StoreDamaged => "store damaged",
            Strike::StoreCutShort => "store cut short",
        }
    }

    /// Back to where the world is whole again, but for what the fault has done to the product.
    pub fn strike(self, scene: &Scene, subject: &Host) -> Result<()> {
        let coordinator = &scene.fleet.coordinator;
        match self {
            Strike::CoordinatorKilled => kill(coordinator, "quorate-coordinator.service"),
            Strike::AgentKilled => kill(subject, "quorate-agent.service"),
            Strike::HostPoweredOff => {
                subject.power_cut()?;
                sleep(AWAY);
                subject.boot()
            }
            Strike::JoinerCutOff => away(subject),
            Strike::LeaderCutOff => away(scene.leader()?),
            Strike::CoordinatorCutOff => away(coordinator),
            Strike::FollowerPaused => {
                let follower = scene.follower()?;
                follower.pause()?;
                sleep(AWAY);
                follower.resume()
            }
            Strike::CoordinatorDiskFull => full(coordinator, "quorate-coordinator", STATE),
            Strike::AgentDiskFull => full(subject, "quorate-agent", AGENTS_STATE),
            Strike::StoreDamaged => {
                let flip = "dd if=/dev/urandom bs=64 count=1 seek=96 conv=notrunc status=none of=";
                damage(coordinator, flip)
            }
            Strike::StoreCutShort => damage(coordinator, "truncate --size=-4096 "),
        }
    }
}

fn kill(host: &Host, unit: &str) -> Result<()> {
    host.ok(["systemctl", "kill", "--signal", "KILL", unit])
        .map(drop)
}

fn away(host: &Host) -> Result<()> {
    host.cut()?;
    sleep(AWAY);
    host.heal()
}

/// Its state moves to a disk that is not much larger, which is then full to the last byte for a while.
fn full(host: &Host, unit: &str, state: &str) -> Result<()> {
    let script = format!(
        "set -e; systemctl stop {unit}; size=$(($(du -sm {state} | cut -f1) + 24)); mkdir -p /small; \
         mount -t tmpfs -o size=${{size}}m none /small; cp -a {state}/. /small/; mount --bind /small {state}; \
         systemctl start {unit}; sleep 2; dd if=/dev/zero of={state}/fill bs=4k status=none || true; sleep {away}; \
         rm {state}/fill; systemctl stop {unit}; umount {state}; rm -rf {state}.new; cp -a /small {state}.new; \
         umount /small; rm -rf {state}; mv {state}.new {state}; systemctl start {unit}",
        away = AWAY.as_secs()
    );
    script_within(host, &script)
}

/// With a backup of just before, as an operator has one; a store that does not open is put back from it, as its error says.
fn damage(host: &Host, how: &str) -> Result<()> {
    let script = format!(
        "set -e; rm -f /root/faults.backup; quorate backup /root/faults.backup; systemctl kill -s KILL quorate-coordinator; \
         systemctl stop quorate-coordinator; db=$(find {STATE} -type f -name db | head -1); test -n \"$db\"; {how}\"$db\"; \
         systemctl start quorate-coordinator; sleep 3; \
         if ! quorate nodes >/dev/null 2>&1; then systemctl stop quorate-coordinator; \
         quorate restore --force /root/faults.backup; systemctl restart quorate-coordinator; fi"
    );
    script_within(host, &script)
}

/// Copying a state, and the pause.
const SCRIPT: Duration = Duration::from_secs(120);

fn script_within(host: &Host, script: &str) -> Result<()> {
    let output = host.run_within(SCRIPT, ["sh", "-c", script])?;
    ensure!(output.success(), "{script}: {output:?}");
    Ok(())
}
