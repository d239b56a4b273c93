//! Three simulated control planes and many workers before a real coordinator: formed by `quorate apply`, moved by
//! `quorate endpoint rotate`, first with orders that take next to nothing, then with orders that take what real ones take.

use super::report::{Pace, Simulated};
use crate::sim::fleet::Node;
use crate::sim::operator::Operator;
use crate::sim::world::{Place, Role, Span};
use crate::sim::{Durations, Fleet};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const CLUSTER: &str = "sim";
const CONTROL_PLANES: usize = 3;
/// Load balancers that quorate does not manage: no machine has to be simulated for them.
const ENDPOINTS: [&str; 3] = ["10.255.0.1:6443", "10.255.0.2:6443", "10.255.0.3:6443"];
/// Workers of one `apply`: each asks one control plane for its token, and an agent and its session queue 64 orders.
const JOIN_AT_ONCE: usize = 50;
/// What the audit trail says when a stage begins; the first begins with the operation.
const STAGES: [(&str, &str); 4] = [
    ("switch", "endpoint-switch"),
    ("soak", "endpoint-soak"),
    ("drop", "endpoint-drop"),
    ("retire", "endpoint-retire"),
];

/// Hands over each figure as soon as there is one: the last may take a quarter of an hour.
pub fn measure(
    program: &Path,
    workers: usize,
    order_ms: u64,
    mut take: impl FnMut(Simulated) -> Result<()>,
) -> Result<()> {
    let nodes = nodes(workers);
    let short = Durations::Every(Duration::from_millis(order_ms));
    println!("{workers} workers: enrolling {} agents", nodes.len());
    let fleet = Fleet::new(program, &nodes, short)?;
    form(&fleet, &nodes)?;
    for (pace, durations, to) in [
        (Pace::Short, short, ENDPOINTS[1]),
        (Pace::Real, Durations::Real, ENDPOINTS[2]),
    ] {
        fleet.world.take(durations);
        take(rotate(&fleet, workers, pace, to)?)?;
    }
    Ok(())
}

fn nodes(workers: usize) -> Vec<Node> {
    let node = |name: String, subnet: u8, number: usize, role: Role| Node {
        name,
        address: format!("10.{subnet}.{}.{}", number / 200, number % 200 + 1),
        role,
    };
    let members = (0..CONTROL_PLANES).map(|n| node(format!("cp{}", n + 1), 1, n, Role::Member));
    let workers = (0..workers).map(|n| node(format!("w{}", n + 1), 2, n, Role::Worker));
    members.chain(workers).collect()
}

fn file(nodes: &[Node]) -> String {
    let mut text = format!(
        "name: {CLUSTER}\ndistribution: kubeadm\nversion: v1.33.13\nendpoint: {}\nloadBalancer: {{mode: external}}\nnodes:\n",
        ENDPOINTS[0]
    );
    for node in nodes {
        let role = match node.role {
            Role::Member => "control-plane",
            Role::Worker => "worker",
        };
        let (name, address) = (&node.name, &node.address);
        text.push_str(&format!(
            "  - {{name: {name}, address: {address}, roles: [{role}]}}\n"
        ));
    }
    text
}

/// Not what is measured; said because a thousand joins take a while.
fn form(fleet: &Fleet, nodes: &[Node]) -> Result<()> {
    let begun = Instant::now();
    let mut upto = CONTROL_PLANES.min(nodes.len());
    loop {
        upto = (upto + JOIN_AT_ONCE).min(nodes.len());
        let path = fleet.write_file("cluster.yaml", &file(&nodes[..upto]))?;
        let path = path.to_str().context("a folder's name is no text")?;
        fleet
            .coordinator
            .quorate(&["apply", "-f", path, "--yes", "--progress", "plain"])?;
        println!(
            "{upto} of {} nodes after {:.1} s",
            nodes.len(),
            begun.elapsed().as_secs_f64()
        );
        if upto == nodes.len() {
            fleet.world.spans();
            return Ok(());
        }
    }
}

fn rotate(fleet: &Fleet, workers: usize, pace: Pace, to: &str) -> Result<Simulated> {
    let before = fleet.coordinator.usage()?;
    let begun = Instant::now();
    fleet.coordinator.quorate(&[
        "endpoint",
        "rotate",
        "--cluster",
        CLUSTER,
        to,
        "--external",
        "--soak",
        "0s",
        "--yes",
        "--progress",
        "plain",
    ])?;
    let wall = begun.elapsed();
    let after = fleet.coordinator.usage()?;
    let spans = fleet.world.spans();
    let refused: u64 = spans.values().map(|span| span.refused).sum();
    ensure!(refused == 0, "{refused} orders failed: {spans:?}");
    let on_workers = span(&spans, "set-node-endpoint", true)?;
    ensure!(
        on_workers.orders == workers as u64,
        "{} of {workers} workers were moved",
        on_workers.orders
    );
    Ok(Simulated {
        workers,
        pace,
        wall,
        stages: fleet.block_on(stages(fleet.operator.clone()))??,
        kubeconfigs: on_workers.wall(),
        proxies: span(&spans, "restart-kube-proxy", false)?.wall(),
        orders: spans.values().map(|span| span.orders).sum(),
        cpu: after.cpu.saturating_sub(before.cpu),
        resident: after.resident,
        peak: after.peak,
    })
}

fn span<'a>(
    spans: &'a BTreeMap<Place, Span>,
    kind: &'static str,
    on_worker: bool,
) -> Result<&'a Span> {
    spans
        .get(&Place { kind, on_worker })
        .with_context(|| format!("no {kind} among {spans:?}"))
}

/// How long each stage of the newest operation lasted, as the coordinator has written it down.
async fn stages(operator: Operator) -> Result<Vec<(&'static str, Duration)>> {
    let operation = operator.operation().await?;
    let entries = operator.audit().await?;
    let mut stages = Vec::new();
    let (mut stage, mut since) = ("accept", operation.started_unix_ms);
    for (next, what) in STAGES {
        let entry = entries
            .iter()
            .find(|it| it.what == what && it.unix_ms >= operation.started_unix_ms);
        let at = entry.with_context(|| format!("no {what} in the audit trail"))?;
        stages.push((stage, lasted(since, at.unix_ms)));
        (stage, since) = (next, at.unix_ms);
    }
    stages.push((stage, lasted(since, operation.finished_unix_ms)));
    Ok(stages)
}

fn lasted(from_ms: i64, to_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(to_ms - from_ms).unwrap_or_default())
}
