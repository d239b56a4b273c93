//! What the environment does to a schedule, and when.

use super::agent;
use super::coordinator::Coordinator;
use super::machine::Data;
use super::random::Random;
use super::world::{State, Strike, World};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The last fault begins before one of these: a cluster of three takes 15 s to form.
const WINDOWS_MS: [u64; 4] = [6_000, 15_000, 30_000, 60_000];
const MOST: u64 = 9;
/// Forming three takes 130 halves of writes and 150 steps.
const NEXT_WRITES: u64 = 100;
const NEXT_STEPS: u64 = 120;
/// A strike that does not fall until then finds nothing more to strike.
const STRIKES_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Fault {
    CoordinatorDies,
    /// Before or after one of its next writes is durable.
    CoordinatorDiesWriting,
    AgentDies,
    AgentDiesAtStep,
    HostDies,
    /// Between two steps of an order that it carries out.
    HostDiesAtStep,
    /// It comes back with an empty disk.
    HostIsReplaced,
    /// No way to the coordinator, silently.
    LineIsCut,
    /// The connection to the coordinator is reset.
    LineBreaks,
    /// Its etcd cannot reach the others.
    Partition,
    EtcdDies,
    /// Somebody cleans a node by hand while it joins, and leaves its member behind.
    HandReset,
}

const ALL: [Fault; 20] = [
    Fault::CoordinatorDiesWriting,
    Fault::CoordinatorDiesWriting,
    Fault::HostDiesAtStep,
    Fault::HostDiesAtStep,
    Fault::AgentDiesAtStep,
    Fault::AgentDiesAtStep,
    Fault::CoordinatorDies,
    Fault::CoordinatorDies,
    Fault::AgentDies,
    Fault::AgentDies,
    Fault::HostDies,
    Fault::HostDies,
    Fault::HostDies,
    Fault::HostIsReplaced,
    Fault::LineIsCut,
    Fault::LineIsCut,
    Fault::LineBreaks,
    Fault::Partition,
    Fault::EtcdDies,
    Fault::HandReset,
];

/// Injects what this seed has in store; returns once all of it is over.
pub async fn inject(world: Arc<World>, coordinator: Arc<Coordinator>, seed: u64) {
    let mut random = Random::new(seed ^ 2);
    let names: Vec<String> = world.lock().machines.keys().cloned().collect();
    let mut under_way = JoinSet::new();
    let window = *random.pick(&WINDOWS_MS);
    for _ in 0..random.between(0, MOST) {
        let at = Duration::from_millis(random.between(50, window));
        let fault = *random.pick(&ALL);
        let name = random.pick(&names).clone();
        // Most are short; some last longer than anybody's patience.
        let long = random.chance(400);
        let lasts = random.between(10, if long { 50_000 } else { 4_000 });
        let lasts = Duration::from_millis(lasts);
        let after = random.next();
        let (world, coordinator) = (Arc::clone(&world), Arc::clone(&coordinator));
        under_way.spawn(async move {
            tokio::time::sleep(at).await;
            one(&world, &coordinator, fault, &name, lasts, after).await;
        });
    }
    while under_way.join_next().await.is_some() {}
}

async fn one(
    world: &Arc<World>,
    coordinator: &Coordinator,
    fault: Fault,
    name: &str,
    lasts: Duration,
    after: u64,
) {
    let detail = format!("{name} for {} ms", lasts.as_millis());
    match fault {
        Fault::CoordinatorDies => {
            world.fault("the coordinator dies", &detail);
            coordinator.crash();
            tokio::time::sleep(lasts).await;
            coordinator.start();
        }
        Fault::CoordinatorDiesWriting => {
            if falls(&world.writes, NEXT_WRITES, after).await {
                world.fault("the coordinator dies writing", &detail);
                coordinator.crash();
                tokio::time::sleep(lasts).await;
                coordinator.start();
            }
        }
        Fault::AgentDies => agent_dies(world, name, lasts, "an agent dies").await,
        Fault::AgentDiesAtStep => {
            if falls(&world.steps, NEXT_STEPS, after).await {
                let name = world.lock().struck.clone();
                agent_dies(world, &name, lasts, "an agent dies within an order").await;
            }
        }
        Fault::HostDiesAtStep => {
            if falls(&world.steps, NEXT_STEPS, after).await {
                let name = world.lock().struck.clone();
                host_dies(world, &name, lasts, false, "within an order").await;
            }
        }
        Fault::HostDies => host_dies(world, name, lasts, false, &detail).await,
        Fault::HostIsReplaced => host_dies(world, name, lasts, true, &detail).await,
        Fault::LineIsCut => {
            world.fault("a line is cut", &detail);
            let now = world.now_ms();
            set_cut(world, name, Some(now));
            tokio::time::sleep(lasts).await;
            set_cut(world, name, None);
        }
        Fault::LineBreaks => {
            world.fault("a connection breaks", &detail);
            world.lock().sessions.reset(name);
        }
        Fault::Partition => {
            world.fault("etcd is partitioned", &detail);
            world.isolate(name);
            tokio::time::sleep(lasts).await;
            world.join_up(name);
        }
        Fault::EtcdDies => {
            world.fault("etcd dies", &detail);
            world.kill_etcd(name);
        }
        Fault::HandReset => hand_reset(world, name, &detail),
    }
}

