//! kube-system/kubeadm-config: what kubeadm's join, upgrade and renewal read.

use super::{patch, text, unusable};
use quorate_pki::Name;
use quorate_proto::v1::Problem;
use serde_json::{Value, json};

pub const PATH: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";
const KEY: &str = "ClusterConfiguration";

#[derive(Debug, Default, PartialEq, Eq)]
pub struct View {
    pub endpoint: String,
    pub names: Vec<String>,
}

pub fn read(object: &Value) -> Result<View, Problem> {
    let configuration = parse(object)?;
    Ok(View {
        endpoint: configuration["controlPlaneEndpoint"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        names: names_of(&configuration),
    })
}

/// The patch to this endpoint and these names; `None`: it has them. Without an endpoint that stays as it is.
pub fn change(
    object: &Value,
    endpoint: Option<&str>,
    add: &[String],
    drop: &[String],
) -> Result<Option<Value>, Problem> {
    let mut configuration = parse(object)?;
    let before = configuration.clone();
    if let Some(endpoint) = endpoint {
        configuration["controlPlaneEndpoint"] = json!(endpoint);
    }
    let names = union(&names_of(&configuration), add, drop);
    if names != names_of(&configuration) {
        if !configuration["apiServer"].is_object() {
            configuration["apiServer"] = json!({});
        }
        configuration["apiServer"]["certSANs"] = json!(names);
    }
    if configuration == before {
        return Ok(None);
    }
    let yaml = serde_saphyr::to_string(&configuration)
        .map_err(|error| unusable(PATH, error.to_string()))?;
    // What kubeadm will read is what was meant.
    let back: Option<Value> = serde_saphyr::from_str(&yaml).ok();
    if back.as_ref() != Some(&configuration) {
        return Err(unusable(PATH, "it does not survive being written"));
    }
    Ok(Some(patch(object, json!({KEY: yaml}))))
}

/// Present names, then the missing ones, without those to drop. The same name in another spelling is the same.
fn union(present: &[String], add: &[String], drop: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in present.iter().chain(add) {
        if !contains(drop, name) && !contains(&names, name) {
            names.push(name.clone());
        }
    }
    names
}

fn contains(names: &[String], name: &str) -> bool {
    names.iter().any(|it| key(it) == key(name))
}

/// What kubeadm takes and [`Name`] does not, such as a wildcard, compares by its letters.
fn key(name: &str) -> Result<Name, String> {
    Name::parse(name).map_err(|_| name.to_ascii_lowercase())
}

fn names_of(configuration: &Value) -> Vec<String> {
    let names = configuration["apiServer"]["certSANs"].as_array();
    let names = names.into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn parse(object: &Value) -> Result<Value, Problem> {
    let text = text(object, KEY).ok_or_else(|| unusable(PATH, format!("it has no {KEY}")))?;
    serde_saphyr::from_str(text)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| unusable(PATH, format!("its {KEY} is not YAML")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kubeadm 1.33 writes it.
    const TEXT: &str = "apiServer:
  certSANs:
  - 10.77.0.50
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
controlPlaneEndpoint: 10.77.0.50:6443
controllerManager:
  extraArgs:
  - name: v
    value: \"4\"
dns: {}
kind: ClusterConfiguration
kubernetesVersion: v1.33.13
networking:
  podSubnet: 10.244.0.0/16
";

    fn object(text: &str) -> Value {
        json!({"metadata": {"resourceVersion": "7"}, "data": {KEY: text}})
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn moves_the_endpoint_and_keeps_the_rest() {
        let add = strings(&["10.77.0.50", "LB.example", "fd00:0::1"]);
        let changed = change(&object(TEXT), Some("lb.example:6443"), &add, &[]).unwrap();
        let patch = changed.unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let text = patch["data"][KEY].as_str().unwrap();
        assert!(text.contains("\n  certSANs:\n"), "{text}");
        let view = read(&object(text)).unwrap();
        assert_eq!(view.endpoint, "lb.example:6443");
        assert_eq!(
            view.names,
            strings(&["10.77.0.50", "LB.example", "fd00:0::1"])
        );
        let mut expected = parse(&object(TEXT)).unwrap();
        expected["controlPlaneEndpoint"] = json!("lb.example:6443");
        expected["apiServer"]["certSANs"] = json!(view.names);
        assert_eq!(parse(&object(text)).unwrap(), expected);

        let again = strings(&["lb.example", "fd00::1"]);
        let settled = change(&object(text), Some("lb.example:6443"), &again, &[]);
        assert_eq!(settled.unwrap(), None);
        let pruned = change(
            &object(text),
            None,
            &[],
            &strings(&["10.77.0.50", "10.77.0.5"]),
        );
        let pruned = pruned.unwrap().unwrap();
        let view = read(&object(pruned["data"][KEY].as_str().unwrap())).unwrap();
        assert_eq!(view.names, strings(&["LB.example", "fd00:0::1"]));
        assert_eq!(view.endpoint, "lb.example:6443");
    }

    #[test]
    fn a_cluster_without_endpoint_or_names_gets_them() {
        let bare = object("kind: ClusterConfiguration\n");
        let patch = change(&bare, Some("lb:1"), &strings(&["lb"]), &[]).unwrap();
        let view = read(&object(patch.unwrap()["data"][KEY].as_str().unwrap())).unwrap();
        assert_eq!((view.endpoint.as_str(), view.names.len()), ("lb:1", 1));
        assert_eq!(change(&bare, None, &[], &strings(&["lb"])).unwrap(), None);
    }

    #[test]
    fn what_is_not_kubeadms_is_refused() {
        for object in [json!({}), object("- a"), object("a: [")] {
            assert_eq!(read(&object).unwrap_err().code, "cluster-object");
        }
    }
}
