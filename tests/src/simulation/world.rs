//! The simulated world: machines, the etcd clusters on them, the coordinator's place, the clock and all chance.
//!
//! Its state changes in this process only, one event after the other, so that a schedule follows from its seed.

use super::checks::{Checks, Voter};
use super::etcd::{Cluster, Flavour, Member, Process, Sight, quorum};
use super::link::Sessions;
use super::machine::{Data, Machine};
use super::random::Random;
use super::trace::Trace;
use quorate::store::SimulatedDisk;
use quorate_agent::paths::Paths;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Where every schedule begins: an evening in 2026, in Unix milliseconds.
const EPOCH_MS: u64 = 1_795_000_000_000;
/// A write that is struck takes this long, so that the strike falls into it.
const STRUCK: Duration = Duration::from_millis(3);
/// systemd waits this long before it starts etcd again.
const RESTART_MS: u64 = 1_000;
/// For a process to be back, found and elected after a fault of the environment has ended.
const EXCUSE_MS: u64 = 15_000;

/// Falls at the n-th of something that is counted: not at a time, but in the middle of a write, or between two steps of an order.
#[derive(Default)]
pub struct Strike {
    count: AtomicU64,
    at: AtomicU64,
    pub falls: Notify,
}

impl Strike {
    /// Strikes the n-th from now.
    pub fn arm(&self, after: u64) {
        let at = self.count.load(Ordering::Relaxed) + after;
        self.at.store(at, Ordering::Relaxed);
    }

    /// Counts; true: this is it.
    fn strikes(&self) -> bool {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let struck = number == self.at.load(Ordering::Relaxed);
        if struck {
            self.falls.notify_one();
        }
        struck
    }
}

pub struct World {
    state: Mutex<State>,
    start: Instant,
    folder: PathBuf,
    pub disk: Arc<SimulatedDisk>,
    /// The coordinator's process: odd while it runs.
    pub coordinator: watch::Sender<u64>,
    /// Both halves of each write of the coordinator's.
    pub writes: Arc<Strike>,
    /// Steps of orders, on whichever machine.
    pub steps: Strike,
}

pub struct State {
    pub random: Random,
    pub trace: Trace,
    pub checks: Checks,
    pub flavour: Flavour,
    pub machines: BTreeMap<String, Machine>,
    pub clusters: Vec<Cluster>,
    pub sessions: Sessions,
    /// How often each fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    pub faults_over: bool,
    /// The machine that took the step that was struck.
    pub struck: String,
    /// One in a thousand orders fails for no reason; messages arrive twice.
    pub hiccup_per_mille: u64,
    pub twice_per_mille: u64,
    ids: u64,
}

impl World {
    pub fn new(seed: u64, folder: PathBuf, keep_trace: bool) -> Arc<Self> {
        let mut random = Random::new(seed);
        let flavour = Flavour {
            max_learners: *random.pick(&[1, 1, 2]),
            all_connected: random.chance(500),
            strict: random.chance(800),
        };
        let latency = Mutex::new(Random::new(seed ^ 1));
        let writes = Arc::new(Strike::default());
        let counted = Arc::clone(&writes);
        let disk = SimulatedDisk::new(Box::new(move || {
            if counted.strikes() {
                return STRUCK;
            }
            let mut random = latency.lock().unwrap_or_else(PoisonError::into_inner);
            let slow = random.chance(20);
            Duration::from_millis(random.between(0, if slow { 400 } else { 4 }))
        }));
        Arc::new(World {
            state: Mutex::new(State {
                hiccup_per_mille: *random.pick(&[0, 0, 10, 40]),
                twice_per_mille: *random.pick(&[0, 0, 20, 200]),
                random,
                trace: Trace::new(keep_trace),
                checks: Checks::default(),
                flavour,
                machines: BTreeMap::new(),
                clusters: Vec::new(),
                sessions: Sessions::default(),
                faults: BTreeMap::new(),
                faults_over: false,
                struck: String::new(),
                ids: 0,
            }),
            start: Instant::now(),
            folder,
            disk,
            coordinator: watch::channel(0).0,
            writes,
            steps: Strike::default(),
        })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now_ms(&self) -> u64 {
        EPOCH_MS + self.elapsed_ms()
    }

    /// Since the schedule began.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn say(&self, line: &str) {
        let now = self.elapsed_ms();
        self.lock().trace.add(now, line);
    }

