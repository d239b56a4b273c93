//! Labels and taints of a node as the cluster file asks for them. Only what was set here is ever removed (pure).

use super::mark::same_taint;
use quorate_proto::v1::{NodeConfig, Taint};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Remembers on the Node itself what was set from the cluster file.
pub const APPLIED: &str = "quorate.dev/applied";

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Applied {
    #[serde(default)]
    labels: BTreeSet<String>,
    /// `key:effect`.
    #[serde(default)]
    taints: BTreeSet<String>,
}

/// A merge patch that brings `node` to `target`, or nothing if it is there. Bound to the version that was read.
pub fn patch(node: &Value, target: &NodeConfig) -> Option<Value> {
    let before = remembered(node);
    let labels = wanted_labels(target);
    let taints: Vec<Value> = target.taints.iter().map(taint).collect();
    let after = Applied {
        labels: labels.keys().cloned().collect(),
        taints: taints.iter().map(taint_id).collect(),
    };
    let label_changes = label_changes(node, &before, &labels);
    let taint_list = taint_list(node, &before, &taints);
    if label_changes.is_empty() && taint_list.is_none() && before == after {
        return None;
    }
    let mut patch = json!({"metadata": {
        "resourceVersion": node["metadata"]["resourceVersion"],
        "labels": label_changes,
        "annotations": {APPLIED: serde_json::to_string(&after).unwrap_or_default()},
    }});
    if let Some(taints) = taint_list {
        patch["spec"] = json!({"taints": taints});
    }
    Some(patch)
}

fn remembered(node: &Value) -> Applied {
    node["metadata"]["annotations"][APPLIED]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn wanted_labels(target: &NodeConfig) -> BTreeMap<String, String> {
    let mut labels = target.labels.clone();
    if !target.zone.is_empty() {
        labels.insert(ZONE.to_owned(), target.zone.clone());
    }
    labels
}

fn label_changes(
    node: &Value,
    before: &Applied,
    wanted: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let present = &node["metadata"]["labels"];
    let gone = before
        .labels
        .iter()
        .filter(|name| !wanted.contains_key(*name) && !present[name.as_str()].is_null())
        .map(|name| (name.clone(), Value::Null));
    let set = wanted
        .iter()
        .filter(|(name, value)| present[name.as_str()] != value.as_str())
        .map(|(name, value)| (name.clone(), json!(value)));
    gone.chain(set).collect()
}

/// The whole list, as a merge patch replaces it; nothing if it stays.
fn taint_list(node: &Value, before: &Applied, wanted: &[Value]) -> Option<Vec<Value>> {
    let present = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut list: Vec<Value> = present
        .iter()
        .filter(|taint| {
            let ours = before.taints.contains(&taint_id(taint));
            !ours || wanted.iter().any(|other| same_taint(other, taint))
        })
        .cloned()
        .collect();
    for taint in wanted {
        match list.iter_mut().find(|other| same_taint(other, taint)) {
            Some(other) if value_of(other) == value_of(taint) => {}
            Some(other) => *other = taint.clone(),
            None => list.push(taint.clone()),
        }
    }
    (list != present).then_some(list)
}

fn taint(taint: &Taint) -> Value {
    let mut value = json!({"key": taint.key, "effect": taint.effect});
    if !taint.value.is_empty() {
        value["value"] = json!(taint.value);
    }
    value
}

fn taint_id(taint: &Value) -> String {
    let part = |name: &str| taint[name].as_str().unwrap_or_default().to_owned();
    format!("{}:{}", part("key"), part("effect"))
}

fn value_of(taint: &Value) -> &str {
    taint["value"].as_str().unwrap_or_default()
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
