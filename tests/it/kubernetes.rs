//! The same on real Kubernetes, where a folder of its binaries and images is given (`QUORATE_KUBERNETES`).

use crate::formation::{held_voters, says_nothing_to_do};
use crate::power;
use anyhow::{Context, Result, bail, ensure};
use quorate_tests::lab::{Lab, eventually};
use quorate_tests::product::load::{Access, serves_as};
use quorate_tests::product::{Fleet, etcd, kubernetes};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Real control planes on two cores.
pub const FORM: Duration = Duration::from_secs(540);

pub fn fleet(folder: &Path, nodes: &[&str]) -> Result<Fleet> {
    let lab = Lab::open()?;
    let debs = lab.debs(&["haproxy"])?;
    let tools = lab.debs(&["etcd-client"])?;
    let fleet = Fleet::new(lab, nodes)?;
    fleet.add_artifacts(&debs)?;
    kubernetes::add_artifacts(&fleet, folder)?;
    // etcdctl, for the tests' own look at the members.
    let tools: Vec<_> = std::fs::read_dir(tools)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    for node in &fleet.nodes {
        node.install_debs(&tools)?;
    }
    Ok(fleet)
}

pub fn all_ready(fleet: &Fleet, names: &[&str]) -> Result<()> {
    eventually(Duration::from_secs(120), "all nodes to be Ready", || {
        let nodes = kubernetes::nodes(fleet.node("n1")?)?;
        let mut ready: Vec<String> = nodes.into_iter().filter(|n| n.1).map(|n| n.0).collect();
        ready.sort();
        if ready == names {
            Ok(Some(()))
        } else {
            bail!("Ready: {ready:?}")
        }
    })
}

/// What the file's own kubeadm documents ask for runs on every control plane, those that joined too.
fn users_wishes(fleet: &Fleet, members: &[&str]) -> Result<()> {
    let access = Access::kubernetes(fleet.node(members[0])?)?;
    for member in members {
        let member = fleet.node(member)?;
        let manifest = member.read_text("/etc/kubernetes/manifests/kube-apiserver.yaml")?;
        ensure!(
            manifest.contains("--audit-log-maxage=7"),
            "{member}: {manifest}"
        );
        let at = SocketAddr::from((member.ip(), 6443));
        ensure!(
            serves_as(&fleet.lab, &access, at, "api.user.example")?,
            "{member} is not good for the user's own name"
        );
        let images = member.ok(["ctr", "--namespace", "k8s.io", "images", "ls"])?;
        let pause = images.lines().find(|line| line.contains("/pause:"));
        ensure!(
            pause.is_some_and(|line| line.contains("io.cri-containerd.pinned=pinned")),
            "{member}: the kubelet may delete what nobody can pull again: {images}"
        );
        let kubelet = member.read_text("/var/lib/kubelet/config.yaml")?;
        ensure!(
            kubelet.contains("imageGCHighThresholdPercent: 100"),
            "{member}: {kubelet}"
        );
    }
    Ok(())
}

#[test]
fn three_control_planes_a_worker_and_a_load_balancer() -> Result<()> {
    let Some(folder) =
        kubernetes::given_or_skip("three_control_planes_a_worker_and_a_load_balancer")?
    else {
        return Ok(());
    };
    let fleet = fleet(&folder, &["n1", "n2", "n3", "w1", "lb"])?;
    let text = kubernetes::file(&fleet, "prod", &["n1", "n2", "n3"], &["w1"], Some("lb"))?;
    let start = Instant::now();
    fleet.apply(&text, FORM)?;
    println!("formed in {:.1} s", start.elapsed().as_secs_f64());
    held_voters(fleet.node("n1")?, &["n1", "n2", "n3"])?;
    all_ready(&fleet, &["n1", "n2", "n3", "w1"])?;

    let nodes = kubernetes::nodes(fleet.node("n2")?)?;
    let labels = |name: &str| {
        nodes
            .iter()
            .find(|n| n.0 == name)
            .map(|n| n.2.clone())
            .unwrap_or_default()
    };
    ensure!(
        labels("n2")["topology.kubernetes.io/zone"] == "b",
        "{}",
        labels("n2")
    );
    ensure!(labels("w1")["tier"] == "app", "{}", labels("w1"));
    users_wishes(&fleet, &["n1", "n2", "n3"])?;

    // As a user: a kubeconfig of one's own, through the load balancer.
    fleet.quorate(&["kubeconfig", "prod", "-f", "/root/kubeconfig"])?;
    let kubeconfig = fleet.coordinator.read("/root/kubeconfig")?;
    let server = format!("https://{}:6443", fleet.node("lb")?.ip());
    ensure!(
        String::from_utf8_lossy(&kubeconfig).contains(&server),
        "the kubeconfig names another server"
    );
    fleet
        .node("w1")?
        .write("/root/kubeconfig", &kubeconfig, 0o600)?;
    let list = fleet.node("w1")?.ok([
        "kubectl",
        "--kubeconfig",
        "/root/kubeconfig",
        "get",
        "nodes",
        "-o",
        "name",
    ])?;
    ensure!(list.lines().count() == 4, "{list}");

    let again = fleet.apply(&text, FORM)?;
    says_nothing_to_do(&again)?;
    let operations = fleet.json(&["operation", "list"])?;
    ensure!(
        operations["operations"][0]["rejected_etcd_calls"] == 0,
        "{operations}"
    );
    stops_starts_and_survives_a_power_cut(&fleet)
}

