//! quorate's way: `quorate apply --yes`, and what it says while it runs.

use super::bed::{Bed, Plain};
use super::report::Figure;
use crate::lab::eventually;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

const USABLE: Duration = Duration::from_secs(120);
/// The phases of a node in which nothing of the cluster is made yet.
const BEFORE: [&str; 3] = ["waiting", "preflight", "install"];

pub fn form(bed: &Bed, plain: &dyn Plain) -> Result<Figure> {
    let path = bed.fleet.write_file("bench.yaml", &bed.text)?;
    let words = [
        "quorate",
        "apply",
        "-f",
        &path,
        "--yes",
        "--progress",
        "json",
    ];
    let mut command = bed.fleet.coordinator.command(words)?;
    command.arg("--quiet");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().context("cannot run quorate")?;
    let stdout = child.stdout.take().context("no standard output")?;
    // Read as it comes: when a line was said is what is measured.
    let mut checks_done = None;
    for line in BufReader::new(stdout).lines() {
        let event: Value = serde_json::from_str(&line?).unwrap_or_default();
        if checks_done.is_none() && beyond_checks(&event) {
            checks_done = Some(begun.elapsed());
        }
    }
    let status = child.wait()?;
    let wall = begun.elapsed();
    ensure!(
        status.success(),
        "quorate apply ended with {status}\n{}",
        bed.fleet.journals()
    );
    eventually(USABLE, "the cluster to be usable", || {
        Ok(plain.usable()?.then_some(()))
    })?;
    let usable = begun.elapsed();
    let operations = bed.fleet.json(&["operation", "list"])?;
    let operation = &operations["operations"][0];
    let number = |key: &str| {
        let value = &operation[key];
        let text = value.as_str().and_then(|text| text.parse().ok());
        value
            .as_u64()
            .or(text)
            .with_context(|| format!("no {key}: {operation}"))
    };
    Ok(Figure {
        wall,
        usable,
        forming: checks_done.map(|done| wall.saturating_sub(done)),
        held_up: Some(Duration::from_millis(number("membership_held_ms")?)),
        rejected: number("rejected_etcd_calls")?,
    })
}

/// A node makes a part of the cluster.
fn beyond_checks(event: &Value) -> bool {
    event["nodes"].as_array().is_some_and(|nodes| {
        nodes
            .iter()
            .filter_map(|node| node["phase"].as_str())
            .any(|phase| !phase.is_empty() && !BEFORE.contains(&phase))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_node_that_makes_something_ends_the_checks() {
        let event = |phases: [&str; 2]| json!({"nodes": phases.map(|phase| json!({"node": "n", "phase": phase}))});
        assert!(!beyond_checks(&Value::Null));
        assert!(!beyond_checks(&event(["waiting", "preflight"])));
        assert!(!beyond_checks(&event(["install", "install"])));
        assert!(beyond_checks(&event(["prepare", "install"])));
    }
}
