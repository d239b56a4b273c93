//! Joins under faults, with the etcd distribution on real hosts.

use crate::formation::{FORM, fleet, held_voters, hosts};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::eventually;
use quorate_tests::product::observer::Observer;
use quorate_tests::product::{Fleet, etcd, file};
use std::time::{Duration, Instant};

/// Applies without waiting; returns the operation.
fn begin(fleet: &Fleet, text: &str) -> Result<String> {
    let path = fleet.write_file("cluster.yaml", text)?;
    let output = fleet.quorate_output(
        &["apply", "-f", &path, "--yes", "--no-wait"],
        Duration::from_secs(60),
    )?;
    ensure!(
        output.success(),
        "apply: {}{}",
        output.stdout,
        output.stderr
    );
    let operations = fleet.json(&["operation", "list"])?;
    Ok(operations["operations"][0]["id"]
        .as_str()
        .context("no operation")?
        .to_owned())
}

fn finish(fleet: &Fleet, operation: &str) -> Result<()> {
    let output = fleet.quorate_output(&["operation", "watch", operation], FORM)?;
    ensure!(
        output.success(),
        "the operation ended with {}:\n{}{}\n{}",
        output.status,
        output.stdout,
        output.stderr,
        fleet.journals()
    );
    Ok(())
}

fn clean(observer: Observer) -> Result<()> {
    let (looks, wrong) = observer.finish();
    ensure!(looks > 20, "the observer saw only {looks} lists");
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

/// The joiner's machine dies after it was added and before it could be promoted: its learner is gone within 15 s, the others go on,
/// and it joins under the same name and address when it is back.
#[test]
fn a_joiner_killed_between_addition_and_promotion() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3", "n4"])?;
    let [n1, n2, n3, n4] = ["n1", "n2", "n3", "n4"].map(|name| fleet.node(name));
    let (n1, n2, n3, n4) = (n1?, n2?, n3?, n4?);
    fleet.apply(&file::etcd("prod", &[n1, n2], None), FORM)?;
    let text = file::etcd("prod", &[n1, n2, n3, n4], None);
    let observer = Observer::start(vec![n1.clone()]);
    let operation = begin(&fleet, &text)?;

    // Its preflight has passed once it installs: cut off from its peers now, it is added but cannot catch up.
    eventually(FORM, "n3 to install", || {
        let status = fleet.status("prod")?;
        let nodes = status["nodes"].as_array().context("no nodes")?;
        let installs = |n: &&serde_json::Value| n["name"] == "n3" && n["phase"] == "install";
        Ok(nodes.iter().find(installs).map(|_| ()))
    })?;
    n3.cut_from(n1)?;
    n3.cut_from(n2)?;
    n3.cut_from(n4)?;
    let peer_url = format!("https://{}:2380", n3.ip());
    let ghost = eventually(Duration::from_secs(90), "n3 to be added", || {
        let members = etcd::members(n1)?;
        Ok(members
            .into_iter()
            .find(|m| m.learner && m.peer_url == peer_url))
    })?;
    let died = Instant::now();
    n3.power_cut()?;
    eventually(Duration::from_secs(30), "the ghost to be removed", || {
        let still = etcd::members(n1)?
            .iter()
            .any(|m| m.peer_url == ghost.peer_url);
        Ok((!still).then_some(()))
    })?;
    let gone_after = died.elapsed();
    ensure!(
        gone_after <= Duration::from_secs(15),
        "the ghost stayed for {gone_after:?}"
    );

    // Nobody waits for the dead one.
    eventually(Duration::from_secs(60), "n4 to vote without n3", || {
        Ok(etcd::members(n1)?
            .iter()
            .any(|m| m.name == "n4" && !m.learner)
            .then_some(()))
    })?;
    n3.heal_from(n1)?;
    n3.heal_from(n2)?;
    n3.heal_from(n4)?;
    n3.boot()?;
    finish(&fleet, &operation)?;
    held_voters(n1, &["n1", "n2", "n3", "n4"])?;
    clean(observer)
}

/// kill -9 of the coordinator while a learner is in the list: it goes on where the list stands.
#[test]
fn the_coordinator_killed_in_the_middle_of_a_join() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3"])?;
    let members = hosts(&fleet, &["n1", "n2", "n3"])?;
    let text = file::etcd("prod", &members, None);
    let observer = Observer::start(vec![members[0].clone()]);
    let operation = begin(&fleet, &text)?;
    for kill in 1..=2 {
        // Looked at every half second, a learner may have become a voter already: the kill hits one or the other.
        eventually(FORM, &format!("member {}", kill + 1), || {
            Ok((etcd::members(members[0])?.len() > kill).then_some(()))
        })?;
        fleet.coordinator.ok([
            "systemctl",
            "kill",
            "--signal",
            "KILL",
            "quorate-coordinator.service",
        ])?;
    }
    eventually(
        Duration::from_secs(30),
        "the coordinator to be back",
        || fleet.quorate(&["nodes"]).map(Some),
    )?;
    finish(&fleet, &operation)?;
    held_voters(members[0], &["n1", "n2", "n3"])?;
    clean(observer)
}

/// Two clients apply at the same moment: one cluster comes of it, one member at a time.
#[test]
fn two_clients_applying_at_once() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3", "n4", "n5"])?;
    let three = file::etcd("prod", &hosts(&fleet, &["n1", "n2", "n3"])?, None);
    let five = file::etcd(
        "prod",
        &hosts(&fleet, &["n1", "n2", "n3", "n4", "n5"])?,
        None,
    );
    let a = fleet.write_file("a.yaml", &three)?;
    let b = fleet.write_file("b.yaml", &five)?;
    let observer = Observer::start(vec![fleet.node("n1")?.clone()]);
    let run = |path: &str| {
        fleet.quorate_output(&["apply", "-f", path, "--yes", "--progress", "plain"], FORM)
    };
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| run(&a));
        let second = scope.spawn(|| run(&b));
        (first.join(), second.join())
    });
    let outputs =
        [first, second].map(|output| output.map_err(|_| anyhow::anyhow!("a client panicked")));
    for output in outputs {
        let output = output??;
        // 5: refused, because the other was first.
        ensure!(
            matches!(output.status, 0 | 5),
            "{}: {}{}",
            output.status,
            output.stdout,
            output.stderr
        );
    }
    // Whoever was refused applies again.
    fleet.apply(&five, FORM)?;
    held_voters(fleet.node("n1")?, &["n1", "n2", "n3", "n4", "n5"])?;
    clean(observer)
}
