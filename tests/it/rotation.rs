//! Endpoints that move while clients call: no request fails, no watch ends, and nothing of the old one is left.

use crate::formation::{FORM, fleet, hosts};
use anyhow::{Result, ensure};
use quorate_tests::lab::Host;
use quorate_tests::product::load::{Access, Load, Target, serves_as, unharmed};
use quorate_tests::product::{Fleet, endpoint, file};
use std::net::SocketAddr;
use std::time::Duration;

pub const CLUSTER: &str = "prod";
pub const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
/// A thousand requests take two seconds, on a machine that does nothing else.
pub const ANSWERED: Duration = Duration::from_secs(30);
/// Enough to have gone through every address, kept connection and member many times.
pub const SOME: u64 = 500;

/// Three members and two load balancers, at this endpoint.
pub fn behind(fleet: &Fleet, endpoint: &Target) -> Result<String> {
    let members = hosts(fleet, &MEMBERS)?;
    let balancers = hosts(fleet, &["lb1", "lb2"])?;
    let endpoint = endpoint.to_string();
    Ok(file::etcd_at(
        CLUSTER,
        Some(&endpoint),
        &members,
        &balancers,
    ))
}

pub fn balancer(fleet: &Fleet, name: &str) -> Result<Target> {
    Ok(Target::ip(fleet.node(name)?, 2379))
}

/// Clients move once the new address serves: both serve for a while, then only the new one is called.
pub fn move_clients(load: &Load, from: &Target, to: &Target) -> Result<()> {
    load.through(to)?;
    load.answered(SOME, ANSWERED)?;
    load.not_through(from)
}

/// The certificates of all members, exactly: good for the new name, and for the old one only where it is the member's own address.
pub fn names(fleet: &Fleet, access: &Access, new: &Target, old: &Target) -> Result<()> {
    for member in hosts(fleet, &MEMBERS)? {
        let at = SocketAddr::from((member.ip(), access.port()));
        let serves = |name: &str| serves_as(&fleet.lab, access, at, name);
        let own = |target: &Target| target.host == member.ip().to_string();
        ensure!(serves(&new.host)?, "{member} is not good for {new}");
        ensure!(
            serves(&old.host)? == own(old),
            "{member} and {old}: kept though dropped, or its own lost"
        );
        ensure!(serves(member.name())?, "{member} has lost its own name");
    }
    Ok(())
}

/// From `from` to `to` with clients on both; the old one is dropped when they have left it.
pub fn rotate(
    fleet: &Fleet,
    access: &Access,
    load: &Load,
    from: &Target,
    to: &Target,
) -> Result<()> {
    println!("{from} -> {to}");
    let operation = endpoint::begin(fleet, CLUSTER, to, endpoint::HELD)?;
    endpoint::reached(fleet, CLUSTER, "soak")?;
    move_clients(load, from, to)?;
    endpoint::change(fleet, CLUSTER, &["drop"])?;
    endpoint::finish(fleet, &operation)?;
    settled(fleet, access, load, from, to)
}

fn settled(fleet: &Fleet, access: &Access, load: &Load, from: &Target, to: &Target) -> Result<()> {
    endpoint::wait_in_line(fleet, CLUSTER, to)?;
    names(fleet, access, to, from)?;
    load.answered(SOME, ANSWERED)?;
    let counts = load.counts();
    println!("{from} -> {to}: {counts}");
    unharmed(&counts, SOME)
}

#[test]
fn an_endpoint_moves_between_a_member_load_balancers_and_names() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3", "lb1", "lb2"])?;
    let members: Vec<&Host> = hosts(&fleet, &MEMBERS)?;
    fleet.apply(&file::etcd(CLUSTER, &members, None), FORM)?;
    let (n1, lb1, lb2) = (
        Target::ip(members[0], 2379),
        balancer(&fleet, "lb1")?,
        balancer(&fleet, "lb2")?,
    );
    let access = Access::etcd(&fleet, CLUSTER)?;
    let load = Load::start(&fleet.lab, access.clone(), std::slice::from_ref(&n1))?;
    // They come beside the endpoint, which stays.
    fleet.apply(&behind(&fleet, &n1)?, FORM)?;
    endpoint::wait_in_line(&fleet, CLUSTER, &n1)?;

    // By itself: the soak is over when nothing has dialled the old one for a while, and no test says so.
    println!("{n1} -> {lb1}");
    let operation = endpoint::begin(&fleet, CLUSTER, &lb1, "5s")?;
    endpoint::reached(&fleet, CLUSTER, "soak")?;
    move_clients(&load, &n1, &lb1)?;
    endpoint::finish(&fleet, &operation)?;
    settled(&fleet, &access, &load, &n1, &lb1)?;

    rotate(&fleet, &access, &load, &lb1, &lb2)?;

    // Names that every host and the coordinator resolve.
    let one = Target::name("one.lab", 2379, fleet.node("lb1")?);
    let two = Target::name("two.lab", 7379, fleet.node("lb2")?);
    for name in [&one, &two] {
        fleet.lab.alias(&name.host, &[name.at])?;
    }
    rotate(&fleet, &access, &load, &lb2, &one)?;
    rotate(&fleet, &access, &load, &one, &two)?;
    unharmed(&load.finish()?, SOME)?;

    // The file may now say what is; the earlier address would be refused.
    fleet.apply(&behind(&fleet, &two)?, FORM)?;
    endpoint::wait_in_line(&fleet, CLUSTER, &two)
}