    pub fn paths(&self, machine: &str) -> Paths {
        let disk = self.lock().machines.get(machine).map_or(0, |it| it.disk);
        Paths::under(self.folder.join(format!("{machine}-{disk}")))
    }

    pub async fn sleep(&self, low_ms: u64, high_ms: u64) {
        let ms = self.lock().random.between(low_ms, high_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// One step of an order on this machine, which may be struck before the next begins.
    pub async fn step(&self, name: &str) {
        if self.steps.strikes() {
            name.clone_into(&mut self.lock().struck);
            tokio::time::sleep(STRUCK).await;
        }
    }

    /// Looks at the etcd processes as of now, and whether all of it is still as it must be.
    pub fn refresh(&self) {
        let now = self.now_ms();
        let mut state = self.lock();
        state.refresh(now);
        state.judge(now);
    }

    // ---- what the environment does

    pub fn fault(&self, kind: &'static str, detail: &str) {
        let now = self.elapsed_ms();
        let mut state = self.lock();
        *state.faults.entry(kind).or_default() += 1;
        state.trace.add(now, &format!("FAULT {kind} {detail}"));
    }

    /// All processes end; what is on the disk stays.
    pub fn power_off(&self, name: &str) {
        {
            let mut state = self.lock();
            let Some(machine) = state.machines.get_mut(name) else {
                return;
            };
            machine.alive = false;
            machine.boot += 1;
            machine.life += 1;
            machine.process = None;
            machine.units.clear();
            machine.units_changed.notify_waiters();
            if let Some(agent) = machine.agent.take() {
                agent.abort();
            }
        }
        self.refresh();
    }

    pub fn power_on(&self, name: &str) {
        if self.lock().machines.get(name).is_none_or(|it| it.gone) {
            return;
        }
        // What lies in memory only is gone.
        let _ = std::fs::remove_dir_all(self.paths(name).runtime());
        let now = self.now_ms();
        if let Some(machine) = self.lock().machines.get_mut(name) {
            machine.alive = true;
            machine.restarts = 0;
            machine.stopped = false;
            machine.next_start = now + RESTART_MS;
            machine.excused_until = now + EXCUSE_MS;
        }
        self.refresh();
    }

    pub fn isolate(&self, name: &str) {
        let at = self.lock().machines.keys().position(|it| it == name);
        let own = at.and_then(|at| u8::try_from(at + 1).ok());
        self.set_side(name, own.unwrap_or(u8::MAX));
    }

    pub fn join_up(&self, name: &str) {
        self.set_side(name, 0);
    }

    fn set_side(&self, name: &str, side: u8) {
        let now = self.now_ms();
        if let Some(machine) = self.lock().machines.get_mut(name) {
            machine.side = side;
            machine.excused_until = now + EXCUSE_MS;
            if let Some(process) = &mut machine.process {
                process.connected_since = now;
            }
        }
        self.refresh();
    }

    /// etcd dies by itself; systemd starts it again.
    pub fn kill_etcd(&self, name: &str) {
        let now = self.now_ms();
        if let Some(machine) = self.lock().machines.get_mut(name)
            && machine.process.take().is_some()
        {
            machine.next_start = now + RESTART_MS;
            machine.excused_until = now + EXCUSE_MS;
        }
        self.refresh();
    }
}

impl State {
    pub fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub fn cluster(&self, id: u64) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.id == id)
    }

    pub fn cluster_mut(&mut self, id: u64) -> Option<&mut Cluster> {
        self.clusters.iter_mut().find(|cluster| cluster.id == id)
    }

    /// The members that run, each with its side and since when it is connected.
    fn running(&self, cluster: u64) -> BTreeMap<u64, (u8, u64)> {
        let of = |machine: &Machine| {
            let process = machine.process.as_ref()?;
            (machine.alive && process.cluster == cluster)
                .then_some((process.member, (machine.side, process.connected_since)))
        };
        self.machines.values().filter_map(of).collect()
    }

