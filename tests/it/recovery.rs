//! A coordinator brought to another machine, and what is saved of a cluster.

use crate::formation::{FORM, fleet, held_voters, hosts};
use anyhow::{Context, Result, bail, ensure};
use quorate_tests::lab::{Host, eventually};
use quorate_tests::product::{Fleet, etcd, file, packages};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const BACKUP: &str = "/root/coordinator.backup";

/// The second coordinator's host.
const OTHER: &str = "n4";

/// The coordinator's state goes to another machine while the old one keeps running: nodes that are led there obey the new one, the old
/// one steps back without a hand on it and stays so, and the new one goes on with the cluster.
#[test]
fn a_coordinator_moves_while_the_old_one_runs() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3", OTHER])?;
    let members = ["n1", "n2", "n3"];
    let text = file::etcd("prod", &hosts(&fleet, &members)?, None);
    fleet.apply(&text, FORM)?;
    etcd::put(fleet.node("n1")?, None, "before", "the move")?;

    let old = &fleet.coordinator;
    let backup = fleet.quorate_output(&["backup", BACKUP], SOON)?;
    ensure!(
        backup.success() && backup.stderr.contains("PRIVATE KEY"),
        "{backup:?}"
    );
    let mode = old.ok(["stat", "-c", "%a", BACKUP])?;
    ensure!(mode.trim() == "600", "its mode is {mode}");
    let new = fleet.node(OTHER)?;
    new.install_debs(&[&packages::packages()?.coordinator])?;
    damaged_is_refused(old, new)?;
    new.write(BACKUP, old.read(BACKUP)?, 0o600)?;
    let advertise = format!("{}:7443", new.ip());
    new.ok(["quorate", "restore", BACKUP, "--advertise", &advertise])?;

    // One node is led there by hand and tells the old one; the others are let go by it and led there too.
    lead(fleet.node("n1")?, &advertise)?;
    eventually(SOON, "the old one to step back", || {
        let status = fleet.quorate_output(&["status"], SOON)?;
        let said = format!("{}{}", status.stdout, status.stderr);
        Ok(said.contains("SUPERSEDED").then_some(()))
    })?;
    let refused = fleet.quorate_output(&["token", "create"], SOON)?;
    ensure!(
        refused.status == 5 && refused.stderr.contains("superseded"),
        "a change at the old one: {refused:?}"
    );
    old.ok(["systemctl", "restart", "quorate-coordinator"])?;
    for node in ["n2", "n3"] {
        lead(fleet.node(node)?, &advertise)?;
    }
    eventually(SOON, "all members at the new one", || {
        let connected = connected(new)?;
        Ok(members
            .iter()
            .all(|member| connected.iter().any(|name| name == member))
            .then_some(()))
    })?;
    let refused = fleet.quorate_output(&["token", "create"], SOON)?;
    ensure!(refused.status == 5, "after a restart: {refused:?}");
    ensure!(connected(old)?.is_empty(), "nodes came back to the old one");

    // The new one knows the cluster, and changes it.
    grow(&fleet, new, &text)?;
    ensure!(etcd::get(fleet.node("n3")?, None, "before")? == "the move");
    Ok(())
}

fn damaged_is_refused(old: &Host, new: &Host) -> Result<()> {
    let whole = old.read(BACKUP)?;
    new.write(BACKUP, &whole[..whole.len() - 100], 0o600)?;
    let refused = new.run(["quorate", "restore", BACKUP])?;
    ensure!(
        refused.status == 1 && refused.stderr.contains("damaged or cut short"),
        "a backup that was cut short: {refused:?}"
    );
    let config = new.run(["test", "-e", "/etc/quorate/coordinator.yaml"])?;
    ensure!(!config.success(), "it left a configuration behind");
    Ok(())
}

fn lead(node: &Host, address: &str) -> Result<()> {
    node.ok(["quorate-agent", "coordinator", address]).map(drop)
}

fn connected(coordinator: &Host) -> Result<Vec<String>> {
    let text = coordinator.ok(["quorate", "nodes", "-o", "json"])?;
    let nodes: serde_json::Value = serde_json::from_str(&text).context("nodes")?;
    let all = nodes["nodes"].as_array().context("no nodes")?;
    Ok(all
        .iter()
        .filter(|node| node["connected"] == true)
        .filter_map(|node| node["name"].as_str().map(str::to_owned))
        .collect())
}