/// Whether it fell before the faults end.
async fn falls(strike: &Strike, among: u64, after: u64) -> bool {
    strike.arm(1 + after % among);
    tokio::time::timeout(STRIKES_WITHIN, strike.falls.notified())
        .await
        .is_ok()
}

async fn agent_dies(world: &Arc<World>, name: &str, lasts: Duration, kind: &'static str) {
    world.fault(kind, &format!("{name} for {} ms", lasts.as_millis()));
    agent::kill(world, name);
    tokio::time::sleep(lasts).await;
    agent::start(world, name);
}

fn set_cut(world: &World, name: &str, since: Option<u64>) {
    if let Some(machine) = world.lock().machines.get_mut(name) {
        machine.cut_since = since;
    }
}

/// The host of another member, in the moment in which one is to leave.
pub async fn neighbour_dies(world: Arc<World>, leaver: String) {
    let (name, lasts) = {
        let mut state = world.lock();
        if state.faults_over || !state.random.chance(300) {
            return;
        }
        let others: Vec<String> = state
            .machines
            .values()
            .filter(|it| it.name != leaver && it.process.is_some())
            .map(|it| it.name.clone())
            .collect();
        if others.is_empty() {
            return;
        }
        let lasts = state.random.between(1_000, 60_000);
        (
            state.random.pick(&others).clone(),
            Duration::from_millis(lasts),
        )
    };
    let detail = format!("{name} while {leaver} leaves");
    host_dies(&world, &name, lasts, false, &detail).await;
}

async fn host_dies(world: &Arc<World>, name: &str, lasts: Duration, empty: bool, detail: &str) {
    // Replacing a voter is an operator's order of its own: that disk is not lost here.
    let empty = empty && !is_voter(&world.lock(), name);
    let kind = match empty {
        true => "a host comes back empty",
        false => "a host dies",
    };
    world.fault(kind, detail);
    if !world.lock().machines.get(name).is_some_and(|it| it.alive) {
        return;
    }
    world.power_off(name);
    tokio::time::sleep(lasts).await;
    if empty
        && !is_voter(&world.lock(), name)
        && let Some(machine) = world.lock().machines.get_mut(name)
    {
        machine.lose_disk();
    }
    world.power_on(name);
    world.sleep(100, 2_000).await;
    agent::start(world, name);
}

/// `rm -rf` of what etcd has, by somebody who thinks that the join has failed.
fn hand_reset(world: &World, name: &str, detail: &str) {
    if is_voter(&world.lock(), name) {
        return;
    }
    world.fault("a joiner is cleaned by hand", detail);
    if let Some(machine) = world.lock().machines.get_mut(name) {
        machine.process = None;
        machine.data = None;
    }
    world.refresh();
}

/// Whether it is one, or may become one in this moment.
fn is_voter(state: &State, name: &str) -> bool {
    let Some(machine) = state.machines.get(name) else {
        return false;
    };
    let url = machine.peer_url();
    let listed = |cluster: &super::etcd::Cluster| {
        let mut voters = cluster.voters();
        voters.any(|voter| voter.peer_url == url)
    };
    let founding = |data: Data| state.cluster(data.cluster).is_none_or(listed);
    state.clusters.iter().any(listed) || machine.data.is_some_and(founding)
}
