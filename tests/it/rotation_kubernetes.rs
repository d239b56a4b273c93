//! The same on real Kubernetes: kubelets, kube-proxy, kubeconfigs and what joins afterwards.

use crate::certificates;
use crate::formation::held_voters;
use crate::kubernetes::{FORM, all_ready, fleet};
use crate::rotation::{ANSWERED, SOME, move_clients, names, rotate};
use crate::rotation_faults::{
    Scene, both_die_in_every_stage, members_are_off, rolled_back_from_every_stage,
};
use anyhow::{Context, Result, bail, ensure};
use quorate_tests::lab::{Host, eventually};
use quorate_tests::product::load::{Access, Load, Target, serves_as, unharmed};
use quorate_tests::product::{Fleet, by_hand, endpoint, kubernetes};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const CLUSTER: &str = "prod";
const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];
const BALANCERS: [&str; 2] = ["lb1", "lb2"];
/// A kubelet's and kube-proxy's reconnecting, after they were told to.
const RECONNECT: Duration = Duration::from_secs(60);
const JOIN: Duration = Duration::from_secs(180);

#[test]
fn a_control_plane_moves_behind_load_balancers() -> Result<()> {
    let Some(folder) = kubernetes::given_or_skip("a_control_plane_moves_behind_load_balancers")?
    else {
        return Ok(());
    };
    let fleet = fleet(&folder, &["n1", "n2", "n3", "w1", "w2", "lb1", "lb2"])?;
    let (n1, w1) = (fleet.node("n1")?, fleet.node("w1")?);
    let target = |name: &str| anyhow::Ok(Target::ip(fleet.node(name)?, 6443));
    let (own, lb1, lb2) = (target("n1")?, target("lb1")?, target("lb2")?);
    let file = |endpoint: &Target, workers: &[&str], balancers: &[&str]| {
        kubernetes::file_at(
            &fleet,
            CLUSTER,
            Some(&endpoint.to_string()),
            &MEMBERS,
            workers,
            balancers,
        )
    };
    fleet.apply(&file(&own, &["w1"], &[])?, FORM)?;
    all_ready(&fleet, &["n1", "n2", "n3", "w1"])?;
    let access = Access::kubernetes(n1)?;
    let load = Load::start(&fleet.lab, access.clone(), std::slice::from_ref(&own))?;
    fleet.apply(&file(&own, &["w1"], &BALANCERS)?, FORM)?;

    for (from, to) in [(&own, &lb1), (&lb1, &lb2)] {
        println!("{from} -> {to}");
        let operation = endpoint::begin(&fleet, CLUSTER, to, endpoint::HELD)?;
        endpoint::reached(&fleet, CLUSTER, "soak")?;
        move_clients(&load, from, to)?;
        for node in ["w1", "n2", "n3"] {
            moved(fleet.node(node)?, from, to, node == "w1")?;
        }
        endpoint::change(&fleet, CLUSTER, &["drop"])?;
        endpoint::finish(&fleet, &operation)?;
        endpoint::wait_in_line(&fleet, CLUSTER, to)?;
        names(&fleet, &access, to, from)?;
        by_its_usual_name(&fleet, &access)?;
        let kubelet = w1.read_text("/etc/kubernetes/kubelet.conf")?;
        ensure!(
            kubelet.contains(&format!("server: https://{to}")),
            "w1's kubelet.conf"
        );
        load.answered(SOME, ANSWERED)?;
        println!("{from} -> {to}: {}", load.counts());
        unharmed(&load.counts(), SOME)?;
    }
    let counts = load.finish()?;
    println!("{counts}");
    unharmed(&counts, SOME)?;
    held_voters(n1, &MEMBERS)?;

    // The same machinery renews what kubeadm made.
    let before = certificates::serials(&fleet, CLUSTER)?;
    certificates::change(&fleet, &["renew"])?;
    certificates::all_new(&before, &certificates::serials(&fleet, CLUSTER)?)?;
    all_ready(&fleet, &["n1", "n2", "n3", "w1"])?;

    // What joins now is told the new endpoint: by quorate, and by kubeadm itself.
    fleet.apply(&file(&lb2, &["w1", "w2"], &BALANCERS)?, FORM)?;
    join_by_hand(&fleet, &folder, &lb2)?;
    all_ready(&fleet, &["n1", "n2", "n3", "w1", "w2", "w3"])?;
    approved(n1, &["n1", "n2", "n3", "w1", "w2"])
}