/// The same file is nothing to do; artifacts are added again before a further member comes.
fn grow(fleet: &Fleet, new: &Host, text: &str) -> Result<()> {
    new.write("/root/cluster.yaml", text, 0o644)?;
    let apply = ["quorate", "apply", "-f", "/root/cluster.yaml", "--yes"];
    let again = new.run_within(FORM, apply)?;
    if !again.success() {
        bail!("apply at the new one: {again:?}\n{}", fleet.journals());
    }
    held_voters(fleet.node("n1")?, &["n1", "n2", "n3"])
}

/// Two members save what they hold, by themselves and when asked; Debian's own tool finds the files whole.
#[test]
fn snapshots_of_two_members_are_whole() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3"])?;
    let text = file::etcd("prod", &hosts(&fleet, &["n1", "n2", "n3"])?, None);
    fleet.apply(&text, FORM)?;
    etcd::put(fleet.node("n1")?, None, "saved", "yes")?;
    eventually(Duration::from_secs(120), "the first snapshots", || {
        Ok((snapshots(&fleet)?.len() == 2).then_some(()))
    })?;
    fleet.quorate(&["snapshot", "create", "--cluster", "prod"])?;
    eventually(SOON, "the members to report them", || {
        Ok((snapshots(&fleet)?.len() == 4).then_some(()))
    })?;
    for (node, file, revision) in snapshots(&fleet)? {
        let status = fleet.node(&node)?.ok([
            "env",
            "ETCDCTL_API=3",
            "etcdctl",
            "snapshot",
            "status",
            &file,
            "-w",
            "json",
        ])?;
        let status: serde_json::Value = serde_json::from_str(&status).context("status")?;
        let found = status["revision"].as_u64().context("no revision")?;
        ensure!(
            found >= revision,
            "{file} on {node}: {status}, not {revision}"
        );
    }
    let list = fleet.json(&["snapshot", "list"])?;
    let newest = &list["snapshots"][0]["snapshot"];
    let id = newest["id"].as_str().context("no id")?;
    fleet.quorate(&["snapshot", "export", id, "/root/prod.db"])?;
    let digest = fleet.coordinator.ok(["sha256sum", "/root/prod.db"])?;
    ensure!(
        list["snapshots"].as_array().is_some_and(|all| {
            all.iter().any(|line| {
                line["snapshot"]["sha256"] == digest.split(' ').next().unwrap_or_default()
            })
        }),
        "{digest} is none of {list}"
    );
    let check = fleet.quorate_output(&["check", "prod"], SOON)?;
    ensure!(!check.stdout.contains("no snapshot"), "{check:?}");
    exports_that_fail(&fleet, id)?;
    let n3 = fleet.node("n3")?;
    n3.write(
        "/root/prod.db",
        fleet.coordinator.read("/root/prod.db")?,
        0o600,
    )?;
    let words = ["env", "ETCDCTL_API=3", "etcdctl", "snapshot", "status"];
    n3.ok(words.into_iter().chain(["/root/prod.db"])).map(drop)
}

/// Of no such snapshot, and onto a disk that is full: nothing is left that looks whole.
fn exports_that_fail(fleet: &Fleet, id: &str) -> Result<()> {
    let unknown = "01JD0000000000000000000000";
    let export = ["snapshot", "export", unknown, "/root/none.db"];
    let output = fleet.quorate_output(&export, SOON)?;
    ensure!(
        !output.success() && output.stderr.contains("no such snapshot"),
        "{output:?}"
    );
    let host = &fleet.coordinator;
    host.ok(["mkdir", "/root/small"])?;
    host.ok([
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=12k",
        "none",
        "/root/small",
    ])?;
    let output = fleet.quorate_output(&["snapshot", "export", id, "/root/small/prod.db"], SOON)?;
    ensure!(
        !output.success() && output.stderr.contains("No space left"),
        "{output:?}"
    );
    let left = host.ok(["find", "/root/none.db", "/root/small", "-type", "f"]);
    ensure!(
        left.is_err() || left.is_ok_and(|it| it.is_empty()),
        "something is left"
    );
    host.ok(["umount", "/root/small"]).map(drop)
}

/// Node, file, revision.
fn snapshots(fleet: &Fleet) -> Result<Vec<(String, String, u64)>> {
    let list = fleet.json(&["snapshot", "list", "--cluster", "prod"])?;
    let all = list["snapshots"].as_array().context("no snapshots")?;
    Ok(all
        .iter()
        .map(|line| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let info = &line["snapshot"];
            (
                text(&line["node"]),
                text(&info["place"]),
                info["revision"].as_u64().unwrap_or_default(),
            )
        })
        .collect())
}