    /// What the member on this machine sees.
    pub fn sight(&self, name: &str, now: u64) -> Option<(u64, Sight)> {
        let machine = self.machines.get(name).filter(|it| it.alive)?;
        let process = machine.process.as_ref()?;
        let running = self.running(process.cluster);
        let beside = running
            .iter()
            .filter(|(_, (side, _))| *side == machine.side)
            .map(|(id, (_, since))| (*id, (*since).max(process.connected_since)));
        let in_sync = self
            .machines
            .values()
            .filter(|it| it.alive && it.side == machine.side)
            .filter_map(|it| it.process.as_ref())
            .filter(|it| it.cluster == process.cluster && it.synced_at <= now)
            .map(|it| it.member);
        let sight = Sight {
            member: process.member,
            connected: beside.collect(),
            in_sync: in_sync.collect(),
            now,
        };
        Some((process.cluster, sight))
    }

    pub fn refresh(&mut self, now: u64) {
        let names: Vec<String> = self.machines.keys().cloned().collect();
        for name in &names {
            self.start_if_due(name, now);
            self.stop_if_removed(name);
        }
        for at in 0..self.clusters.len() {
            self.elect(at, now);
            self.publish_names(at, now);
        }
    }

    /// As systemd does with a unit that is enabled.
    fn start_if_due(&mut self, name: &str, now: u64) {
        let Some(machine) = self.machines.get(name) else {
            return;
        };
        if !machine.alive || machine.process.is_some() || now < machine.next_start {
            return;
        }
        let Some(options) = machine.options.clone() else {
            return;
        };
        let (url, side) = (machine.peer_url(), machine.side);
        let started = match machine.data {
            Some(data) => Ok(data),
            None if options.new => Ok(self.found(name, url, now)),
            None => self.first_start(&options.peer_urls, &url, side),
        };
        let named_at = now + self.random.between(50, 400);
        let synced_at = now + self.random.between(100, 1_500);
        let Some(machine) = self.machines.get_mut(name) else {
            return;
        };
        match started {
            Ok(data) => {
                machine.data = Some(data);
                machine.lost_voter = false;
                machine.stopped = false;
                machine.process = Some(Process {
                    cluster: data.cluster,
                    member: data.member,
                    connected_since: now,
                    named_at,
                    synced_at,
                });
            }
            Err(_) => {
                machine.restarts += 1;
                machine.next_start = now + RESTART_MS;
            }
        }
    }

    fn found(&mut self, name: &str, peer_url: String, now: u64) -> Data {
        let (cluster, member) = (self.id() << 32 | self.random.next() >> 40, self.id());
        let member = member << 20 | 0xe;
        let first = Member {
            id: member,
            name: name.to_owned(),
            peer_url,
            learner: false,
            ever_started: true,
            last_up_ms: now,
        };
        let election_ms = self.random.between(1_000, 2_000);
        self.clusters
            .push(Cluster::found(cluster, first, election_ms));
        if self.clusters.len() > 1 {
            self.checks.violated("a second cluster was formed");
        }
        Data { cluster, member }
    }

