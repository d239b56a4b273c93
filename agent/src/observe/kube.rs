//! What this host sees of Kubernetes: its own API server and kubelet, and on a control plane the list of nodes.
//! Asked of the local API server over one connection; the server prints the list as a table, a fraction of the objects' size.

use crate::kube::api;
use crate::kube::http::{Answer, Call, Connection};
use crate::orders::kubeadm::ready::{kubelet_health, node_path};
use crate::paths::Paths;
use quorate_proto::v1::{KubeNode, KubeView, Marks, Problem};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// For all of it: a report that waits longer is worth less than one that says "unknown".
const LIMIT: Duration = Duration::from_secs(2);
/// Reasons are read one by one; more nodes than this are down for the same reason.
const REASONS: usize = 4;
const NODES: &str = "/api/v1/nodes?includeObject=None&resourceVersion=0";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// Nothing where this node is no part of a Kubernetes cluster.
pub async fn view(paths: &Paths, marks: &Marks) -> Option<KubeView> {
    let member = paths.kubernetes().join("admin.conf").exists();
    let kubelet_expected = paths.kubernetes().join("kubelet.conf").exists();
    if marks.cluster_id.is_empty() || !(member || kubelet_expected) {
        return None;
    }
    let (kubelet, api) = tokio::join!(kubelet_health(LIMIT), async {
        match member {
            true => api_view(paths).await,
            false => KubeView::default(),
        }
    });
    Some(KubeView {
        kubelet_healthy: kubelet.is_ok(),
        ..api
    })
}

async fn api_view(paths: &Paths) -> KubeView {
    let mut view = KubeView::default();
    let result = timeout(LIMIT, ask(paths, &mut view)).await;
    let result = result.unwrap_or_else(|_| {
        Err(Problem::new(
            "no-answer",
            "the API server did not answer within 2 s",
        ))
    });
    if let Err(problem) = result {
        view.api_problem = Some(problem);
    }
    view
}

/// Fills in what is known; what was learnt before an error stays.
async fn ask(paths: &Paths, view: &mut KubeView) -> Result<(), Problem> {
    let mut connection = Connection::open(&api::target(paths)?, LIMIT).await?;
    let ready = connection.call(Call::get("/readyz"), LIMIT).await?;
    if !ready.success() {
        return Err(not_ready(&ready));
    }
    view.api_ready = true;
    let version = connection.call(Call::get("/version"), LIMIT).await?;
    view.api_version = json(&version)["gitVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let call = Call {
        accept: TABLE,
        ..Call::get(NODES)
    };
    let answer = connection.call(call, LIMIT).await?;
    view.nodes = nodes(&json(&answer)).ok_or_else(|| {
        Problem::new(
            "nodes-unknown",
            format!("the list of nodes was answered with {}", answer.status),
        )
    })?;
    view.nodes_known = true;
    for node in view
        .nodes
        .iter_mut()
        .filter(|node| !node.ready)
        .take(REASONS)
    {
        let answer = connection
            .call(Call::get(&node_path(&node.name)), LIMIT)
            .await?;
        node.reason = reason(&json(&answer));
    }
    Ok(())
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// The names of the checks that fail, as `/readyz` lists them.
fn not_ready(answer: &Answer) -> Problem {
    let text = String::from_utf8_lossy(&answer.body);
    let failed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("[-]"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let mut problem = Problem::new(
        "api-not-ready",
        format!("the API server's /readyz answers {}", answer.status),
    );
    if !failed.is_empty() {
        problem = problem.because(format!("these checks fail: {}", failed.join(", ")));
    }
    problem
}

/// From the server's table; nothing if it is none.
fn nodes(table: &Value) -> Option<Vec<KubeNode>> {
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()?
        .iter()
        .filter_map(|column| column["name"].as_str())
        .collect();
    let column = |name: &str| names.iter().position(|it| *it == name);
    let (name, status) = (column("Name")?, column("Status")?);
    let version = column("Version")?;
    let addresses = [column("Internal-IP"), column("External-IP")];
    let rows = table["rows"].as_array()?;
    rows.iter()
        .map(|row| {
            let cell = |index: usize| row["cells"][index].as_str();
            let words: Vec<&str> = cell(status)?.split(',').collect();
            Some(KubeNode {
                name: cell(name)?.to_owned(),
                ready: words.contains(&"Ready"),
                unschedulable: words.contains(&"SchedulingDisabled"),
                kubelet_version: cell(version)?.to_owned(),
                addresses: addresses
                    .iter()
                    .flatten()
                    .filter_map(|index| cell(*index))
                    .filter(|address| *address != "<none>")
                    .map(str::to_owned)
                    .collect(),
                reason: String::new(),
            })
        })
        .collect()
}

/// Why a node is not ready, in its kubelet's or the controller's words.
fn reason(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let part = |name: &str| ready.and_then(|it| it[name].as_str()).unwrap_or_default();
    match (part("reason"), part("message")) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
#[path = "kube_tests.rs"]
mod tests;
