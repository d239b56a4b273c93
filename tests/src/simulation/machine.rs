//! One machine: what survives what. A crash of the agent takes its process, a crash of the host all processes, its loss everything.

use super::etcd::Process;
use quorate_agent::orders::etcd::environment::Identity;
use quorate_proto::v1::{Endpoint, LoadBalancerView, Marks};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What etcd.service is started with.
#[derive(Clone, Debug)]
pub struct Options {
    pub owner: Identity,
    pub peer_urls: BTreeSet<String>,
    pub new: bool,
}

/// Whose data lies on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    pub cluster: u64,
    pub member: u64,
}

#[derive(Default)]
pub struct Machine {
    pub name: String,
    pub address: String,

    /// Gone for good: no power, no fault and no mending brings it back.
    pub gone: bool,

    // ---- lost with the host's power
    pub alive: bool,
    /// Counts boots: what was started in an earlier one has ended.
    pub boot: u64,
    pub process: Option<Process>,
    /// Units under way, by name.
    pub units: BTreeSet<String>,
    pub units_changed: Arc<Notify>,
    pub restarts: u32,
    pub next_start: u64,
    /// etcd.service was told to stop: it starts with an order or the next boot.
    pub stopped: bool,

    // ---- lost with the agent
    /// Counts its processes.
    pub life: u64,
    pub agent: Option<AbortHandle>,

    // ---- the disk
    pub marks: Marks,
    pub authority: bool,
    pub options: Option<Options>,
    pub data: Option<Data>,
    pub serving: BTreeSet<String>,
    pub issued_unix: i64,
    pub balancer: Option<LoadBalancerView>,
    /// When each order came, by this machine's clock.
    pub accepted: BTreeMap<String, u64>,
    /// Counts disks: the number of the identity it enrolled with.
    pub disk: u64,
    /// The identity that was taken back, by its disk.
    pub revoked: Option<u64>,

    // ---- its network
    /// Machines of different sides do not reach each other. Most are on side 0, each that is cut off on one of its own.
    pub side: u8,
    /// No way to the coordinator, and since when.
    pub cut_since: Option<u64>,
    /// Until when a fault of the environment excuses it: restarting takes a while.
    pub excused_until: u64,
    /// A voter whose disk was lost never comes back by itself.
    pub lost_voter: bool,
    pub watched: Vec<Endpoint>,
}

impl Machine {
    pub fn new(name: &str, address: &str) -> Self {
        Machine {
            name: name.to_owned(),
            address: address.to_owned(),
            ..Machine::default()
        }
    }

    pub fn peer_url(&self) -> String {
        format!("https://{}:2380", self.address)
    }

    /// The name of its identity, as the coordinator knows it.
    pub fn node_id(&self) -> String {
        format!("{}-{}", self.name, self.disk)
    }

    /// Its identity was taken back, and it has not enrolled anew.
    pub fn shut_out(&self) -> bool {
        self.revoked == Some(self.disk)
    }

    /// Whether something keeps it from serving that is not to be held against us now, or did so a moment ago: the environment, or a
    /// stop that was judged when it was made.
    pub fn excused(&self, now: u64) -> bool {
        let kept = !self.alive || self.side != 0 || self.stopped || self.lost_voter;
        kept || now < self.excused_until
    }

    /// A new disk in an otherwise same machine.
    pub fn lose_disk(&mut self) {
        self.marks = Marks::default();
        self.authority = false;
        self.options = None;
        self.data = None;
        self.serving.clear();
        self.balancer = None;
        self.accepted.clear();
        self.disk += 1;
    }
}
