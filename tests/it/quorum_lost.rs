//! A quorum that is lost for good, with the etcd distribution on real hosts: given up on a typed word.

use crate::formation::{FORM, fleet, held_voters, hosts};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::{Host, Output, eventually};
use quorate_tests::product::{Fleet, etcd, file};
use std::time::Duration;

const CLUSTER: &str = "prod";
const THREE: [&str; 3] = ["n1", "n2", "n3"];
/// An agent that says nothing counts as away, at rest, after 45 s.
const NOTICED: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(60);
/// Stopping, copying, forcing, and the joins of others: minutes where these are real control planes.
const RECOVER: Duration = Duration::from_secs(540);

/// As an operator at a terminal, who types this when asked.
pub fn typed(fleet: &Fleet, words: &str, answer: &str) -> Result<Output> {
    let command = format!("quorate recover --cluster {CLUSTER} {words} --progress plain");
    let script = format!("echo {answer} | script --quiet --return --command '{command}' /dev/null");
    let line = ["env", "TERM=xterm", "sh", "-c", script.as_str()];
    fleet.coordinator.run_within(RECOVER, line)
}

pub fn recovered(fleet: &Fleet, words: &str) -> Result<String> {
    let output = typed(fleet, words, CLUSTER)?;
    ensure!(
        output.success(),
        "recover ended with {}:\n{}{}\n{}",
        output.status,
        output.stdout,
        output.stderr,
        fleet.journals()
    );
    Ok(output.stdout)
}

/// What may be given up, once the coordinator has missed who is off; the answer of the dry run.
pub fn ready(fleet: &Fleet, words: &[&str]) -> Result<String> {
    let mut command = vec!["recover", "--cluster", CLUSTER, "--dry-run"];
    command.extend(words);
    eventually(NOTICED, "the recovery not to be refused", || {
        let output = fleet.quorate_output(&command, SOON)?;
        ensure!(output.success(), "{}{}", output.stdout, output.stderr);
        Ok(Some(output.stdout))
    })
}

/// A fresh machine of the same name.
fn reinstalled(fleet: &mut Fleet, names: &[&str]) -> Result<()> {
    for name in names {
        fleet.node(name)?.down()?;
        fleet.nodes.retain(|host| host.name() != *name);
    }
    fleet.add(names)
}

/// It has heard that it was removed, and ended by itself.
fn ended(host: &Host) -> Result<()> {
    eventually(SOON, &format!("the old etcd of {host} to end"), || {
        let state = host.run(["systemctl", "is-active", "etcd.service"])?;
        ensure!(
            etcd::put(host, None, "two", "clusters").is_err(),
            "it took a write"
        );
        Ok((state.stdout.trim() == "inactive").then_some(()))
    })
}

#[test]
fn a_lost_quorum_is_given_up_and_members_join_again() -> Result<()> {
    let mut fleet = fleet(&THREE)?;
    let text = file::etcd(CLUSTER, &hosts(&fleet, &THREE)?, None);
    fleet.apply(&text, FORM)?;
    etcd::put(fleet.node("n3")?, None, "kept", "yes")?;
    let refused = typed(&fleet, "--without n2,n3", CLUSTER)?;
    ensure!(!refused.success(), "given up with a quorum: {refused:?}");

    for name in ["n2", "n3"] {
        fleet.node(name)?.power_cut()?;
    }
    let plan = ready(&fleet, &["--without", "n2,n3"])?;
    ensure!(plan.contains("are lost"), "nothing of what is lost: {plan}");
    let mistyped = typed(&fleet, "--without n2,n3", "prud")?;
    ensure!(
        !mistyped.success() && mistyped.stdout.contains("not confirmed"),
        "{mistyped:?}"
    );
    recovered(&fleet, "--without n2,n3")?;
    let n1 = fleet.node("n1")?;
    held_voters(n1, &["n1"])?;
    ensure!(etcd::get(n1, None, "kept")? == "yes", "what was kept");
    etcd::put(n1, None, "after", "alone")?;

    // Both come up as they were, a majority of the old cluster: whom they reach tells them that they are out.
    for name in ["n2", "n3"] {
        fleet.node(name)?.boot()?;
    }
    for name in ["n2", "n3"] {
        ended(fleet.node(name)?)?;
    }
    held_voters(fleet.node("n1")?, &["n1"])?;

    reinstalled(&mut fleet, &["n2", "n3"])?;
    let text = file::etcd(CLUSTER, &hosts(&fleet, &THREE)?, None);
    fleet.apply(&text, FORM)?;
    held_voters(fleet.node("n1")?, &THREE)?;
    for (key, value) in [("kept", "yes"), ("after", "alone")] {
        let found = etcd::get(fleet.node("n3")?, None, key)?;
        ensure!(found == value, "{key} is {found:?}");
    }
    fleet
        .wait_health(CLUSTER, "healthy", SOON)
        .context("after two joined again")?;
    back_to_an_exported_file(&fleet)
}

