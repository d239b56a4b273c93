//! Nodes that die and come back, on real Kubernetes: where their pods run, and when.

use crate::kubernetes::{FORM, all_ready, fleet};
use anyhow::{Context, Result, ensure};
use quorate_tests::lab::{Host, eventually};
use quorate_tests::product::{Fleet, kubernetes};
use serde_json::Value;
use std::time::{Duration, Instant};

/// From the loss of power to pods that run elsewhere: the product's promise.
const ELSEWHERE: Duration = Duration::from_secs(30);
/// A machine boots, its kubelet starts, its old pods end.
const BACK: Duration = Duration::from_secs(150);

/// A StatefulSet's pod with a volume that only one node may hold, and a Deployment's. No driver attaches volumes here: the volume is a
/// folder of the host, and its claim is what ties the pod's name to it.
fn workload(image: &str) -> String {
    format!(
        r"apiVersion: v1
kind: PersistentVolume
metadata: {{name: data}}
spec:
  capacity: {{storage: 1Mi}}
  accessModes: [ReadWriteOnce]
  storageClassName: lab
  hostPath: {{path: /var/lib/lab-data, type: DirectoryOrCreate}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      containers: [{{name: c, image: '{image}', volumeMounts: [{{name: data, mountPath: /data}}]}}]
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], storageClassName: lab, resources: {{requests: {{storage: 1Mi}}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      affinity:
        podAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{app: db}}}}}}
      containers: [{{name: c, image: '{image}'}}]
"
    )
}