    /// `--initial-cluster-state existing` with an empty folder: the id comes from the others' list by address.
    fn first_start(
        &mut self,
        given: &BTreeSet<String>,
        url: &str,
        side: u8,
    ) -> Result<Data, &'static str> {
        let mut running = BTreeMap::new();
        for cluster in &self.clusters {
            running.insert(cluster.id, self.running(cluster.id));
        }
        let reached = self.clusters.iter_mut().find(|cluster| {
            let there = running.get(&cluster.id);
            there.is_some_and(|it| it.values().any(|(at, _)| *at == side))
                && cluster.members.iter().any(|m| given.contains(&m.peer_url))
        });
        let cluster = reached.ok_or("no member answers")?;
        let listed: BTreeSet<String> = cluster.members.iter().map(|m| m.peer_url.clone()).collect();
        if &listed != given {
            return Err("error validating peerURLs: member count is unequal");
        }
        let id = cluster.id;
        let own = cluster.members.iter_mut().find(|m| m.peer_url == url);
        let own = own.ok_or("not a member")?;
        if own.ever_started {
            return Err("tocommit(9) is out of range [lastIndex(0)]");
        }
        own.ever_started = true;
        Ok(Data {
            cluster: id,
            member: own.id,
        })
    }

    /// A removed member hears of it from the others, ends with success, and stays down.
    fn stop_if_removed(&mut self, name: &str) {
        let Some(machine) = self.machines.get(name) else {
            return;
        };
        let (Some(process), side) = (&machine.process, machine.side) else {
            return;
        };
        let others = self.running(process.cluster);
        let hears = others
            .iter()
            .any(|(id, (at, _))| *id != process.member && *at == side);
        let gone = self
            .cluster(process.cluster)
            .is_some_and(|it| it.removed.contains(&process.member));
        if gone
            && hears
            && let Some(machine) = self.machines.get_mut(name)
        {
            machine.process = None;
            machine.next_start = u64::MAX;
        }
    }

    fn elect(&mut self, at: usize, now: u64) {
        let id = self.clusters[at].id;
        let running = self.running(id);
        let election_ms = self.random.between(1_000, 2_500);
        let cluster = &mut self.clusters[at];
        let needed = quorum(cluster.voters().count());
        let on = |side: u8| -> (u8, Vec<u64>) {
            let here = |id: &u64| running.get(id).is_some_and(|(at, _)| *at == side);
            let ids = cluster.voters().map(|v| v.id).filter(here);
            (side, ids.collect())
        };
        let sides: BTreeSet<u8> = running.values().map(|(side, _)| *side).collect();
        let strong = sides
            .into_iter()
            .map(on)
            .find(|(_, ids)| ids.len() >= needed);
        let beside = strong.as_ref().map_or(0, |(side, _)| *side);
        for member in &mut cluster.members {
            if running
                .get(&member.id)
                .is_some_and(|(side, _)| *side == beside)
            {
                member.last_up_ms = now;
            }
        }
        match strong {
            None => {
                cluster.leader = None;
                cluster.electable_since = None;
            }
            Some((_, ids)) if cluster.leader.is_some_and(|it| ids.contains(&it)) => {
                cluster.electable_since = None;
            }
            Some((_, ids)) => {
                cluster.leader = None;
                match cluster.electable_since {
                    None => {
                        cluster.electable_since = Some(now);
                        cluster.election_ms = election_ms;
                    }
                    Some(since) if now - since >= cluster.election_ms => {
                        cluster.leader =
                            ids.get((election_ms % ids.len() as u64) as usize).copied();
                        cluster.term += 1;
                        cluster.index += 1;
                        cluster.electable_since = None;
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// A member that starts says its name through the leader.
    fn publish_names(&mut self, at: usize, now: u64) {
        let cluster = &self.clusters[at];
        let Some(leader) = cluster.leader else {
            return;
        };
        let running = self.running(cluster.id);
        let Some((side, _)) = running.get(&leader).copied() else {
            return;
        };
        let mut named = Vec::new();
        for machine in self
            .machines
            .values()
            .filter(|it| it.side == side && it.alive)
        {
            if let Some(process) = &machine.process
                && process.named_at <= now
            {
                named.push((process.member, machine.name.clone()));
            }
        }
        let cluster = &mut self.clusters[at];
        for (id, name) in named {
            let unnamed = cluster
                .members
                .iter_mut()
                .find(|m| m.id == id && m.name != name);
            if let Some(member) = unnamed {
                member.name = name;
                cluster.index += 1;
            }
        }
    }

    // ---- the truth, for the checks

    pub fn voters(&self, now: u64) -> Vec<Voter> {
        let Some(cluster) = self.clusters.first() else {
            return Vec::new();
        };
        let running = self.running(cluster.id);
        let of = |member: &Member| {
            let machine = self
                .machines
                .values()
                .find(|it| it.peer_url() == member.peer_url);
            Voter {
                member: member.id,
                up: running.get(&member.id).is_some_and(|(side, _)| *side == 0),
                down_for_ms: now.saturating_sub(member.last_up_ms),
                excused: machine.is_none_or(|it| it.excused(now)),
            }
        };
        cluster.voters().map(of).collect()
    }

    fn judge(&mut self, now: u64) {
        let voters = self.voters(now);
        let unsettled = self.clusters.first().map_or(0, |cluster| {
            let members = cluster.members.iter();
            members.filter(|m| m.learner || m.name.is_empty()).count()
        });
        self.checks.truth(&voters, unsettled);
    }
}
