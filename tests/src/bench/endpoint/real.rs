//! A real cluster of three whose endpoint moves from one load balancer to the next while clients call: by quorate, then by the plain
//! recipe (new certificates and restarts on all at once), in one run on the same hosts.

use super::plain;
use super::report::{Moved, Way};
use crate::bench::bed::on_each;
use crate::lab::{Host, Lab, eventually};
use crate::product::load::{Access, Counts, Load, Target, serves_as};
use crate::product::{Fleet, endpoint, etcd, file, haproxy, kubernetes};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const CLUSTER: &str = "bench";
const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
const BALANCERS: [&str; 2] = ["lb1", "lb2"];
/// Set up by hand, for the plain recipe: quorate knows nothing of it.
const BY_HAND: &str = "lb3";
/// Packages are fetched and images imported on two cores.
const FORM: Duration = Duration::from_secs(900);
/// So many requests are sent in each way, at least: one that fails in ten thousand is to be seen.
const REQUESTS: u64 = 10_000;
const ANSWERED: Duration = Duration::from_secs(120);
/// Answers before anything moves: every member was called.
const BEFORE: u64 = 500;
/// What restarts comes back, or the recipe has failed.
pub const BACK: Duration = Duration::from_secs(300);

pub struct Bed {
    pub fleet: Fleet,
    pub access: Access,
    pub kubernetes: bool,
}

impl Bed {
    fn form(folder: Option<&Path>) -> Result<Self> {
        let lab = Lab::open()?;
        let names: Vec<&str> = MEMBERS.into_iter().chain(BALANCERS).collect();
        println!("forming three control planes behind a load balancer (not timed)");
        let (fleet, access) = match folder {
            Some(folder) => {
                let debs = lab.debs(&["haproxy"])?;
                let fleet = Fleet::new(lab, &names)?;
                fleet.add_artifacts(&debs)?;
                kubernetes::add_artifacts(&fleet, folder)?;
                let lb1 = Target::ip(fleet.node("lb1")?, 6443).to_string();
                let text =
                    kubernetes::file_at(&fleet, CLUSTER, Some(&lb1), &MEMBERS, &[], &BALANCERS)?;
                fleet.apply(&text, FORM)?;
                let access = Access::kubernetes(fleet.node("n1")?)?;
                (fleet, access)
            }
            None => {
                let debs = lab.debs(&["etcd-server", "etcd-client", "haproxy"])?;
                let fleet = Fleet::new(lab, &names)?;
                fleet.add_artifacts(&debs)?;
                let hosts = |names: &[&str]| -> Result<Vec<&Host>> {
                    names.iter().map(|name| fleet.node(name)).collect()
                };
                let lb1 = Target::ip(fleet.node("lb1")?, 2379).to_string();
                let text =
                    file::etcd_at(CLUSTER, Some(&lb1), &hosts(&MEMBERS)?, &hosts(&BALANCERS)?);
                fleet.apply(&text, FORM)?;
                let access = Access::etcd(&fleet, CLUSTER)?;
                (fleet, access)
            }
        };
        Ok(Bed {
            fleet,
            access,
            kubernetes: folder.is_some(),
        })
    }

    pub fn port(&self) -> u16 {
        if self.kubernetes { 6443 } else { 2379 }
    }

    pub fn members(&self) -> Result<Vec<Host>> {
        let hosts = MEMBERS.iter().map(|name| self.fleet.node(name).cloned());
        hosts.collect()
    }

    /// Whether this member serves under that name, and is healthy.
    pub fn serves(&self, member: &Host, name: &str) -> Result<bool> {
        let at = SocketAddr::from((member.ip(), self.port()));
        if !serves_as(&self.fleet.lab, &self.access, at, name)? {
            return Ok(false);
        }
        match self.kubernetes {
            true => kubernetes::kubectl(member, &["get", "--raw", "/readyz"]).map(|_| true),
            false => etcd::etcdctl(member, None, &["endpoint", "health"]).map(|_| true),
        }
    }
}

