//! Members that leave and are replaced while clients call through the load balancer, with the etcd distribution on real hosts.

use crate::formation::{FORM, fleet, held_voters, hosts};
use crate::rotation::{ANSWERED, CLUSTER, SOME, balancer};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::{Host, Output, eventually};
use quorate_tests::product::load::{Access, Counts, Load, Target};
use quorate_tests::product::{Fleet, etcd, file};
use std::time::Duration;

/// What the command ends with when the cluster would lose its quorum.
const QUORUM: i32 = 7;
/// A removal gives connections time, and a machine with two cores takes its own. The longest is a control plane's replacement.
const LEAVE: Duration = Duration::from_secs(540);
/// An agent that says nothing counts as away, at rest, after 45 s.
pub const NOTICED: Duration = Duration::from_secs(120);

fn node(fleet: &Fleet, words: &[&str]) -> Result<Output> {
    let mut command = vec!["node"];
    command.extend(words);
    command.extend(["--yes", "--progress", "plain"]);
    fleet.quorate_output(&command, LEAVE)
}

pub fn done(fleet: &Fleet, words: &[&str]) -> Result<Output> {
    let output = node(fleet, words)?;
    ensure!(
        output.success(),
        "node {words:?} ended with {}:\n{}{}\n{}",
        output.status,
        output.stdout,
        output.stderr,
        fleet.journals()
    );
    Ok(output)
}

/// A watch goes through one member and ends with it; requests do not.
pub fn none_failed(counts: &Counts) -> Result<()> {
    println!("{counts}");
    ensure!(counts.failed == 0, "clients noticed: {counts}");
    ensure!(counts.ok >= SOME, "too few requests: {counts}");
    Ok(())
}

/// Storage is well while this is there.
const STORAGE_OK: &str = "/run/storage-ok";

pub fn text(fleet: &Fleet, members: &[&str]) -> Result<String> {
    let (members, lb) = (hosts(fleet, members)?, fleet.node("lb1")?);
    let check = format!("storage: {{check: {{command: [/usr/bin/test, -e, {STORAGE_OK}]}}}}\n");
    Ok(file::etcd(CLUSTER, &members, Some(lb)) + &check)
}

/// It is held back while storage says no, still serves, and goes on once that says yes.
fn leaves_once_storage_is_well(fleet: &Fleet, goes: &str, all: &[&str]) -> Result<Output> {
    let begun = fleet.quorate(&["node", "remove", goes, "--yes", "--no-wait"])?;
    let why = format!("storage cannot do without {goes}: it ended with 1");
    eventually(ANSWERED, "storage to hold it back", || {
        let status = fleet.status(CLUSTER)?;
        let waits = status["waiting_on"].to_string();
        Ok(waits.contains(&why).then_some(()))
    })?;
    held_voters(fleet.node(goes)?, all)?;
    for member in all {
        fleet.node(member)?.write(STORAGE_OK, "", 0o644)?;
    }
    let watched =
        fleet.quorate_output(&["operation", "watch", begun.trim(), "--verbose"], LEAVE)?;
    ensure!(watched.success(), "{watched:?}\n{}", fleet.journals());
    Ok(watched)
}

/// The same file, as an operator would edit it.
fn without(text: &str, node: &str) -> String {
    let named = format!("{{name: {node},");
    let lines = text.lines().filter(|line| !line.contains(&named));
    lines.map(|line| format!("{line}\n")).collect()
}

/// As the agents themselves told it: the leader, and these many others, held their clients meanwhile.
pub fn handed_over(output: &Output, others: usize) -> Result<()> {
    let said = format!("{}{}", output.stdout, output.stderr);
    let held = said.matches("held its clients for").count();
    ensure!(
        said.contains("handed the leadership to") && held == others,
        "{held} of {others} held their clients: {said}"
    );
    Ok(())
}

/// The name of the member that leads, as etcd itself says.
pub fn leader(host: &Host) -> Result<String> {
    let status = etcd::etcdctl(
        host,
        None,
        &["endpoint", "status", "--cluster", "-w", "json"],
    )?;
    let status: serde_json::Value = serde_json::from_str(&status).context("endpoint status")?;
    let leads = status[0]["Status"]["leader"].as_u64();
    let members = etcd::members(host)?;
    let leader = members.into_iter().find(|it| Some(it.id) == leads);
    Ok(leader.context("no leader")?.name)
}