/// Rollbacks, deaths, an absent control plane, and a name with another port: the etcd distribution's tests, on real Kubernetes.
#[test]
fn a_control_plane_moves_whatever_happens_meanwhile() -> Result<()> {
    let Some(folder) =
        kubernetes::given_or_skip("a_control_plane_moves_whatever_happens_meanwhile")?
    else {
        return Ok(());
    };
    let fleet = fleet(&folder, &["n1", "n2", "n3", "w1", "lb1", "lb2"])?;
    let target = |name: &str| anyhow::Ok(Target::ip(fleet.node(name)?, 6443));
    let (one, two) = (target("lb1")?, target("lb2")?);
    let at = Some(one.to_string());
    let file = kubernetes::file_at(
        &fleet,
        CLUSTER,
        at.as_deref(),
        &MEMBERS,
        &["w1"],
        &BALANCERS,
    )?;
    fleet.apply(&file, FORM)?;
    let all = ["n1", "n2", "n3", "w1"];
    all_ready(&fleet, &all)?;
    let access = Access::kubernetes(fleet.node("n1")?)?;
    let scene = Scene {
        access,
        one,
        two,
        fleet,
    };
    rolled_back_from_every_stage(&scene).context("rolling back")?;
    both_die_in_every_stage(&scene).context("deaths")?;
    members_are_off(&scene).context("a control plane that is off")?;

    let fleet = &scene.fleet;
    let name = Target::name("api.lab", 7443, fleet.node("lb2")?);
    fleet.lab.alias(&name.host, &[name.at])?;
    let load = Load::start(
        &fleet.lab,
        scene.access.clone(),
        std::slice::from_ref(&scene.one),
    )?;
    rotate(fleet, &scene.access, &load, &scene.one, &name)?;
    unharmed(&load.finish()?, SOME)?;
    all_ready(fleet, &all)
}

fn by_its_usual_name(fleet: &Fleet, access: &Access) -> Result<()> {
    for member in MEMBERS {
        let member = fleet.node(member)?;
        let at = SocketAddr::from((member.ip(), access.port()));
        ensure!(
            serves_as(&fleet.lab, access, at, "kubernetes.default")?,
            "{member}"
        );
    }
    Ok(())
}

/// Kubelets' requests for serving certificates: of the cluster file's nodes, and of no other.
fn approved(n1: &Host, nodes: &[&str]) -> Result<()> {
    eventually(RECONNECT, "serving certificates", || {
        let text = kubernetes::kubectl(n1, &["get", "csr", "-o", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        let items = list["items"].as_array().context("no items")?;
        let issued: BTreeSet<&str> = items
            .iter()
            .filter(|one| one["spec"]["signerName"] == "kubernetes.io/kubelet-serving")
            .filter(|one| one["status"]["certificate"].is_string())
            .filter_map(|one| {
                one["spec"]["username"]
                    .as_str()?
                    .strip_prefix("system:node:")
            })
            .collect();
        ensure!(
            issued.iter().copied().eq(nodes.iter().copied()),
            "{issued:?}"
        );
        Ok(Some(()))
    })
}

/// Its programs talk to the new address, and to the old one no more. A control plane's kubelet calls its own API server.
fn moved(node: &Host, from: &Target, to: &Target, kubelet: bool) -> Result<()> {
    let mut wanted = vec!["kube-proxy"];
    wanted.extend(kubelet.then_some("kubelet"));
    eventually(RECONNECT, &format!("{node} to call {to}"), || {
        let now = callers(node, to)?;
        let missing = wanted.iter().find(|program| !now.contains(**program));
        if let Some(program) = missing {
            bail!("{program} does not: {now}");
        }
        let before = callers(node, from)?;
        let left = wanted.iter().find(|program| before.contains(**program));
        if let Some(program) = left {
            bail!("{program} still calls {from}: {before}");
        }
        Ok(Some(()))
    })
}

fn callers(node: &Host, target: &Target) -> Result<String> {
    let to = format!("{}:{}", target.at, target.port);
    node.ok(["ss", "-Htnp", "state", "established", "dst", &to])
}

/// An administrator's fresh machine, with the line that kubeadm prints.
fn join_by_hand(fleet: &Fleet, folder: &std::path::Path, endpoint: &Target) -> Result<()> {
    let host = fleet.lab.host("w3")?;
    by_hand::prepare_worker(&host, folder)?;
    let line = fleet
        .node("n1")?
        .ok(["kubeadm", "token", "create", "--print-join-command"])?;
    ensure!(
        line.contains(&endpoint.to_string()),
        "it names another endpoint: {line}"
    );
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.push("--ignore-preflight-errors=SystemVerification");
    let joined = host.run_within(JOIN, words)?;
    ensure!(
        joined.success(),
        "{line}: {}{}",
        joined.stdout,
        joined.stderr
    );
    let kubelet = host.read_text("/etc/kubernetes/kubelet.conf");
    let kubelet = kubelet.context("w3 has no kubelet.conf")?;
    ensure!(
        kubelet.contains(&endpoint.to_string()),
        "w3 calls another endpoint"
    );
    Ok(())
}
