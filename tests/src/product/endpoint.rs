//! Moving a cluster's endpoint by the command line, and what that says about it.

use super::Fleet;
use super::load::Target;
use crate::lab::{Output, eventually};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A stage of a rotation on two cores, which restarts kubelets one after the other.
const STAGE: Duration = Duration::from_secs(240);
/// A command of the coordinator's that starts an operation, after the machines have looked through a load balancer that does not answer.
const COMMAND: Duration = Duration::from_secs(90);
/// What the command ends with when a safety rule says no.
const REFUSED: i32 = 5;
/// Longer than any test: it ends when the test says so.
pub const HELD: &str = "30m";
pub const STAGES: [&str; 5] = ["accept", "switch", "soak", "drop", "retire"];

/// Also of a cluster that is not in line, for which the command ends with 3.
pub fn show(fleet: &Fleet, cluster: &str) -> Result<Value> {
    let words = ["endpoint", "show", cluster, "-o", "json"];
    let output = fleet.quorate_output(&words, COMMAND)?;
    ensure!(
        matches!(output.status, 0 | 3),
        "endpoint show ended with {}: {}",
        output.status,
        output.stderr
    );
    serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {}", output.stdout))
}

/// Begins, and returns the operation.
pub fn begin(fleet: &Fleet, cluster: &str, to: &Target, soak: &str) -> Result<String> {
    begun(fleet, ask(fleet, cluster, to, soak, &[])?)
}

/// The same, to a load balancer of somebody else's.
pub fn begin_external(fleet: &Fleet, cluster: &str, to: &Target, soak: &str) -> Result<String> {
    begun(fleet, ask(fleet, cluster, to, soak, &["--external"])?)
}

/// It must be refused by a rule; returns what it says.
pub fn refused_external(fleet: &Fleet, cluster: &str, to: &Target) -> Result<String> {
    let output = ask(fleet, cluster, to, HELD, &["--external"])?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(
        output.status == REFUSED,
        "endpoint rotate to {to} ended with {}, not {REFUSED}: {said}",
        output.status
    );
    Ok(said)
}

fn ask(fleet: &Fleet, cluster: &str, to: &Target, soak: &str, more: &[&str]) -> Result<Output> {
    let to = to.to_string();
    let mut words = vec!["endpoint", "rotate", "--cluster", cluster, &to];
    words.extend(["--soak", soak, "--yes", "--no-wait"]);
    words.extend(more);
    fleet.quorate_output(&words, COMMAND)
}

fn begun(fleet: &Fleet, output: Output) -> Result<String> {
    ensure!(
        output.success(),
        "endpoint rotate ended with {}: {}{}",
        output.status,
        output.stdout,
        output.stderr
    );
    let operations = fleet.json(&["operation", "list"])?;
    let id = operations["operations"][0]["id"].as_str();
    Ok(id.context("no operation")?.to_owned())
}

/// Rolls back, drops: what ends a rotation. Waits for the end, unless the words say otherwise.
pub fn change(fleet: &Fleet, cluster: &str, words: &[&str]) -> Result<()> {
    let mut command = vec!["endpoint"];
    command.extend(words);
    command.extend(["--cluster", cluster, "--yes"]);
    let output = fleet.quorate_output(&command, STAGE)?;
    ensure!(
        output.success(),
        "{command:?} ended with {}: {}{}\n{}",
        output.status,
        output.stdout,
        output.stderr,
        fleet.journals()
    );
    Ok(())
}

/// Follows an operation to its good end.
pub fn finish(fleet: &Fleet, operation: &str) -> Result<()> {
    let output = fleet.quorate_output(&["operation", "watch", operation], STAGE)?;
    ensure!(
        output.success(),
        "the rotation ended with {}:\n{}{}\n{}",
        output.status,
        output.stdout,
        output.stderr,
        fleet.journals()
    );
    Ok(())
}

