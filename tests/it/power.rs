//! A whole cluster that stops and starts, in order and by a power cut.

use crate::formation::{FORM, fleet, held_voters, hosts};
use anyhow::{Context, Result, bail, ensure};
use quorate_tests::lab::{Host, eventually};
use quorate_tests::product::{Fleet, etcd, file};
use std::thread;
use std::time::Duration;

pub const SOON: Duration = Duration::from_secs(120);
/// Between two machines that come back.
const APART: Duration = Duration::from_secs(3);
const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
const ALL: [&str; 4] = ["n1", "n2", "n3", "lb"];

/// One cluster, formed once.
#[test]
fn a_cluster_survives_power_cuts_and_stops_and_starts() -> Result<()> {
    let fleet = fleet(&ALL)?;
    let members = hosts(&fleet, &MEMBERS)?;
    let text = file::etcd("prod", &members, Some(fleet.node("lb")?));
    fleet.apply(&text, FORM)?;
    let endpoint = format!("https://{}:2379", fleet.node("lb")?.ip());
    etcd::put(
        members[0],
        Some(&endpoint),
        "acknowledged",
        "before the cut",
    )?;

    // The power of everything goes at once, and nobody lends a hand.
    cut_all(&fleet)?;
    boot(&fleet, &["n3", "lb", "co", "n1", "n2"])?;
    whole(&fleet, &endpoint, "before the cut")?;

    stop(&fleet)?;
    // Off and on again while it is stopped: it stays so.
    etcd_is(&members, "inactive")?;
    cut_all(&fleet)?;
    boot(&fleet, &["n2", "co", "n1", "lb", "n3"])?;
    stays_stopped(&fleet, &members)?;

    // n3's machine is off when the word is given, and comes back in the middle.
    members[2].power_cut()?;
    let begun = fleet.quorate(&["cluster", "start", "prod", "--yes", "--no-wait"])?;
    eventually(SOON, "two members to serve", || {
        Ok(etcd::get(members[0], None, "acknowledged").ok())
    })?;
    boot(&fleet, &["n3"])?;
    let watched = fleet.quorate_output(&["operation", "watch", begun.trim()], FORM)?;
    ensure!(watched.success(), "{watched:?}\n{}", fleet.journals());
    whole(&fleet, &endpoint, "before the cut")
}

pub fn cut_all(fleet: &Fleet) -> Result<()> {
    let all = fleet.nodes.iter().chain([&fleet.coordinator]);
    all.into_iter().try_for_each(Host::power_cut)
}

/// In this order; a member alone is not up before another one is.
pub fn boot(fleet: &Fleet, order: &[&str]) -> Result<()> {
    let host = |name: &str| match name {
        "co" => Ok(&fleet.coordinator),
        name => fleet.node(name),
    };
    let hosts = order
        .iter()
        .map(|it| host(it))
        .collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let tasks: Vec<_> = hosts
            .into_iter()
            .map(|host| {
                let task = scope.spawn(|| host.boot());
                thread::sleep(APART);
                task
            })
            .collect();
        tasks
            .into_iter()
            .try_for_each(|task| task.join().unwrap_or_else(|_| bail!("booting panicked")))
    })
}

/// Healthy again, with the same members, and what was acknowledged is there and can be added to.
fn whole(fleet: &Fleet, endpoint: &str, value: &str) -> Result<()> {
    let healthy = eventually(SOON, "prod to be healthy", || {
        let status = fleet.status("prod")?;
        ensure!(
            status["health"] == "healthy",
            "{} {}",
            status["health"],
            status["waiting_on"]
        );
        Ok(Some(()))
    });
    healthy.with_context(|| fleet.journals())?;
    let n2 = fleet.node("n2")?;
    held_voters(n2, &MEMBERS)?;
    ensure!(etcd::get(n2, Some(endpoint), "acknowledged")? == value);
    etcd::put(n2, Some(endpoint), "after", "it")
}

fn stop(fleet: &Fleet) -> Result<()> {
    let plan = fleet.quorate(&["cluster", "stop", "prod", "--dry-run"])?;
    ensure!(plan.contains("etcd is saved first"), "{plan}");
    let stopped = fleet.quorate_output(&["cluster", "stop", "prod", "--yes"], FORM)?;
    ensure!(stopped.success(), "{stopped:?}\n{}", fleet.journals());
    let list = fleet.json(&["snapshot", "list"])?;
    let saved = list["snapshots"].as_array().map_or(0, Vec::len);
    ensure!(saved >= 2, "it was not saved before: {list}");
    let refused = fleet.quorate_output(&["node", "remove", "n3", "--yes"], SOON)?;
    ensure!(
        refused.status == 5 && refused.stderr.contains("the cluster is stopped since"),
        "{refused:?}"
    );
    says_stopped(fleet)
}

/// To people and to scripts: nothing is wrong.
pub fn says_stopped(fleet: &Fleet) -> Result<()> {
    let status = fleet.quorate_output(&["status", "prod"], SOON)?;
    ensure!(
        status.success() && status.stdout.contains("stopped, since"),
        "{status:?}"
    );
    Ok(())
}

fn stays_stopped(fleet: &Fleet, members: &[&Host]) -> Result<()> {
    for name in ALL {
        fleet.wait_connected(name)?;
    }
    let stopped = eventually(SOON, "prod to be stopped", || {
        let health = fleet.status("prod")?["health"].clone();
        Ok((health == "stopped").then_some(()))
    });
    stopped?;
    says_stopped(fleet)?;
    etcd_is(members, "inactive")
}

fn etcd_is(members: &[&Host], state: &str) -> Result<()> {
    for member in members {
        let found = member.run(["systemctl", "is-active", "etcd"])?;
        ensure!(found.stdout.trim() == state, "{member}: {found:?}");
    }
    Ok(())
}
