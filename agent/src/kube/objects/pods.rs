//! Pods of a node that is out of service: which of them have to go, and what is written on them before (pure).

use serde_json::{Value, json};

/// Why a pod ended, as Kubernetes' own garbage collector says it of pods on nodes that are out of service.
const DISRUPTION: &str = "DisruptionTarget";
const REASON: &str = "DeletionByQuorate";
const MESSAGE: &str = "its node is dead and was declared out of service";

pub fn path(pod: &Value) -> Option<String> {
    let namespace = pod["metadata"]["namespace"].as_str()?;
    let name = pod["metadata"]["name"].as_str()?;
    Some(format!("/api/v1/namespaces/{namespace}/pods/{name}"))
}

/// Those that do not tolerate the taint, and those that were to go anyway: nobody else would end them before the node is back.
pub fn to_free<'a>(pods: &'a Value, taint: &Value) -> Vec<&'a Value> {
    let pods = pods["items"].as_array().into_iter().flatten();
    pods.filter(|pod| {
        let going = pod["metadata"]["deletionTimestamp"].is_string();
        !is_static(pod) && (going || !tolerates(pod, taint))
    })
    .collect()
}

/// A mirror of what the node's kubelet runs from files: deleting it ends nothing.
fn is_static(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
}

/// All is done that can be: what still holds it are finalizers.
pub fn is_forced(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
        && pod["metadata"]["deletionGracePeriodSeconds"] == 0
}

/// Kubernetes' own rule. With a time limit it is Kubernetes that counts.
fn tolerates(pod: &Value, taint: &Value) -> bool {
    let tolerations = pod["spec"]["tolerations"].as_array();
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    tolerations.into_iter().flatten().any(|it| {
        let (key, effect, operator) = (text(it, "key"), text(it, "effect"), text(it, "operator"));
        let exists = operator == "Exists";
        let same_key = taint["key"] == key || (key.is_empty() && exists);
        let same_effect = effect.is_empty() || taint["effect"] == effect;
        same_key && same_effect && (exists || taint["value"] == text(it, "value"))
    })
}

/// A patch of the status that says that it failed, so that jobs count it and nobody takes it for running; nothing if it has ended.
pub fn failed(pod: &Value, now: &str) -> Option<Value> {
    if matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    ) {
        return None;
    }
    let mut conditions = pod["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions.retain(|it| it["type"] != DISRUPTION);
    conditions.push(json!({
        "type": DISRUPTION, "status": "True", "reason": REASON, "message": MESSAGE, "lastTransitionTime": now,
    }));
    Some(json!({
        "metadata": {"uid": pod["metadata"]["uid"]},
        "status": {"phase": "Failed", "conditions": conditions},
    }))
}

/// At once, and this pod only: one of the same name that was made since stays.
pub fn deletion(pod: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": pod["metadata"]["uid"]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_pods_go() {
        let taint = json!({"key": "k", "value": "v", "effect": "NoExecute"});
        let rows = [
            (json!({}), true),
            (
                json!({"spec": {"tolerations": [{"operator": "Exists"}]}}),
                false,
            ),
            (
                json!({"spec": {"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]}}),
                true,
            ),
            (
                json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]}}),
                false,
            ),
            (
                json!({"spec": {"tolerations": [{"key": "k", "value": "v"}]}}),
                false,
            ),
            (
                json!({"spec": {"tolerations": [{"key": "k", "value": "other"}]}}),
                true,
            ),
            (
                json!({"spec": {"tolerations": [{"key": "", "value": "v"}]}}),
                true,
            ),
            (
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"tolerations": [{"operator": "Exists"}]}}),
                true,
            ),
            (
                json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
                false,
            ),
        ];
        for (pod, goes) in rows {
            let pods = json!({"items": [pod]});
            assert_eq!(to_free(&pods, &taint).len(), usize::from(goes), "{pod}");
        }
    }

    #[test]
    fn what_is_written_before_it_goes() {
        let pod = json!({"metadata": {"uid": "u"}, "status": {"phase": "Running", "conditions": [{"type": "Ready"}]}});
        let patch = failed(&pod, "now").unwrap();
        assert_eq!(patch["status"]["phase"], "Failed");
        assert_eq!(patch["status"]["conditions"][0]["type"], "Ready");
        assert_eq!(
            patch["status"]["conditions"][1]["lastTransitionTime"],
            "now"
        );
        for phase in ["Failed", "Succeeded"] {
            assert_eq!(failed(&json!({"status": {"phase": phase}}), "now"), None);
        }
        assert_eq!(deletion(&pod)["preconditions"]["uid"], "u");
    }
}