/// Waits until the rotation is in this stage or a later one, and says in which.
pub fn reached(fleet: &Fleet, cluster: &str, stage: &str) -> Result<String> {
    let wanted = rank(stage)?;
    let begun = Instant::now();
    let seen = eventually(STAGE, &format!("the stage {stage}"), || {
        let shown = show(fleet, cluster)?;
        let Some(now) = shown["rotation"]["stage"].as_str() else {
            bail!("no rotation is under way");
        };
        Ok((rank(now)? >= wanted).then(|| now.to_owned()))
    });
    let seen = seen.with_context(|| fleet.journals())?;
    println!(
        "stage {seen} (wanted {stage}) after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(seen)
}

/// Waits until a rollback is over, or soaks on its way back: then whether it does.
pub fn rolled_back_or_soaks(fleet: &Fleet, cluster: &str) -> Result<bool> {
    let seen = eventually(STAGE, "the way back", || {
        let rotation = show(fleet, cluster)?["rotation"].take();
        if rotation.is_null() {
            return Ok(Some(false));
        }
        let soaks = rotation["rolling_back"] == true && rotation["stage"] == "soak";
        ensure!(soaks, "{rotation}");
        Ok(Some(true))
    });
    seen.with_context(|| fleet.journals())
}

fn rank(stage: &str) -> Result<usize> {
    let at = STAGES.iter().position(|one| *one == stage);
    at.with_context(|| format!("no stage {stage:?}"))
}

/// Everything that quorate keeps holds this endpoint, no rotation is under way, and every member has the names it needs.
pub fn in_line(shown: &Value, endpoint: &Target) -> Result<()> {
    ensure!(shown["rotation"].is_null(), "a rotation: {shown:#}");
    let (host, port) = (&shown["endpoint"]["host"], &shown["endpoint"]["port"]);
    ensure!(
        *host == endpoint.host && *port == endpoint.port,
        "the endpoint is {host}:{port}, not {endpoint}"
    );
    let carriers = shown["carriers"].as_array().context("no carriers")?;
    let odd: Vec<&Value> = carriers
        .iter()
        // What is outside is nothing that quorate changes.
        .filter(|one| {
            !["in-line", "local", "outside"]
                .iter()
                .any(|state| one["state"] == *state)
        })
        .collect();
    ensure!(odd.is_empty(), "not in line: {odd:?}");
    let members = shown["members"].as_array().context("no members")?;
    ensure!(!members.is_empty(), "no members: {shown:#}");
    for member in members {
        let none_missing = member["missing"].as_array().is_none_or(Vec::is_empty);
        ensure!(
            member["known"] == true && none_missing,
            "names of a member: {member}"
        );
    }
    Ok(())
}

/// Waits until it is: agents report what they hold every few seconds.
pub fn wait_in_line(fleet: &Fleet, cluster: &str, endpoint: &Target) -> Result<()> {
    eventually(Duration::from_secs(60), "all to be in line", || {
        in_line(&show(fleet, cluster)?, endpoint).map(Some)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown() -> Value {
        json!({
            "endpoint": {"host": "10.77.0.20", "port": 2379},
            "rotation": null,
            "carriers": [
                {"node": "n1", "place": "p", "value": "v", "state": "in-line"},
                {"node": "", "place": "p", "value": "v", "state": "outside"},
            ],
            "members": [{"node": "n1", "names": ["a"], "missing": [], "known": true}],
        })
    }

    #[test]
    fn each_way_to_be_out_of_line() {
        let target = Target {
            host: "10.77.0.20".into(),
            port: 2379,
            at: [10, 77, 0, 20].into(),
        };
        in_line(&shown(), &target).unwrap();
        for (pointer, value) in [
            ("/endpoint/port", json!(2380)),
            ("/endpoint/host", json!("10.77.0.21")),
            ("/rotation", json!({"stage": "drop"})),
            ("/carriers/0/state", json!("stray")),
            ("/carriers/0/state", json!("unknown")),
            ("/members", json!([])),
            ("/members/0/known", json!(false)),
            ("/members/0/missing", json!(["b"])),
        ] {
            let mut shown = shown();
            *shown.pointer_mut(pointer).unwrap() = value;
            assert!(in_line(&shown, &target).is_err(), "{pointer}");
        }
    }
}