pub fn measure(folder: Option<&Path>) -> Result<Vec<Moved>> {
    let bed = Bed::form(folder)?;
    let target = |name: &str| anyhow::Ok(Target::ip(bed.fleet.node(name)?, bed.port()));
    let (lb1, lb2) = (target("lb1")?, target("lb2")?);
    endpoint::wait_in_line(&bed.fleet, CLUSTER, &lb1)?;
    let by_quorate = by_quorate(&bed, &lb1, &lb2)?;
    println!("{by_quorate}");
    let by_hand = by_hand(&bed, &lb2)?;
    println!("{by_hand}");
    Ok(vec![by_quorate, by_hand])
}

fn by_quorate(bed: &Bed, from: &Target, to: &Target) -> Result<Moved> {
    let fleet = &bed.fleet;
    let load = begin_load(bed, from)?;
    let begun = Instant::now();
    let operation = endpoint::begin(fleet, CLUSTER, to, endpoint::HELD)?;
    endpoint::reached(fleet, CLUSTER, "soak")?;
    let moved = begun.elapsed();
    // Clients take their time, which is what the soak is for.
    load.through(to)?;
    load.answered(BEFORE, ANSWERED)?;
    load.not_through(from)?;
    let dropped = Instant::now();
    endpoint::change(fleet, CLUSTER, &["drop"])?;
    endpoint::finish(fleet, &operation)?;
    let dropped = dropped.elapsed();
    endpoint::wait_in_line(fleet, CLUSTER, to)?;
    Ok(Moved {
        way: Way::Quorate,
        wall: moved + dropped,
        before_clients_move: moved,
        counts: end_load(load)?,
    })
}

fn by_hand(bed: &Bed, from: &Target) -> Result<Moved> {
    let members = bed.members()?;
    stop_product(&bed.fleet)?;
    let balancer = bed.fleet.lab.host(BY_HAND)?;
    haproxy::install(&bed.fleet.lab, &balancer)?;
    let right = haproxy::Listener {
        member_port: bed.port(),
        ..haproxy::Listener::right(bed.port(), &members.iter().collect::<Vec<_>>())
    };
    haproxy::serve(&balancer, &[right])?;
    let to = Target::ip(&balancer, bed.port());
    let load = begin_load(bed, from)?;
    let begun = Instant::now();
    plain::rotate(bed, &members, from, &to)?;
    on_each(&members, |member| {
        eventually(BACK, &format!("{member} to serve {to}"), || {
            Ok(bed.serves(member, &to.host)?.then_some(()))
        })
    })?;
    let wall = begun.elapsed();
    load.through(&to)?;
    load.not_through(from)?;
    Ok(Moved {
        way: Way::Plain,
        wall,
        before_clients_move: wall,
        counts: end_load(load)?,
    })
}

fn begin_load(bed: &Bed, through: &Target) -> Result<Load> {
    let load = Load::start(
        &bed.fleet.lab,
        bed.access.clone(),
        std::slice::from_ref(through),
    )?;
    load.answered(BEFORE, ANSWERED)?;
    Ok(load)
}

fn end_load(load: Load) -> Result<Counts> {
    let missing = REQUESTS.saturating_sub(load.counts().sent);
    load.answered(missing.max(BEFORE), ANSWERED)?;
    load.finish()
}

/// It neither helps the plain recipe nor takes back what that does.
fn stop_product(fleet: &Fleet) -> Result<()> {
    let stop = |host: &Host, unit: &str| host.ok(["systemctl", "stop", unit]).map(drop);
    stop(&fleet.coordinator, "quorate-coordinator.service")?;
    let all: Result<()> = fleet
        .nodes
        .iter()
        .try_for_each(|host| stop(host, "quorate-agent.service"));
    all.context("cannot stop the product")
}
