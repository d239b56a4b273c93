//! Requests of kubelets for serving certificates.

use serde_json::Value;

pub const PATH: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// The list of those for kubelets' serving certificates.
pub const LIST: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests?fieldSelector=spec.signerName%3Dkubernetes.io%2Fkubelet-serving";
const SIGNER: &str = "kubernetes.io/kubelet-serving";
const USER: &str = "system:node:";

/// Requests that nobody has decided on.
pub fn pending(list: &Value) -> Vec<&Value> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter(|item| item["spec"]["signerName"] == SIGNER)
        .filter(|item| !is_decided(item))
        .collect()
}

/// The node whose kubelet asks, by the name under which it has logged in.
pub fn node(request: &Value) -> Option<&str> {
    request["spec"]["username"].as_str()?.strip_prefix(USER)
}

/// Nodes with a pending request, each once.
pub fn nodes(list: &Value) -> Vec<String> {
    let mut nodes: Vec<String> = pending(list)
        .into_iter()
        .filter_map(node)
        .map(str::to_owned)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

fn is_decided(request: &Value) -> bool {
    let conditions = request["status"]["conditions"].as_array();
    let said = conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Approved" || it["type"] == "Denied" || it["type"] == "Failed");
    said || request["status"]["certificate"].is_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pending_ones_by_node() {
        let request = |user: &str, signer: &str, decided: Option<&str>| {
            json!({
                "spec": {"signerName": signer, "username": user},
                "status": {"conditions": decided.map(|it| json!([{"type": it}]))},
            })
        };
        let list = json!({"items": [
            request("system:node:n2", SIGNER, None),
            request("system:node:n1", SIGNER, None),
            request("system:node:n1", SIGNER, None),
            request("system:node:n3", SIGNER, Some("Approved")),
            request("system:node:n4", SIGNER, Some("Denied")),
            request("system:node:n5", "kubernetes.io/kube-apiserver-client-kubelet", None),
            request("admin", SIGNER, None),
        ]});
        assert_eq!(nodes(&list), ["n1", "n2"]);
        assert_eq!(pending(&list).len(), 4);
    }
}