/// Where each of the two runs, once both are Ready.
fn placed(n1: &Host) -> Result<Vec<String>> {
    let list = kubernetes::kubectl(n1, &["get", "pods", "-o", "json"])?;
    let list: Value = serde_json::from_str(&list)?;
    let mut nodes = Vec::new();
    for app in ["db", "web"] {
        let pods = list["items"].as_array().context("no pods")?;
        let ready = pods.iter().find(|pod| {
            let conditions = pod["status"]["conditions"].as_array();
            let mut all = conditions.into_iter().flatten();
            pod["metadata"]["labels"]["app"] == app
                && pod["metadata"]["deletionTimestamp"].is_null()
                && all.any(|it| it["type"] == "Ready" && it["status"] == "True")
        });
        let node = ready.with_context(|| format!("{app} is not Ready: {list}"))?;
        nodes.push(
            node["spec"]["nodeName"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    Ok(nodes)
}

fn run_on_workers(fleet: &Fleet) -> Result<String> {
    let n1 = fleet.node("n1")?;
    let folder = kubernetes::given()?.context("QUORATE_KUBERNETES")?;
    let text = workload(&kubernetes::sandbox_image(&folder)?);
    n1.write("/root/workload.yaml", text, 0o644)?;
    kubernetes::kubectl(n1, &["apply", "-f", "/root/workload.yaml"])?;
    eventually(BACK, "both pods to run on one worker", || {
        let nodes = placed(n1)?;
        Ok((nodes[0] == nodes[1]).then(|| nodes[0].clone()))
    })
}

fn with_policy(text: &str, policy: &str) -> String {
    format!("{text}deadNodes: {policy}\n")
}

/// What `quorate nodes` says of it.
fn detail(fleet: &Fleet, node: &str) -> Result<String> {
    let nodes = fleet.status("prod")?["nodes"].clone();
    let row = nodes
        .as_array()
        .context("no nodes")?
        .iter()
        .find(|it| it["name"] == node)
        .cloned();
    Ok(row.context("no such node")?["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

fn taken_back(fleet: &Fleet, node: &str) -> Result<()> {
    let n1 = fleet.node("n1")?;
    eventually(BACK, &format!("{node} to be taken back"), || {
        let taints =
            kubernetes::kubectl(n1, &["get", "node", node, "-o", "jsonpath={.spec.taints}"])?;
        ensure!(taints.is_empty(), "{taints}");
        let detail = detail(fleet, node)?;
        ensure!(detail.is_empty(), "{detail}");
        Ok(Some(()))
    })
}

/// Waits until both run on `to`, and says how long that took from `since`.
fn moved(fleet: &Fleet, to: &str, since: Instant) -> Result<Duration> {
    let n1 = fleet.node("n1")?;
    let mut said = Value::Null;
    eventually(ELSEWHERE * 2, &format!("the pods to run on {to}"), || {
        let waits = fleet.status("prod")?["waiting_on"].clone();
        if waits != said {
            println!("{:5.1} s {waits}", since.elapsed().as_secs_f64());
            said = waits;
        }
        let nodes = placed(n1)?;
        Ok(nodes.iter().all(|it| it == to).then(|| since.elapsed()))
    })
}

fn other(worker: &str) -> &'static str {
    if worker == "w1" { "w2" } else { "w1" }
}

#[test]
fn pods_of_a_dead_worker_run_elsewhere_within_thirty_seconds() -> Result<()> {
    let name = "pods_of_a_dead_worker_run_elsewhere_within_thirty_seconds";
    let Some(folder) = kubernetes::given_or_skip(name)? else {
        return Ok(());
    };
    let fleet = fleet(&folder, &["n1", "w1", "w2"])?;
    let text = kubernetes::file(&fleet, "prod", &["n1"], &["w1", "w2"], None)?;
    let start = Instant::now();
    fleet.apply(&with_policy(&text, "{policy: taint}"), FORM)?;
    all_ready(&fleet, &["n1", "w1", "w2"])?;
    let dies = run_on_workers(&fleet)?;
    let lives = other(&dies);
    println!(
        "formed, and the pods run on {dies}, after {:.1} s",
        start.elapsed().as_secs_f64()
    );

    fleet.node(&dies)?.power_cut()?;
    let died = Instant::now();
    let took = moved(&fleet, lives, died)?;
    println!(
        "{dies} lost its power: its pods ran on {lives} after {:.1} s",
        took.as_secs_f64()
    );
    let said = detail(&fleet, &dies)?;
    ensure!(said.contains("out of service"), "{said}");
    ensure!(took <= ELSEWHERE, "later than promised");

    fleet.node(&dies)?.boot()?;
    taken_back(&fleet, &dies)?;
    println!("{dies} was taken back");
    let nodes = placed(fleet.node("n1")?)?;
    ensure!(
        nodes.iter().all(|it| it == lives),
        "they moved again: {nodes:?}"
    );

    fleet.apply(&with_policy(&text, "{policy: fence}"), FORM)?;
    a_mere_partition(&fleet, lives, &dies)
}

/// Its pods stop on the node that is cut off before they run elsewhere: never twice, and in the same time.
fn a_mere_partition(fleet: &Fleet, cut: &str, other: &str) -> Result<()> {
    eventually(
        BACK,
        "all nodes to take on the duty to stop their pods",
        || {
            let waits = fleet.status("prod")?["waiting_on"].clone();
            ensure!(waits.as_array().is_some_and(Vec::is_empty), "{waits}");
            Ok(Some(()))
        },
    )?;
    let (n1, host) = (fleet.node("n1")?, fleet.node(cut)?);
    ensure!(!running(host)?.is_empty(), "nothing runs on {cut}");
    host.cut()?;
    let since = Instant::now();
    let mut twice = None;
    let stopped = eventually(ELSEWHERE * 2, &format!("the pods on {cut} to stop"), || {
        // In this order: what runs elsewhere now must not be here a moment later.
        let elsewhere = placed(n1).is_ok_and(|nodes| nodes.iter().any(|it| it == other));
        let here = running(host)?;
        if elsewhere && !here.is_empty() {
            twice = Some(here.clone());
        }
        ensure!(here.is_empty(), "{here:?}");
        Ok(Some(since.elapsed()))
    })?;
    ensure!(twice.is_none(), "they ran twice: {twice:?}");
    println!(
        "{cut} was cut off: its pods stopped after {:.1} s",
        stopped.as_secs_f64()
    );
    let took = moved(fleet, other, since)?;
    println!("and ran on {other} after {:.1} s", took.as_secs_f64());
    ensure!(running(host)?.is_empty(), "they run on {cut} again");
    ensure!(took <= ELSEWHERE, "later than promised");

    // Rebooted while nobody can be reached: nothing starts, and the kubelet does not either.
    host.power_cut()?;
    host.boot()?;
    eventually(BACK, "its agent to run", || {
        let agent = host.run(["systemctl", "is-active", "quorate-agent"])?;
        Ok(agent.success().then_some(()))
    })?;
    let kubelet = host.run(["systemctl", "is-active", "kubelet"])?;
    ensure!(!kubelet.success(), "its kubelet runs: {}", kubelet.stdout);
    host.heal()?;
    taken_back(fleet, cut)?;
    all_ready(fleet, &["n1", "w1", "w2"])?;
    println!("{cut} was taken back");
    Ok(())
}

/// Containers of pods that run on this very host, whatever the API says.
fn running(host: &Host) -> Result<Vec<String>> {
    let tasks = host.ok(["ctr", "--namespace", "k8s.io", "tasks", "ls"])?;
    let running = tasks.lines().filter(|line| line.contains("RUNNING"));
    Ok(running.map(str::to_owned).collect())
}
