//! Forming and growing clusters, with the etcd distribution: everything from Debian's packages.

use anyhow::{Context, Result, bail, ensure};
use quorate_tests::lab::{Host, Lab, Output, eventually};
use quorate_tests::product::{Fleet, etcd, file};
use std::time::Duration;

pub const FORM: Duration = Duration::from_secs(240);
const PACKAGES: [&str; 3] = ["etcd-server", "etcd-client", "haproxy"];

pub fn fleet(nodes: &[&str]) -> Result<Fleet> {
    let lab = Lab::open()?;
    let debs = lab.debs(&PACKAGES)?;
    let fleet = Fleet::new(lab, nodes)?;
    fleet.add_artifacts(&debs)?;
    Ok(fleet)
}

pub fn hosts<'a>(fleet: &'a Fleet, names: &[&str]) -> Result<Vec<&'a Host>> {
    names.iter().map(|name| fleet.node(name)).collect()
}

pub fn held_voters(host: &Host, names: &[&str]) -> Result<()> {
    let voters = etcd::voters(host)?;
    ensure!(voters == names, "voters are {voters:?}, not {names:?}");
    Ok(())
}

/// To people it says so on standard error: there is no data.
pub fn says_nothing_to_do(output: &Output) -> Result<()> {
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(said.contains("othing to do"), "it said: {said:?}");
    Ok(())
}

#[test]
fn three_then_five_behind_a_load_balancer() -> Result<()> {
    let mut fleet = fleet(&["n1", "n2", "n3", "lb"])?;
    let text = file::etcd(
        "prod",
        &hosts(&fleet, &["n1", "n2", "n3"])?,
        Some(fleet.node("lb")?),
    );

    // The plan says what will happen and changes nothing.
    let path = fleet.write_file("plan.yaml", &text)?;
    let plan = fleet.json(&["plan", "-f", &path])?;
    ensure!(plan["quorum"][2]["tolerance"] == 1, "plan: {plan}");
    ensure!(
        plan["zones"].as_array().is_some_and(|z| z.len() == 3),
        "zones: {plan}"
    );
    ensure!(
        !fleet
            .node("n1")?
            .run(["test", "-e", "/etc/quorate/etcd/etcd.env"])?
            .success()
    );

    fleet.apply(&text, FORM)?;
    held_voters(fleet.node("n1")?, &["n1", "n2", "n3"])?;
    let status = fleet.wait_health("prod", "healthy", Duration::from_secs(60))?;
    ensure!(status["etcd"]["failure_tolerance"] == 1, "{status}");

    // Through the load balancer, under its own name in the certificates.
    let endpoint = format!("https://{}:2379", fleet.node("lb")?.ip());
    etcd::put(
        fleet.node("n1")?,
        Some(&endpoint),
        "through",
        "the load balancer",
    )?;
    ensure!(etcd::get(fleet.node("n2")?, None, "through")? == "the load balancer");

    // The same file again does nothing and says so.
    let again = fleet.apply(&text, FORM)?;
    says_nothing_to_do(&again)?;

    // Two more.
    fleet.add(&["n4", "n5"])?;
    let all = ["n1", "n2", "n3", "n4", "n5"];
    let text = file::etcd("prod", &hosts(&fleet, &all)?, Some(fleet.node("lb")?));
    fleet.apply(&text, FORM)?;
    held_voters(fleet.node("n5")?, &all)?;
    ensure!(etcd::get(fleet.node("n5")?, None, "through")? == "the load balancer");
    let status = fleet.wait_health("prod", "healthy", Duration::from_secs(60))?;
    ensure!(status["etcd"]["failure_tolerance"] == 2, "{status}");
    balanced(&fleet, &all)?;
    follows_a_dead_member(&fleet)
}

/// Exactly these stand behind the front end, all up.
fn balanced(fleet: &Fleet, names: &[&str]) -> Result<()> {
    eventually(
        Duration::from_secs(30),
        "the load balancer to forward to all",
        || {
            let status = fleet.status("prod")?;
            let backends = status["load_balancers"][0]["backends"]
                .as_array()
                .context("no backends")?
                .clone();
            let mut up: Vec<String> = backends
                .iter()
                .filter(|b| b["frontend"] == "api" && b["up"] == true)
                .filter_map(|b| b["name"].as_str().map(str::to_owned))
                .collect();
            up.sort();
            if up == names {
                Ok(Some(()))
            } else {
                bail!("up: {up:?}")
            }
        },
    )
}

fn follows_a_dead_member(fleet: &Fleet) -> Result<()> {
    let endpoint = format!("https://{}:2379", fleet.node("lb")?.ip());
    fleet.node("n2")?.power_cut()?;
    eventually(
        Duration::from_secs(30),
        "the load balancer to leave n2 out",
        || {
            let status = fleet.status("prod")?;
            let backends = status["load_balancers"][0]["backends"]
                .as_array()
                .context("no backends")?
                .clone();
            let down = backends
                .iter()
                .any(|b| b["name"] == "n2" && b["up"] == false);
            Ok(down.then_some(()))
        },
    )?;
    for round in 0..10 {
        etcd::put(
            fleet.node("n1")?,
            Some(&endpoint),
            "after",
            &round.to_string(),
        )?;
    }
    fleet.wait_health("prod", "degraded", Duration::from_secs(90))?;
    fleet.node("n2")?.boot()?;
    fleet
        .wait_health("prod", "healthy", Duration::from_secs(90))
        .map(drop)
}