/// Two members and all snapshots on them are lost, and what the third holds is not wanted; the coordinator and the agent of the source
/// die while it is under way.
fn back_to_an_exported_file(fleet: &Fleet) -> Result<()> {
    let nodes = hosts(fleet, &THREE)?;
    etcd::put(nodes[0], None, "saved", "yes")?;
    fleet.quorate(&["snapshot", "create", "--cluster", CLUSTER])?;
    let newest = || -> Result<String> {
        let list = fleet.json(&["snapshot", "list", "--cluster", CLUSTER])?;
        let id = list["snapshots"][0]["snapshot"]["id"].as_str();
        Ok(id.context("no snapshot")?.to_owned())
    };
    let saved = eventually(SOON, "the snapshot to be reported", || newest().map(Some))?;
    fleet.quorate(&["snapshot", "export", &saved, "/root/prod.db"])?;
    etcd::put(nodes[0], None, "late", "not wanted")?;
    for node in &nodes {
        node.ok(["rm", "-rf", "/var/lib/quorate-agent/snapshots"])?;
    }
    for node in &nodes[..2] {
        node.ok(["systemctl", "stop", "etcd"])?;
        node.ok(["rm", "-rf", "/var/lib/etcd/quorate"])?;
    }
    let holder = nodes[1];
    holder.write(
        "/root/prod.db",
        fleet.coordinator.read("/root/prod.db")?,
        0o600,
    )?;
    let added = holder.ok(["quorate-agent", "snapshot", "/root/prod.db"])?;
    let id = added.split(' ').nth(1).context("no id")?;
    let plan = ready(fleet, &["--snapshot", id])?;
    ensure!(
        plan.contains("back to snapshot") && plan.contains("are lost"),
        "{plan}"
    );

    typed(fleet, &format!("--snapshot {id} --no-wait"), CLUSTER)?;
    for (host, unit) in [
        (&fleet.coordinator, "quorate-coordinator"),
        (holder, "quorate-agent"),
    ] {
        host.ok(["systemctl", "kill", "--signal", "KILL", unit])?;
    }
    eventually(SOON, "the coordinator to be back", || {
        fleet.quorate(&["nodes"]).map(Some)
    })?;
    let operations = fleet.json(&["operation", "list"])?;
    let operation = operations["operations"][0]["id"].as_str();
    let watch = ["operation", "watch", operation.context("no operation")?];
    let output = fleet.quorate_output(&watch, RECOVER)?;
    ensure!(output.success(), "{output:?}\n{}", fleet.journals());
    held_voters(holder, &THREE)?;
    for (key, value) in [("kept", "yes"), ("saved", "yes"), ("late", "")] {
        let found = etcd::get(nodes[0], None, key)?;
        ensure!(found == value, "{key} is {found:?}");
    }
    let aside = holder.ok(["sh", "-c", "ls -d /var/lib/etcd/quorate.before-*"])?;
    ensure!(!aside.is_empty(), "nothing was kept aside");
    fleet.wait_health(CLUSTER, "healthy", SOON).map(drop)
}
