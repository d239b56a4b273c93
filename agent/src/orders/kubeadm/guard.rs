//! Fields of kubeadm's documents that are decided by the cluster file's own fields, or by the coordinator as it goes.
//! The user's document may repeat such a value but not change it (pure).

use super::documents::{Kind, refused};
use quorate_proto::v1::Problem;
use serde_json::Value;

/// A field that our document sets and the user's may only repeat.
const DECIDED: &[(Kind, &str, &str)] = &[
    (
        Kind::Cluster,
        "/controlPlaneEndpoint",
        "the cluster's endpoint",
    ),
    (Kind::Cluster, "/kubernetesVersion", "the cluster's version"),
    (
        Kind::Cluster,
        "/certificatesDir",
        "kubeadm's own folder, which upgrades and renewals expect",
    ),
    (Kind::Init, "/nodeRegistration/name", "the node's name"),
    (
        Kind::Init,
        "/nodeRegistration/criSocket",
        "the runtime that is installed",
    ),
    (
        Kind::Init,
        "/localAPIEndpoint/advertiseAddress",
        "the node's address",
    ),
    (
        Kind::Init,
        "/localAPIEndpoint/bindPort",
        "the port that the load balancer is set to",
    ),
    (Kind::Join, "/nodeRegistration/name", "the node's name"),
    (
        Kind::Join,
        "/nodeRegistration/criSocket",
        "the runtime that is installed",
    ),
];

/// A field that only the coordinator may set, when it is time.
const RESERVED: &[(Kind, &str, &str)] = &[
    (
        Kind::Cluster,
        "/etcd/external",
        "the control planes carry etcd themselves",
    ),
    (
        Kind::Init,
        "/certificateKey",
        "keys travel over the coordinator's own connections",
    ),
    (Kind::Init, "/skipPhases", "phases are chosen node by node"),
    (Kind::Init, "/dryRun", "nothing would be made"),
    (
        Kind::Join,
        "/discovery",
        "it holds a token that is made for each node",
    ),
    (
        Kind::Join,
        "/controlPlane",
        "control planes are joined by the coordinator",
    ),
    (Kind::Join, "/skipPhases", "phases are chosen node by node"),
    (Kind::Join, "/dryRun", "nothing would be made"),
];

/// Arguments by name, of lists that are merged otherwise.
const RESERVED_ARGUMENTS: &[(Kind, &str, &[&str], &str)] = &[
    (
        Kind::Cluster,
        "/etcd/local/extraArgs",
        &[
            "initial-cluster",
            "initial-cluster-state",
            "initial-cluster-token",
            "initial-advertise-peer-urls",
            "force-new-cluster",
            "name",
            "data-dir",
            "discovery",
            "discovery-srv",
        ],
        "it decides who is a member of etcd",
    ),
    (
        Kind::Init,
        "/nodeRegistration/kubeletExtraArgs",
        KUBELET_ARGUMENTS,
        "it differs from node to node",
    ),
    (
        Kind::Join,
        "/nodeRegistration/kubeletExtraArgs",
        KUBELET_ARGUMENTS,
        "it differs from node to node",
    ),
];

const KUBELET_ARGUMENTS: &[&str] = &[
    "node-ip",
    "hostname-override",
    "cert-dir",
    "kubeconfig",
    "bootstrap-kubeconfig",
];

/// Err names the first field of `user` that contradicts `ours`.
pub fn check(kind: Kind, ours: &Value, user: &Value) -> Result<(), Problem> {
    for (of, field, why) in DECIDED.iter().filter(|(of, ..)| *of == kind) {
        if let (Some(theirs), Some(decided)) = (set(user, field), ours.pointer(field))
            && theirs != decided
        {
            return Err(conflict(*of, field, why).because(format!("it is {decided}, not {theirs}")));
        }
    }
    for (of, field, why) in RESERVED.iter().filter(|(of, ..)| *of == kind) {
        if set(user, field).is_some() {
            return Err(conflict(*of, field, why));
        }
    }
    for (of, field, names, why) in RESERVED_ARGUMENTS.iter().filter(|(of, ..)| *of == kind) {
        let arguments = user.pointer(field).and_then(Value::as_array);
        for argument in arguments.into_iter().flatten() {
            let name = argument["name"].as_str().unwrap_or_default();
            if names.contains(&name) {
                return Err(conflict(*of, &format!("{field}/{name}"), why));
            }
        }
    }
    Ok(())
}

