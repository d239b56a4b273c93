//! Control planes and workers of real Kubernetes that leave and are replaced, while clients read, write and watch through the load
//! balancer.

use crate::formation::held_voters;
use crate::kubernetes::{FORM, all_ready, fleet};
use crate::removal::{NOTICED, done, handed_over, leader, none_failed};
use crate::rotation::{ANSWERED, SOME};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::eventually;
use quorate_tests::product::load::{Access, Load, Target};
use quorate_tests::product::{Fleet, etcd, kubernetes};
use std::time::Duration;

const CLUSTER: &str = "prod";
const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
/// An election that was asked for takes milliseconds.
const LEADS: Duration = Duration::from_secs(20);

#[test]
fn control_planes_and_a_worker_leave_and_are_replaced() -> Result<()> {
    let test = "control_planes_and_a_worker_leave_and_are_replaced";
    let Some(folder) = kubernetes::given_or_skip(test)? else {
        return Ok(());
    };
    let mut fleet = fleet(&folder, &["n1", "n2", "n3", "w1", "lb"])?;
    let whole = kubernetes::file(&fleet, CLUSTER, &MEMBERS, &["w1"], Some("lb"))?;
    fleet.apply(&whole, FORM)?;
    all_ready(&fleet, &["n1", "n2", "n3", "w1"])?;
    let access = Access::kubernetes(fleet.node("n2")?)?.writing();
    let balancer = Target::ip(fleet.node("lb")?, 6443);
    let load = Load::start(&fleet.lab, access.clone(), std::slice::from_ref(&balancer))?;
    load.answered(SOME, ANSWERED)?;

    // The founder, which leads etcd too.
    lead(&fleet, "n1")?;
    let output = done(&fleet, &["remove", "n1", "--verbose"])?;
    handed_over(&output, 2)?;
    load.answered(SOME, ANSWERED)?;
    none_failed(&load.counts()).context("the first control plane left")?;
    held_voters(fleet.node("n2")?, &["n2", "n3"])?;
    listed(&fleet, &["n2", "n3", "w1"])?;

    fleet.enroll_again(fleet.node("n1")?)?;
    fleet.apply(&whole, FORM)?;
    load.answered(SOME, ANSWERED)?;
    none_failed(&load.counts()).context("it came back")?;
    held_voters(fleet.node("n2")?, &MEMBERS)?;
    all_ready(&fleet, &["n1", "n2", "n3", "w1"])?;

    done(&fleet, &["remove", "w1"])?;
    load.answered(SOME, ANSWERED)?;
    none_failed(&load.finish()?).context("a worker left")?;
    listed(&fleet, &MEMBERS)?;

    // A host that lost its power. The load balancer's own checks find out, which may cost what was under way there.
    fleet.node("n3")?.power_cut()?;
    fleet.add(&["n4"])?;
    eventually(NOTICED, "n3 to be missed", || {
        let words = ["node", "remove", "n3", "--dead", "--dry-run"];
        let output = fleet.quorate_output(&words, NOTICED)?;
        ensure!(output.success(), "{}", output.stdout);
        Ok(Some(()))
    })?;
    let load = Load::start(&fleet.lab, access, std::slice::from_ref(&balancer))?;
    let address = fleet.node("n4")?.ip().to_string();
    let words = ["replace", "n3", "n4", "--address", &address, "--dead"];
    done(&fleet, &words)?;
    // Like etcd's own (`removal`): told, not judged. The removal of a member whose host answers nothing took etcd 8.3 s, in a run in which
    // 263 of 7,840 requests failed.
    load.answered(SOME, ANSWERED)?;
    println!("a dead control plane was replaced: {}", load.finish()?);
    held_voters(fleet.node("n1")?, &["n1", "n2", "n4"])?;
    all_ready(&fleet, &["n1", "n2", "n4"])
}

/// Makes this member etcd's leader.
fn lead(fleet: &Fleet, name: &str) -> Result<()> {
    let host = fleet.node(name)?;
    let now = leader(host)?;
    if now == name {
        return Ok(());
    }
    let members = etcd::members(host)?;
    let heir = members.iter().find(|member| member.name == name);
    let id = format!("{:x}", heir.context("it is no member")?.id);
    etcd::etcdctl(fleet.node(&now)?, None, &["move-leader", &id])?;
    eventually(LEADS, &format!("{name} to lead"), || {
        Ok((leader(host)? == name).then_some(()))
    })
}

/// Node objects, whatever their state.
fn listed(fleet: &Fleet, names: &[&str]) -> Result<()> {
    let nodes = kubernetes::nodes(fleet.node("n2")?)?;
    let mut listed: Vec<String> = nodes.into_iter().map(|node| node.0).collect();
    listed.sort();
    ensure!(listed == names, "Node objects: {listed:?}");
    Ok(())
}