#[test]
fn the_leader_leaves_comes_back_and_a_dead_member_is_replaced() -> Result<()> {
    let mut fleet = fleet(&["n1", "n2", "n3", "lb1"])?;
    let three = ["n1", "n2", "n3"];
    let whole = text(&fleet, &three)?;
    fleet.apply(&whole, FORM)?;
    let access = Access::etcd(&fleet, CLUSTER)?;
    let load = Load::start(&fleet.lab, access, &[balancer(&fleet, "lb1")?])?;
    load.answered(SOME, ANSWERED)?;

    let goes = leader(fleet.node("n2")?)?;
    let stay: Vec<&str> = three.into_iter().filter(|it| *it != goes).collect();
    println!("{goes} leads, and leaves");
    // Not only behind the load balancer: writes that followers have forwarded are what a change of the leader loses.
    for member in hosts(&fleet, &stay)? {
        load.through(&Target::ip(member, 2379))?;
    }
    let output = leaves_once_storage_is_well(&fleet, &goes, &three)?;
    handed_over(&output, stay.len())?;
    held_voters(fleet.node(stay[0])?, &stay)?;
    load.answered(SOME, ANSWERED)?;
    none_failed(&load.counts()).context("the leader left")?;
    let left = fleet.node(&goes)?;
    let data = left.run(["test", "-e", "/var/lib/etcd/member"])?;
    ensure!(!data.success(), "its data is still there");

    // A file without it does nothing; enrolled anew and with it in the file, it is a member again.
    let output = fleet.apply(&without(&whole, &goes), FORM)?;
    crate::formation::says_nothing_to_do(&output)?;
    fleet.enroll_again(left)?;
    fleet.apply(&whole, FORM)?;
    held_voters(fleet.node("n1")?, &three)?;
    load.answered(SOME, ANSWERED)?;
    none_failed(&load.counts()).context("it came back")?;

    // A host that lost its power: the load balancer's own checks find out, which may cost what was under way there.
    load.finish()?;
    fleet.node("n3")?.power_cut()?;
    fleet.add(&["n4"])?;
    eventually(NOTICED, "n3 to be missed", || {
        let words = ["node", "remove", "n3", "--dead", "--dry-run"];
        let output = fleet.quorate_output(&words, LEAVE)?;
        ensure!(output.success(), "{}", output.stdout);
        Ok(Some(()))
    })?;
    let load = Load::start(
        &fleet.lab,
        Access::etcd(&fleet, CLUSTER)?,
        &[balancer(&fleet, "lb1")?],
    )?;
    let address = fleet.node("n4")?.ip().to_string();
    let words = ["replace", "n3", "n4", "--address", &address, "--dead"];
    done(&fleet, &words)?;
    held_voters(fleet.node("n1")?, &["n1", "n2", "n4"])?;
    // etcd's leader stands still for some seconds while it closes its connections to a host that answers nothing any more: what
    // clients notice of that is told, not judged.
    load.answered(SOME, ANSWERED)?;
    println!("a dead member was replaced: {}", load.finish()?);
    fleet.wait_health(CLUSTER, "healthy", NOTICED).map(drop)
}

#[test]
fn a_removal_that_would_cost_the_quorum_is_refused_with_its_own_exit_code() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3", "lb1"])?;
    fleet.apply(&text(&fleet, &["n1", "n2", "n3"])?, FORM)?;
    fleet.node("n2")?.power_cut()?;
    fleet.node("n3")?.power_cut()?;
    // One after the other they are missed; refused it is from the first moment on.
    eventually(NOTICED, "two of three to be missed", || {
        let output = node(&fleet, &["remove", "n3", "--dead"])?;
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(!output.success(), "it was removed: {said}");
        let numbers = said.contains("1 of 3 voters answer; 2 have to agree");
        Ok((output.status == QUORUM && numbers).then_some(()))
    })?;
    fleet.node("n2")?.boot()?;
    fleet.node("n3")?.boot()?;
    fleet.wait_health(CLUSTER, "healthy", NOTICED)?;
    held_voters(fleet.node("n1")?, &["n1", "n2", "n3"])
}
