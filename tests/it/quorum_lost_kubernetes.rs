//! The same below real control planes: a survivor carries on, and the cluster goes back to a snapshot.

use crate::formation::held_voters;
use crate::kubernetes::{FORM, all_ready, fleet};
use crate::quorum_lost::{ready, recovered};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::{Host, Output, eventually};
use quorate_tests::product::kubernetes;
use std::time::Duration;

const CLUSTER: &str = "prod";
const SOON: Duration = Duration::from_secs(60);

fn kubectl(host: &Host, words: &[&str]) -> Result<Output> {
    let kubectl = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"];
    host.run(kubectl.into_iter().chain(words.iter().copied()))
}

/// The API server may just have come back.
fn done(host: &Host, words: &[&str]) -> Result<String> {
    eventually(SOON, &format!("kubectl {words:?}"), || {
        let output = kubectl(host, words)?;
        ensure!(output.success(), "{output:?}");
        Ok(Some(output.stdout))
    })
}

fn holds(host: &Host, map: &str) -> Result<bool> {
    let all = done(host, &["get", "configmaps", "-o", "name"])?;
    Ok(all.lines().any(|line| line == format!("configmap/{map}")))
}

#[test]
fn control_planes_are_recovered_from_a_survivor_and_from_a_snapshot() -> Result<()> {
    let test = "control_planes_are_recovered_from_a_survivor_and_from_a_snapshot";
    let Some(folder) = kubernetes::given_or_skip(test)? else {
        return Ok(());
    };
    let mut fleet = fleet(&folder, &["n1", "n2", "n3"])?;
    let text = kubernetes::file(&fleet, CLUSTER, &["n1", "n2", "n3"], &[], None)?;
    fleet.apply(&text, FORM)?;
    done(fleet.node("n1")?, &["create", "configmap", "kept"])?;
    for name in ["n2", "n3"] {
        fleet.node(name)?.power_cut()?;
    }
    ready(&fleet, &["--without", "n2,n3"])?;
    let said = recovered(&fleet, "--without n2,n3")?;
    let n1 = fleet.node("n1")?;
    held_voters(n1, &["n1"])?;
    ensure!(holds(n1, "kept")?, "what was kept");
    // What is left to the operator stands there as a command.
    let command = "kubectl delete node n2 n3";
    ensure!(said.contains(command), "{said}");
    done(n1, &["delete", "node", "n2", "n3", "--ignore-not-found"])?;

    fleet.add(&["n4"])?;
    let text = kubernetes::file(&fleet, CLUSTER, &["n1", "n4"], &[], None)?;
    fleet.apply(&text, FORM)?;
    let n1 = fleet.node("n1")?;
    held_voters(n1, &["n1", "n4"])?;
    all_ready(&fleet, &["n1", "n4"])?;

    fleet.quorate(&["snapshot", "create", "--cluster", CLUSTER])?;
    let id = eventually(SOON, "the snapshot on n1", || {
        let list = fleet.json(&["snapshot", "list", "--cluster", CLUSTER])?;
        let lines = list["snapshots"].as_array().context("no snapshots")?;
        let newest = lines.iter().find(|line| line["node"] == "n1");
        let id = newest.and_then(|line| line["snapshot"]["id"].as_str());
        Ok(id.map(str::to_owned))
    })?;
    done(n1, &["create", "configmap", "late"])?;
    let words = format!("--snapshot {id} --from-member n1");
    let plan = ready(&fleet, &["--snapshot", &id, "--from-member", "n1"])?;
    ensure!(plan.contains("has its quorum"), "{plan}");
    recovered(&fleet, &words)?;
    held_voters(n1, &["n1", "n4"])?;
    ensure!(holds(n1, "kept")?, "the snapshot holds it");
    ensure!(!holds(n1, "late")?, "it was written after the snapshot");
    all_ready(&fleet, &["n1", "n4"])
}
