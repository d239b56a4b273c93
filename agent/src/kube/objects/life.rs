//! What the cluster knows of a node's life: its kubelet's lease, its Node object, pods that are to go. And the taint that declares it
//! out of service.

use super::super::api::Api;
use super::pods;
use jiff::Timestamp;
use quorate_proto::v1::{NodeLife, Problem};
use serde_json::{Value, json};

const KEY: &str = "node.kubernetes.io/out-of-service";
const EFFECT: &str = "NoExecute";
/// What Kubernetes' documentation puts there; it has no meaning of its own.
const VALUE: &str = "nodeshutdown";
/// Remembers on the Node itself that the taint is ours: one that somebody else has set stays.
pub const OURS: &str = "quorate.dev/out-of-service";

pub fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

pub fn lease_path(name: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")
}

pub fn pods_path(name: &str) -> String {
    format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{name}")
}

/// None: there is no such Node, or its kubelet has no lease.
pub async fn read(api: &mut Api, name: &str) -> Result<Option<NodeLife>, Problem> {
    let lease = api.get(&lease_path(name)).await?;
    let Some(lease_unix_us) = lease.as_ref().and_then(renewed_us) else {
        return Ok(None);
    };
    let Some(node) = api.get(&node_path(name)).await? else {
        return Ok(None);
    };
    let tainted = is_tainted(&node);
    let (terminating, to_free) = match tainted {
        false => (0, 0),
        true => counts(&api.get(&pods_path(name)).await?.unwrap_or_default()),
    };
    Ok(Some(NodeLife {
        name: name.to_owned(),
        lease_unix_us,
        ready: is_ready(&node),
        tainted,
        terminating,
        to_free,
    }))
}

pub fn renewed_us(lease: &Value) -> Option<i64> {
    let time: Timestamp = lease["spec"]["renewTime"].as_str()?.parse().ok()?;
    Some(time.as_microsecond())
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Ready" && it["status"] == "True")
}

pub fn is_tainted(node: &Value) -> bool {
    taints(node).iter().any(is_it)
}

/// Pods that are to go, and those that nobody has ended by force yet.
fn counts(list: &Value) -> (u32, u32) {
    let pods = list["items"].as_array().into_iter().flatten();
    let going = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_string());
    let to_free = pods::to_free(list, &out_of_service());
    let to_free = to_free.iter().filter(|pod| !pods::is_forced(pod));
    let count = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
    (count(going.count()), count(to_free.count()))
}

fn taints(node: &Value) -> Vec<Value> {
    node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

pub fn out_of_service() -> Value {
    json!({"key": KEY, "value": VALUE, "effect": EFFECT})
}

fn is_it(taint: &Value) -> bool {
    taint["key"] == KEY && taint["effect"] == EFFECT
}

/// A merge patch that sets the taint, or nothing if it is there. Refused if the object has changed since it was read.
pub fn taint(node: &Value) -> Option<Value> {
    let mut taints = taints(node);
    if taints.iter().any(is_it) {
        return None;
    }
    taints.push(out_of_service());
    Some(patch(node, &taints, json!("true")))
}

/// A merge patch that takes off what was set here, or nothing if that is gone.
pub fn untaint(node: &Value) -> Option<Value> {
    if node["metadata"]["annotations"][OURS].is_null() {
        return None;
    }
    let mut taints = taints(node);
    taints.retain(|taint| !is_it(taint));
    Some(patch(node, &taints, Value::Null))
}

fn patch(node: &Value, taints: &[Value], ours: Value) -> Value {
    json!({
        "metadata": {
            "resourceVersion": node["metadata"]["resourceVersion"],
            "annotations": {OURS: ours},
        },
        "spec": {"taints": taints},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_api_server_answers() {
        for (text, expected) in [
            ("1970-01-01T00:00:01.000002Z", Some(1_000_002)),
            ("yesterday", None),
        ] {
            let lease = json!({"spec": {"renewTime": text}});
            assert_eq!(renewed_us(&lease), expected, "{text}");
        }
        assert_eq!(renewed_us(&json!({"spec": {}})), None);
        let node = |status: &str| json!({"status": {"conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": status}]}});
        assert!(is_ready(&node("True")) && !is_ready(&node("Unknown")));
        let pods = json!({"items": [
            {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}},
            {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}},
            {"metadata": {}},
        ]});
        assert_eq!(counts(&pods), (2, 2));
    }
}