/// In order by the operator's word, and all at once without one. What was written is there afterwards.
fn stops_starts_and_survives_a_power_cut(fleet: &Fleet) -> Result<()> {
    let n1 = fleet.node("n1")?;
    let put = ["create", "configmap", "kept", "--from-literal=is=here"];
    kubernetes::kubectl(n1, &put)?;
    let kept = || {
        let get = ["get", "configmap", "kept", "-o", "jsonpath={.data.is}"];
        let value = kubernetes::kubectl(fleet.node("n2")?, &get)?;
        ensure!(value == "here", "it is {value:?}");
        Ok(Some(()))
    };
    let stop = ["cluster", "stop", "prod", "--yes", "--progress", "plain"];
    let stopped = fleet.quorate_output(&stop, FORM)?;
    ensure!(stopped.success(), "{stopped:?}\n{}", fleet.journals());
    power::says_stopped(fleet)?;
    for node in ["n1", "n2", "n3", "w1"] {
        let node = fleet.node(node)?;
        let runs = node.run(["pidof", "kubelet", "etcd", "kube-apiserver", "kube-proxy"])?;
        ensure!(!runs.success(), "{node}: {runs:?}");
        let enabled = node.run(["systemctl", "is-enabled", "kubelet"])?;
        ensure!(enabled.stdout.trim() == "disabled", "{node}: {enabled:?}");
    }
    let start = ["cluster", "start", "prod", "--yes", "--progress", "plain"];
    let started = fleet.quorate_output(&start, FORM)?;
    ensure!(started.success(), "{started:?}\n{}", fleet.journals());
    all_ready(fleet, &["n1", "n2", "n3", "w1"])?;
    eventually(power::SOON, "what was written", kept)?;

    power::cut_all(fleet)?;
    power::boot(fleet, &["w1", "n3", "lb", "n1", "co", "n2"])?;
    eventually(FORM, "prod to be healthy", || {
        let status = fleet.status("prod")?;
        let (health, waits) = (&status["health"], &status["waiting_on"]);
        ensure!(health == "healthy", "{health} {waits}");
        Ok(Some(()))
    })?;
    all_ready(fleet, &["n1", "n2", "n3", "w1"])?;
    eventually(power::SOON, "what was written", kept)
}

/// The measured failure of plain kubeadm: after a joiner died no control plane can join any more.
#[test]
fn a_dead_control_plane_join_is_cleaned_up() -> Result<()> {
    let Some(folder) = kubernetes::given_or_skip("a_dead_control_plane_join_is_cleaned_up")? else {
        return Ok(());
    };
    let fleet = fleet(&folder, &["n1", "n2", "n3"])?;
    let one = kubernetes::file(&fleet, "prod", &["n1"], &[], None)?;
    fleet.apply(&one, FORM)?;
    let three = kubernetes::file(&fleet, "prod", &["n1", "n2", "n3"], &[], None)?;
    let path = fleet.write_file("three.yaml", &three)?;
    let begun = fleet.quorate_output(
        &["apply", "-f", &path, "--yes", "--no-wait"],
        Duration::from_secs(60),
    )?;
    ensure!(begun.success(), "{}{}", begun.stdout, begun.stderr);
    let (n1, n2) = (fleet.node("n1")?, fleet.node("n2")?);
    let ghost = eventually(FORM, "a learner", || {
        Ok(etcd::members(n1)?.into_iter().find(|m| m.learner))
    })?;
    let joiner = [n2, fleet.node("n3")?]
        .into_iter()
        .find(|n| ghost.peer_url.contains(&format!("{}:", n.ip())));
    let joiner = joiner.context("the learner is neither n2 nor n3")?;
    joiner.power_cut()?;
    let died = Instant::now();
    eventually(Duration::from_secs(30), "the ghost to be removed", || {
        let members = etcd::members(n1)?;
        let still = members.iter().find(|m| m.peer_url == ghost.peer_url);
        ensure!(
            still.is_none_or(|m| m.learner),
            "it was promoted before the power cut: try again"
        );
        Ok(still.is_none().then_some(()))
    })?;
    println!(
        "the ghost was gone after {:.1} s",
        died.elapsed().as_secs_f64()
    );
    joiner.boot()?;
    let operations = fleet.json(&["operation", "list"])?;
    let id = operations["operations"][0]["id"]
        .as_str()
        .context("no operation")?
        .to_owned();
    let watched = fleet.quorate_output(&["operation", "watch", &id], FORM)?;
    ensure!(
        watched.success(),
        "{}{}\n{}",
        watched.stdout,
        watched.stderr,
        fleet.journals()
    );
    held_voters(n1, &["n1", "n2", "n3"])?;
    all_ready(&fleet, &["n1", "n2", "n3"])
}
