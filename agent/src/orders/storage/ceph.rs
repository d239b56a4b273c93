//! Ceph, as its own tools answer in Rook's toolbox: whether it is well, and whether a host's OSDs may stop.

use super::{no, said};
use crate::host::tool::Output;
use quorate_proto::v1::Problem;
use serde_json::Value;

pub const TOOLBOX: &str = "deployment/rook-ceph-tools";
/// What the tools end with when they know no such host: it holds no OSDs.
const NO_SUCH: i32 = 2;

/// An empty node: all of them are to stop, in which case everything has to be in its place.
pub async fn ask(
    node: &str,
    toolbox: impl AsyncFn(&[&str]) -> Result<Output, Problem>,
) -> Result<(), Problem> {
    let status = answer(toolbox(&["ceph", "status", "--format", "json"]).await?)?;
    against(&status, node.is_empty()).map_or(Ok(()), |why| Err(no(&why)))?;
    if node.is_empty() {
        return Ok(());
    }
    // As Rook names hosts.
    let host = node.replace('.', "-");
    let tree = toolbox(&["ceph", "osd", "ls-tree", &host, "--format", "json"]).await?;
    if tree.code == NO_SUCH {
        return Ok(());
    }
    let osds = osds(&answer(tree)?);
    if osds.is_empty() {
        return Ok(());
    }
    let mut words = vec!["ceph", "osd", "ok-to-stop"];
    words.extend(osds.iter().map(String::as_str));
    let verdict = toolbox(&words).await?;
    match verdict.success() {
        true => Ok(()),
        false => Err(no(&format!(
            "Ceph cannot do without {node}: {}",
            said(&verdict)
        ))),
    }
}

/// Whatever is no answer is not taken for one.
fn answer(output: Output) -> Result<Value, Problem> {
    let parsed = serde_json::from_str(&output.stdout).ok();
    parsed.filter(|_| output.success()).ok_or_else(|| {
        Problem::new(
            "storage-silent",
            format!("Ceph does not answer: {}", said(&output)),
        )
        .at(TOOLBOX)
        .because("Rook's toolbox does not run, or the monitors have no quorum")
        .next("kubectl exec deployment/rook-ceph-tools -- ceph status, in its namespace")
    })
}

fn against(status: &Value, all: bool) -> Option<String> {
    let health = status["health"]["status"].as_str().unwrap_or("unknown");
    let checks = status["health"]["checks"].as_object();
    let names: Vec<&str> = checks
        .into_iter()
        .flat_map(|it| it.keys().map(String::as_str))
        .collect();
    let words = format!("Ceph says {health}: {}", names.join(", "));
    match health {
        "HEALTH_OK" => None,
        // What it warns of may be old clients. What counts is said of each OSD, or of where the data is.
        "HEALTH_WARN" if !all || is_whole(status) => None,
        _ => Some(words),
    }
}

/// Every placement group is active and clean.
fn is_whole(status: &Value) -> bool {
    let map = &status["pgmap"];
    let of = |state: &Value| {
        let name = state["state_name"].as_str().unwrap_or_default();
        let clean =
            name.split('+').any(|it| it == "active") && name.split('+').any(|it| it == "clean");
        state["count"]
            .as_u64()
            .filter(|_| clean)
            .unwrap_or_default()
    };
    let states = map["pgs_by_state"].as_array();
    let clean: u64 = states.into_iter().flatten().map(of).sum();
    map["num_pgs"].as_u64() == Some(clean)
}

fn osds(tree: &Value) -> Vec<String> {
    let ids = tree.as_array().into_iter().flatten();
    ids.filter_map(Value::as_u64)
        .map(|it| it.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::cell::RefCell;

    fn status(health: &str, clean: u64) -> Value {
        json!({
            "health": {"status": health, "checks": {"OSD_DOWN": {}}},
            "pgmap": {"num_pgs": 33, "pgs_by_state": [
                {"state_name": "active+clean", "count": clean},
                {"state_name": "active+undersized+degraded", "count": 33 - clean},
            ]},
        })
    }

    #[test]
    fn what_it_says_and_what_that_means() {
        for (health, clean, one, all) in [
            ("HEALTH_OK", 33, true, true),
            ("HEALTH_WARN", 33, true, true),
            ("HEALTH_WARN", 20, true, false),
            ("HEALTH_ERR", 33, false, false),
            ("HEALTH_NEW", 33, false, false),
        ] {
            let status = status(health, clean);
            assert_eq!(against(&status, false).is_none(), one, "{health} {clean}");
            assert_eq!(against(&status, true).is_none(), all, "{health} {clean}");
        }
        assert!(against(&Value::Null, false).is_some(), "nothing is no yes");
        assert!(!is_whole(&Value::Null));
    }

    #[tokio::test]
    async fn a_hosts_osds_are_asked_for() {
        let output = |code: i32, stdout: &str| Output {
            code,
            stdout: stdout.to_owned(),
            stderr: String::new(),
        };
        let well = status("HEALTH_OK", 33).to_string();
        for (tree, stop, expected) in [
            (output(0, "[0,3]"), output(0, ""), Ok(())),
            (
                output(0, "[0,3]"),
                output(16, "unsafe"),
                Err("storage-unhealthy"),
            ),
            (output(0, "[]"), output(1, "not asked"), Ok(())),
            (output(2, ""), output(1, "not asked"), Ok(())),
            (output(1, "no quorum"), output(0, ""), Err("storage-silent")),
        ] {
            let calls = RefCell::new(Vec::new());
            let toolbox = async |words: &[&str]| {
                calls.borrow_mut().push(words.join(" "));
                Ok(match words {
                    ["ceph", "status", ..] => output(0, &well),
                    ["ceph", "osd", "ls-tree", ..] => tree.clone(),
                    _ => stop.clone(),
                })
            };
            let answer = ask("n3.example", toolbox).await.map_err(|it| it.code);
            assert_eq!(answer, expected.map_err(str::to_owned), "{tree:?}");
            let calls = calls.into_inner();
            assert_eq!(calls[1], "ceph osd ls-tree n3-example --format json");
            if tree.stdout == "[0,3]" {
                assert_eq!(calls[2], "ceph osd ok-to-stop 0 3");
            }
        }
    }
}
