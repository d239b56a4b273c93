//! What kubeadm writes on the Node of a control plane: role label, taints, runtime socket (pure).

use super::CRI_SOCKET;
use serde_json::{Value, json};

pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const NOT_BEHIND_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const SOCKET: &str = "kubeadm.alpha.kubernetes.io/cri-socket";

/// A merge patch that makes `node` a control plane, or nothing if it is one. Bound to the version that was read.
pub fn patch(node: &Value, taints: &[Value]) -> Option<Value> {
    let present = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut wanted = taints.to_vec();
    wanted.extend(
        present
            .iter()
            .filter(|taint| !contains(taints, taint))
            .cloned(),
    );
    let metadata = &node["metadata"];
    let labelled = [CONTROL_PLANE, NOT_BEHIND_BALANCERS]
        .iter()
        .all(|label| metadata["labels"][label] == "");
    let annotated = metadata["annotations"][SOCKET] == CRI_SOCKET;
    if labelled && annotated && wanted.len() == present.len() {
        return None;
    }
    Some(json!({
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "labels": {CONTROL_PLANE: "", NOT_BEHIND_BALANCERS: ""},
            "annotations": {SOCKET: CRI_SOCKET},
        },
        "spec": {"taints": wanted},
    }))
}

/// A taint is the same by key and effect; the API adds times and leaves out empty values.
pub fn same_taint(one: &Value, other: &Value) -> bool {
    one["key"] == other["key"] && one["effect"] == other["effect"]
}

fn contains(taints: &[Value], wanted: &Value) -> bool {
    taints.iter().any(|taint| same_taint(taint, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_taint() -> Value {
        json!({"key": CONTROL_PLANE, "effect": "NoSchedule"})
    }

    #[test]
    fn marks_once_and_keeps_what_is_there() {
        let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule", "timeAdded": "x"});
        let mut node = json!({
            "metadata": {"resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"taints": [not_ready]},
        });
        let patch = super::patch(&node, &[default_taint()]).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["spec"]["taints"], json!([default_taint(), not_ready]));

        super::super::documents::merge(&mut node, &patch);
        assert_eq!(node["metadata"]["labels"]["a"], "b");
        assert_eq!(super::patch(&node, &[default_taint()]), None);
    }

    #[test]
    fn no_taint_where_none_is_wanted() {
        let node = json!({"metadata": {"resourceVersion": "7"}, "spec": {}});
        assert_eq!(
            super::patch(&node, &[]).unwrap()["spec"]["taints"],
            json!([])
        );
    }
}
