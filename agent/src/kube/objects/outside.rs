//! Settings of pod networks that name an API server. quorate does not change them; it says that they are there.

use crate::kube::carrier;
use quorate_proto::v1::{Carrier, CarrierKind};
use serde_json::Value;

/// Where the known ones keep it. Most are absent in any one cluster.
pub const PATHS: [&str; 4] = [
    "/api/v1/namespaces/kube-system/configmaps/cilium-config",
    "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium",
    "/api/v1/namespaces/kube-system/configmaps/kubernetes-services-endpoint",
    "/api/v1/namespaces/tigera-operator/configmaps/kubernetes-services-endpoint",
];
const HOSTS: [&str; 3] = [
    "KUBERNETES_SERVICE_HOST",
    "k8sServiceHost",
    "k8s-service-host",
];
const PORTS: [&str; 3] = [
    "KUBERNETES_SERVICE_PORT",
    "k8sServicePort",
    "k8s-service-port",
];
/// A setting without a port means the API server's usual one.
const PORT: u16 = 6443;

/// What of an object of [`PATHS`] names an API server.
pub fn find(path: &str, object: &Value) -> Option<Carrier> {
    let settings = settings(object);
    let value = |keys: [&str; 3]| {
        let found = settings
            .iter()
            .find(|(key, _)| keys.contains(&key.as_str()));
        found
            .map(|(_, value)| value.clone())
            .filter(|it| !it.is_empty())
    };
    let host = value(HOSTS)?;
    let port = value(PORTS).and_then(|it| it.parse().ok()).unwrap_or(PORT);
    let mut words = path.rsplit('/');
    let (name, kind) = (words.next()?, words.next()?);
    let namespace = words.next()?;
    Some(Carrier {
        place: format!("{namespace}/{kind}/{name}"),
        value: carrier::text(&(host, port)),
        kind: CarrierKind::Outside as i32,
    })
}

/// A ConfigMap's data, or the environment of a DaemonSet's containers.
fn settings(object: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let data = object["data"].as_object().into_iter().flatten();
    let mut found: Vec<(String, String)> = data
        .map(|(key, value)| (key.clone(), text(value)))
        .collect();
    let pod = &object["spec"]["template"]["spec"];
    for containers in [&pod["containers"], &pod["initContainers"]] {
        for container in containers.as_array().into_iter().flatten() {
            let environment = container["env"].as_array().into_iter().flatten();
            found.extend(environment.map(|it| (text(&it["name"]), text(&it["value"]))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_settings() {
        let daemon_set = json!({"spec": {"template": {"spec": {"containers": [{"env": [
            {"name": "K8S_NODE_NAME", "valueFrom": {}},
            {"name": "KUBERNETES_SERVICE_HOST", "value": "lb.example"},
            {"name": "KUBERNETES_SERVICE_PORT", "value": "7443"},
        ]}]}}}});
        let calico = json!({"data": {"KUBERNETES_SERVICE_HOST": "fd00::1"}});
        for (index, object, expected) in [
            (
                1,
                daemon_set,
                Some(("kube-system/daemonsets/cilium", "lb.example:7443")),
            ),
            (
                3,
                calico,
                Some((
                    "tigera-operator/configmaps/kubernetes-services-endpoint",
                    "[fd00::1]:6443",
                )),
            ),
            (0, json!({"data": {"k8sServiceHost": ""}}), None),
            (0, json!({"data": {"debug": "false"}}), None),
            (0, Value::Null, None),
        ] {
            let found = find(PATHS[index], &object);
            let seen = found
                .as_ref()
                .map(|it| (it.place.as_str(), it.value.as_str()));
            assert_eq!(seen, expected);
        }
    }
}
