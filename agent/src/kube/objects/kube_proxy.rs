//! kube-system/kube-proxy: its ConfigMap, its DaemonSet, and which pods were started for which endpoint.

use super::{patch, text, unusable};
use crate::kube::kubeconfig::{current_server, split_url, with_endpoint};
use quorate_proto::v1::Problem;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

pub const PATH: &str = "/api/v1/namespaces/kube-system/configmaps/kube-proxy";
pub const DAEMON_SET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy";
pub const PODS: &str = "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-proxy";
/// On the pod's template and so on each pod: the endpoint that it was started for.
pub const ANNOTATION: &str = "quorate.dev/endpoint";
const KEY: &str = "kubeconfig.conf";
/// kubeadm's mark of a configuration that it made itself and may make anew at an upgrade.
const HASH: &str = "kubeadm.kubernetes.io/component-config.hash";

pub fn endpoint(object: &Value) -> Option<(String, u16)> {
    split_url(&current_server(text(object, KEY)?).ok()?)
}

/// The patch to another server. kubeadm's mark follows where it was right: one that was not says that a person has edited the rest.
pub fn change(object: &Value, wanted: &str) -> Result<Option<Value>, Problem> {
    let text = text(object, KEY).ok_or_else(|| unusable(PATH, format!("it has no {KEY}")))?;
    let changed = with_endpoint(text, wanted).map_err(|reason| unusable(PATH, reason))?;
    let Some(changed) = changed else {
        return Ok(None);
    };
    let mut patch = patch(object, json!({KEY: changed}));
    if object["metadata"]["annotations"][HASH] == hash(object).as_str() {
        let mut after = object.clone();
        after["data"][KEY] = json!(changed);
        patch["metadata"]["annotations"] = json!({HASH: hash(&after)});
    }
    Ok(Some(patch))
}

/// As kubeadm computes it: all values, in the order of their keys.
fn hash(object: &Value) -> String {
    let mut sum = Sha256::new();
    // A BTreeMap below serde_json's map: sorted by key.
    for value in object["data"]
        .as_object()
        .into_iter()
        .flat_map(|it| it.values())
    {
        sum.update(value.as_str().unwrap_or_default());
    }
    format!("sha256:{}", hex::encode(sum.finalize()))
}

/// What a pod's template says it is started for.
pub fn template(daemon_set: &Value) -> &str {
    annotation(&daemon_set["spec"]["template"])
}

pub fn template_patch(endpoint: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {ANNOTATION: endpoint}}}}})
}

/// One pod, as far as a restart needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub node: String,
    pub endpoint: String,
    pub ready: bool,
    pub ending: bool,
}

pub fn pods(list: &Value) -> Vec<Pod> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .map(|item| Pod {
            name: word(&item["metadata"]["name"]),
            node: word(&item["spec"]["nodeName"]),
            endpoint: annotation(item).to_owned(),
            ready: is_ready(item),
            ending: item["metadata"]["deletionTimestamp"].is_string(),
        })
        .collect()
}

/// Node -> what its ready pod was started for. A pod that ends serves no longer.
pub fn ready_by_node(pods: &[Pod]) -> BTreeMap<String, String> {
    pods.iter()
        .filter(|pod| pod.ready && !pod.ending && !pod.node.is_empty())
        .map(|pod| (pod.node.clone(), pod.endpoint.clone()))
        .collect()
}

fn annotation(object: &Value) -> &str {
    object["metadata"]["annotations"][ANNOTATION]
        .as_str()
        .unwrap_or_default()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Ready" && it["status"] == "True")
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    server: https://10.77.0.50:6443
  name: default
contexts:
- context:
    cluster: default
    namespace: default
    user: default
  name: default
current-context: default
users:
- name: default
  user:
    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
";

    fn object(mark: &str) -> Value {
        json!({
            "metadata": {"resourceVersion": "3", "annotations": {HASH: mark}},
            "data": {"kubeconfig.conf": CONF, "config.conf": "mode: nftables\n"},
        })
    }

    #[test]
    fn only_the_server_changes_and_kubeadms_mark_with_it() {
        let right = hash(&object(""));
        let by_hand = Sha256::digest(format!("mode: nftables\n{CONF}"));
        assert_eq!(right, format!("sha256:{}", hex::encode(by_hand)));
        let patch = change(&object(&right), "https://lb:6443").unwrap().unwrap();
        let moved = CONF.replace("10.77.0.50", "lb");
        assert_eq!(patch["data"], json!({KEY: moved}));
        let mut after = object("");
        after["data"][KEY] = json!(moved);
        assert_eq!(patch["metadata"]["annotations"][HASH], hash(&after));
        assert_eq!(endpoint(&after), Some(("lb".to_owned(), 6443)));

        let edited = change(&object("sha256:0"), "https://lb:6443").unwrap();
        assert!(edited.unwrap()["metadata"]["annotations"].is_null());
        let same = change(&object(&right), "https://10.77.0.50:6443");
        assert_eq!(same.unwrap(), None);
    }

    #[test]
    fn pods_by_node() {
        let pod = |name: &str, node: &str, mark: Option<&str>, ready: &str, ending: bool| {
            json!({
                "metadata": {"name": name, "annotations": mark.map(|it| json!({ANNOTATION: it})),
                    "deletionTimestamp": ending.then_some("2026-11-21T00:00:00Z")},
                "spec": {"nodeName": node},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let list = json!({"items": [
            pod("a", "n1", Some("lb:1"), "True", false),
            pod("b", "n2", None, "True", false),
            pod("c", "n3", Some("lb:1"), "False", false),
            pod("d", "n4", Some("lb:1"), "True", true),
            pod("e", "n4", None, "False", false),
        ]});
        let pods = pods(&list);
        assert_eq!(pods.len(), 5);
        let ready = ready_by_node(&pods);
        let expected = [("n1", "lb:1"), ("n2", "")];
        assert_eq!(
            ready,
            expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into()
        );
        assert_eq!(template(&template_patch("lb:1")), "lb:1");
        assert_eq!(template(&json!({})), "");
    }
}
