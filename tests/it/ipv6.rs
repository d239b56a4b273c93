//! A cluster whose file names IPv6 addresses and nothing else.

use crate::formation::{FORM, fleet, held_voters, hosts};
use crate::rotation::{CLUSTER, MEMBERS};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::{Host, eventually};
use quorate_tests::product::load::{Access, Target, serves_as};
use quorate_tests::product::{Fleet, endpoint, etcd, file};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

const HEALTHY: Duration = Duration::from_secs(60);

#[test]
fn forms_serves_and_moves_on_ipv6_alone() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3", "lb1", "lb2"])?;
    let members = hosts(&fleet, &MEMBERS)?;
    let balancers = hosts(&fleet, &["lb1", "lb2"])?;
    let [one, two] = [0, 1].map(|at: usize| Target::ip6(balancers[at], 2379));
    let text = |endpoint: &Target| {
        let endpoint = endpoint.to_string();
        let file = file::Etcd {
            name: CLUSTER,
            endpoint: Some(&endpoint),
            members: &members,
            balancers: &balancers,
            ipv6: true,
            ..file::Etcd::default()
        };
        file.text()
    };
    fleet.apply(&text(&one), FORM)?;
    held_voters(members[0], &MEMBERS)?;
    on_ipv6(&fleet, &members)?;
    endpoint::wait_in_line(&fleet, CLUSTER, &one)?;
    through(&members, &one, "first")?;

    let access = Access::etcd(&fleet, CLUSTER)?;
    let operation = endpoint::begin(&fleet, CLUSTER, &two, endpoint::HELD)?;
    endpoint::reached(&fleet, CLUSTER, "soak")?;
    for (both, value) in [(&one, "still"), (&two, "already")] {
        through(&members, both, value)?;
    }
    endpoint::change(&fleet, CLUSTER, &["drop"])?;
    endpoint::finish(&fleet, &operation)?;
    endpoint::wait_in_line(&fleet, CLUSTER, &two)?;
    for member in &members {
        let at = SocketAddr::from((member.ip6(), 2379));
        let serves = |name: &str| serves_as(&fleet.lab, &access, at, name);
        ensure!(serves(&two.host)?, "{member} is not good for {two}");
        ensure!(!serves(&one.host)?, "{member} kept {one}");
    }
    through(&members, &two, "second")?;
    // The file may now say what is.
    fleet.apply(&text(&two), FORM)?;
    endpoint::wait_in_line(&fleet, CLUSTER, &two)
}

/// What is written through the load balancer is read from every member.
fn through(members: &[&Host], endpoint: &Target, value: &str) -> Result<()> {
    etcd::put(
        members[0],
        Some(&format!("https://{endpoint}")),
        "key",
        value,
    )?;
    for member in members {
        ensure!(etcd::get(member, None, "key")? == value, "{member}");
    }
    Ok(())
}

/// Healthy, in every member's own words on IPv6, and balanced there.
fn on_ipv6(fleet: &Fleet, members: &[&Host]) -> Result<()> {
    let status = fleet.wait_health(CLUSTER, "healthy", HEALTHY)?;
    ensure!(status["etcd"]["failure_tolerance"] == 1, "{status}");
    for seen in etcd::members(members[0])? {
        let host = fleet.node(&seen.name)?;
        let url = format!("https://[{}]:2380", host.ip6());
        ensure!(seen.peer_url == url, "{seen:?}");
        let mine = format!("https://[{}]:2379", host.ip6());
        etcd::etcdctl(host, Some(&mine), &["endpoint", "health"])?;
    }
    // A load balancer that was just reloaded has yet to check them.
    eventually(HEALTHY, "both load balancers to find all up", || {
        let status = fleet.status(CLUSTER)?;
        let balancers = status["load_balancers"].as_array().context("none")?;
        ensure!(balancers.len() == 2, "{status}");
        for balancer in balancers {
            let backends = balancer["backends"].as_array().context("no backends")?;
            let up = |one: &&Value| one["frontend"] == "api" && one["up"] == true;
            ensure!(backends.iter().filter(up).count() == 3, "{balancer}");
        }
        Ok(Some(()))
    })
}