fn set<'a>(user: &'a Value, field: &str) -> Option<&'a Value> {
    user.pointer(field).filter(|value| !value.is_null())
}

fn conflict(kind: Kind, field: &str, why: &str) -> Problem {
    let field = field.trim_start_matches('/').replace('/', ".");
    let mut problem = refused(format!(
        "{}: {field} cannot be set here: {why}",
        kind.name()
    ));
    problem.code = "kubeadm-guarded-field".to_owned();
    problem.at(format!("{} {field}", kind.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_the_field_that_contradicts() {
        let ours = json!({
            "controlPlaneEndpoint": "lb:6443",
            "kubernetesVersion": "v1.33.13",
            "certificatesDir": "/etc/kubernetes/pki",
        });
        for (user, field) in [
            (
                json!({"controlPlaneEndpoint": "other:6443"}),
                "controlPlaneEndpoint",
            ),
            (json!({"kubernetesVersion": "v1.34.0"}), "kubernetesVersion"),
            (json!({"certificatesDir": "/srv/pki"}), "certificatesDir"),
            (
                json!({"etcd": {"external": {"endpoints": []}}}),
                "etcd.external",
            ),
            (
                json!({"etcd": {"local": {"extraArgs": [{"name": "initial-cluster", "value": "x"}]}}}),
                "etcd.local.extraArgs.initial-cluster",
            ),
        ] {
            let problem = check(Kind::Cluster, &ours, &user).unwrap_err();
            assert_eq!(problem.code, "kubeadm-guarded-field");
            assert_eq!(
                problem.r#where,
                format!("ClusterConfiguration {field}"),
                "{user}"
            );
        }
    }

    #[test]
    fn lets_pass_what_is_equal_or_free() {
        let ours = json!({"controlPlaneEndpoint": "lb:6443"});
        for user in [
            json!({"controlPlaneEndpoint": "lb:6443"}),
            json!({"controlPlaneEndpoint": null}),
            json!({"networking": {"dnsDomain": "x"}, "etcd": {"local": {"dataDir": "/srv/etcd"}}}),
            json!({"etcd": {"local": {"extraArgs": [{"name": "quota-backend-bytes", "value": "1"}]}}}),
        ] {
            check(Kind::Cluster, &ours, &user).unwrap();
        }
    }

    #[test]
    fn keeps_the_node_its_name_and_address() {
        let ours = json!({
            "nodeRegistration": {"name": "cp1"},
            "localAPIEndpoint": {"advertiseAddress": "10.0.0.1", "bindPort": 6443},
        });
        for (user, field) in [
            (
                json!({"nodeRegistration": {"name": "x"}}),
                "nodeRegistration.name",
            ),
            (
                json!({"localAPIEndpoint": {"advertiseAddress": "::1"}}),
                "localAPIEndpoint.advertiseAddress",
            ),
            (
                json!({"localAPIEndpoint": {"bindPort": 443}}),
                "localAPIEndpoint.bindPort",
            ),
            (json!({"certificateKey": "0"}), "certificateKey"),
            (
                json!({"nodeRegistration": {"kubeletExtraArgs": [{"name": "node-ip", "value": "::1"}]}}),
                "nodeRegistration.kubeletExtraArgs.node-ip",
            ),
        ] {
            let problem = check(Kind::Init, &ours, &user).unwrap_err();
            assert_eq!(problem.r#where, format!("InitConfiguration {field}"));
        }
        let problem = check(Kind::Join, &json!({}), &json!({"discovery": {}})).unwrap_err();
        assert_eq!(problem.r#where, "JoinConfiguration discovery");
    }
}
