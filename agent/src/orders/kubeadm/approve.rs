//! Approves requests of kubelets for serving certificates that ask for their own node's names and nothing else.
//!
//! Such a certificate is signed by the cluster's authority: one for another name would let its holder pass for whoever has that name.

use super::claim;
use super::ready::node_path;
use crate::context::{Context, Done, Outcome};
use crate::kube::api::Api;
use crate::kube::objects::serving_requests::{LIST, PATH, node, pending};
use crate::orders::preflight::finding::warning;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_pki::{Name, inspect_request};
use quorate_proto::v1::{ApproveServing, ClusterConfig, NodeConfig, Problem};
use serde_json::{Value, json};

const GROUP: &str = "system:nodes";
const USAGES: [&str; 3] = ["digital signature", "key encipherment", "server auth"];
/// What a Node's own status may add: types whose addresses are those of the machine.
const TYPES: [&str; 2] = ["Hostname", "InternalIP"];

pub async fn run(context: &Context, order: &ApproveServing) -> Done {
    claim::require(context)?;
    let mut api = Api::new(&context.paths)?;
    let mut outcome = Outcome::done();
    let list = api.get(LIST).await?.unwrap_or_default();
    for request in pending(&list) {
        let config = order
            .nodes
            .iter()
            .find(|it| Some(it.name.as_str()) == node(request));
        // One of a node that this order is not about stays for another order, or for a person.
        let Some(config) = config else { continue };
        let object = api.get(&node_path(&config.name)).await?.unwrap_or_default();
        let name = request["metadata"]["name"].as_str().unwrap_or_default();
        let foreign = foreign(context.cluster()?, order, config);
        match judge(request, config, &object, &foreign) {
            Err(reasons) => {
                let finding = format!("KubeletServing-{}", config.name);
                outcome
                    .result
                    .findings
                    .push(warning(finding, refused(name, config, &reasons)));
            }
            Ok(()) => {
                context.say(format!("approving {name} of {}", config.name));
                // Changed meanwhile: somebody else has decided, or the next order does.
                api.merge(&format!("{PATH}/{name}/approval"), &approval(request))
                    .await?;
            }
        }
    }
    Ok(outcome)
}

/// Everything about the request that is not as it has to be.
fn judge(
    request: &Value,
    config: &NodeConfig,
    object: &Value,
    foreign: &[Name],
) -> Result<(), Vec<String>> {
    let mut wrong = Vec::new();
    let spec = &request["spec"];
    if !texts(&spec["groups"]).contains(&GROUP) {
        wrong.push(format!("its sender is not of the group {GROUP}"));
    }
    let usages = texts(&spec["usages"]);
    if !usages.contains(&"server auth") || usages.iter().any(|it| !USAGES.contains(it)) {
        wrong.push(format!("it is for {}", usages.join(", ")));
    }
    let asked = STANDARD
        .decode(spec["request"].as_str().unwrap_or_default())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| vec!["it cannot be read".to_owned()])?;
    let asked = inspect_request(&asked).map_err(|error| vec![error.to_string()])?;
    let subject = format!("system:node:{}", config.name);
    if asked.common_name != subject || asked.organization != [GROUP] || asked.further_subject > 0 {
        wrong.push(format!("its subject is not CN={subject}, O={GROUP}"));
    }
    let allowed = allowed(config, object);
    for name in &asked.names {
        if !allowed.contains(name) || foreign.contains(name) {
            wrong.push(format!("{name} is not the node's"));
        }
    }
    if asked.names.is_empty() || asked.further_names > 0 {
        wrong.push("it names something else than hosts and addresses, or nothing".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// The node's name and address, and what its Node says of itself.
fn allowed(config: &NodeConfig, object: &Value) -> Vec<Name> {
    let addresses = object["status"]["addresses"].as_array();
    let reported = addresses
        .into_iter()
        .flatten()
        .filter(|it| {
            it["type"]
                .as_str()
                .is_some_and(|kind| TYPES.contains(&kind))
        })
        .filter_map(|it| it["address"].as_str());
    [config.name.as_str(), config.address.as_str()]
        .into_iter()
        .chain(reported)
        .filter_map(|text| Name::parse(text).ok())
        .collect()
}

/// What is never this node's, as a kubelet writes its Node's status itself: names of the endpoint and of other nodes.
fn foreign(cluster: &ClusterConfig, order: &ApproveServing, config: &NodeConfig) -> Vec<Name> {
    let endpoint = cluster.endpoint.iter().map(|it| &it.host);
    let others = order.nodes.iter().filter(|it| it.name != config.name);
    let others = others.flat_map(|it| [&it.name, &it.address]);
    endpoint
        .chain(&cluster.extra_names)
        .filter(|text| **text != config.address && **text != config.name)
        .chain(others)
        .filter_map(|text| Name::parse(text).ok())
        .collect()
}

fn texts(value: &Value) -> Vec<&str> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

fn approval(request: &Value) -> Value {
    json!({
        "metadata": {"resourceVersion": request["metadata"]["resourceVersion"]},
        "status": {"conditions": [{
            "type": "Approved",
            "status": "True",
            "reason": "QuorateApproved",
            "message": "asks for its own node's names and nothing else",
        }]},
    })
}

fn refused(name: &str, config: &NodeConfig, reasons: &[String]) -> Problem {
    Problem::new(
        "serving-request-refused",
        format!("the request {name} of {} is left alone", config.name),
    )
    .at(format!("{PATH}/{name}"))
    .because(reasons.join("; "))
    .next(format!(
        "look at it with `kubectl describe csr {name}`; approve or deny it by hand"
    ))
}

#[cfg(test)]
#[path = "approve_tests.rs"]
mod tests;
