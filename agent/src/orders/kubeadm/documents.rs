//! kubeadm's documents as JSON values: parsing the user's, laying them over ours (pure).

use quorate_proto::v1::Problem;
use serde_json::{Map, Value};

pub const KUBEADM: &str = "kubeadm.k8s.io/v1beta4";
pub const KUBELET: &str = "kubelet.config.k8s.io/v1beta1";
pub const KUBE_PROXY: &str = "kubeproxy.config.k8s.io/v1alpha1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Init,
    Cluster,
    Join,
    Kubelet,
    KubeProxy,
}

impl Kind {
    pub const ALL: [Kind; 5] = [
        Kind::Init,
        Kind::Cluster,
        Kind::Join,
        Kind::Kubelet,
        Kind::KubeProxy,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Init => "InitConfiguration",
            Kind::Cluster => "ClusterConfiguration",
            Kind::Join => "JoinConfiguration",
            Kind::Kubelet => "KubeletConfiguration",
            Kind::KubeProxy => "KubeProxyConfiguration",
        }
    }

    pub fn api_version(self) -> &'static str {
        match self {
            Kind::Init | Kind::Cluster | Kind::Join => KUBEADM,
            Kind::Kubelet => KUBELET,
            Kind::KubeProxy => KUBE_PROXY,
        }
    }

    /// An empty document of this kind.
    pub fn document(self) -> Value {
        serde_json::json!({"apiVersion": self.api_version(), "kind": self.name()})
    }
}

/// Every document of the user's texts with its kind, in their order.
pub fn parse(texts: &[String]) -> Result<Vec<(Kind, Value)>, Problem> {
    let mut found = Vec::new();
    for text in texts {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|error| refused(format!("not YAML: {error}")))?;
        for document in documents {
            if !document.is_null() {
                found.push((kind_of(&document)?, document));
            }
        }
    }
    Ok(found)
}

fn kind_of(document: &Value) -> Result<Kind, Problem> {
    let name = document["kind"].as_str().unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| {
        let known = Kind::ALL.map(Kind::name).join(", ");
        refused(format!("kind {name:?} is none of {known}"))
    })?;
    let version = document["apiVersion"].as_str().unwrap_or_default();
    if version != kind.api_version() {
        return Err(refused(format!(
            "{name} has apiVersion {version:?}, wanted is {}",
            kind.api_version()
        ))
        .next("convert it with `kubeadm config migrate`"));
    }
    Ok(kind)
}

/// Lays `over` on `under`: maps key by key, argument lists by argument name, anything else replaces.
pub fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => merge_maps(under, over),
        (under, over) => *under = over.clone(),
    }
}

fn merge_maps(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match under.get_mut(key) {
            None => {
                under.insert(key.clone(), value.clone());
            }
            Some(present) => match (&mut *present, value) {
                (Value::Array(ours), Value::Array(theirs)) if is_arguments(key) => {
                    merge_arguments(ours, theirs);
                }
                (Value::Array(ours), Value::Array(theirs)) if key == "certSANs" => {
                    add_missing(ours, theirs);
                }
                _ => merge(present, value),
            },
        }
    }
}

/// v1beta4 writes arguments as a list of `{name, value}`; one name may come twice.
fn is_arguments(key: &str) -> bool {
    matches!(key, "extraArgs" | "kubeletExtraArgs" | "extraEnvs")
}

fn merge_arguments(ours: &mut Vec<Value>, theirs: &[Value]) {
    ours.retain(|our| !theirs.iter().any(|their| their["name"] == our["name"]));
    ours.extend(theirs.iter().cloned());
}

fn add_missing(ours: &mut Vec<Value>, theirs: &[Value]) {
    for value in theirs {
        if !ours.contains(value) {
            ours.push(value.clone());
        }
    }
}

/// One text of several documents. JSON is YAML too, and leaves no doubt about what is a string.
pub fn render<'a>(documents: impl IntoIterator<Item = &'a Value>) -> String {
    documents
        .into_iter()
        .map(|document| format!("{document:#}\n"))
        .collect::<Vec<_>>()
        .join("---\n")
}

pub fn refused(what: impl Into<String>) -> Problem {
    Problem::new("kubeadm-documents", what)
        .at("kubeadm documents of the cluster file")
        .next("correct the document and apply the cluster file again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parses_several_documents_in_several_texts() {
        let texts = [
            "---\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\n---\n".to_owned(),
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n".to_owned(),
        ];
        let kinds: Vec<Kind> = parse(&texts)
            .unwrap()
            .into_iter()
            .map(|(kind, _)| kind)
            .collect();
        assert_eq!(kinds, [Kind::KubeProxy, Kind::Init, Kind::Join]);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (text, reason) in [
            ("kind: Pod", "\"Pod\" is none of"),
            ("just text", "\"\" is none of"),
            (
                "kind: InitConfiguration\napiVersion: kubeadm.k8s.io/v1beta3",
                "wanted is kubeadm.k8s.io/v1beta4",
            ),
            ("a: [", "not YAML"),
        ] {
            let problem = parse(&[text.to_owned()]).unwrap_err();
            assert!(problem.what.contains(reason), "{text}: {problem}");
        }
    }

    #[test]
    fn merges_by_the_shape_of_the_field() {
        for (under, over, expected) in [
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 3}}),
                json!({"a": {"b": 3, "c": 2}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (
                json!({"a": {"b": 1}}),
                json!({"a": null}),
                json!({"a": null}),
            ),
            (
                json!({"certSANs": ["x", "y"]}),
                json!({"certSANs": ["y", "z"]}),
                json!({"certSANs": ["x", "y", "z"]}),
            ),
            (
                json!({"extraArgs": [{"name": "v", "value": "2"}, {"name": "w", "value": "1"}]}),
                json!({"extraArgs": [{"name": "v", "value": "4"}, {"name": "v", "value": "5"}]}),
                json!({"extraArgs": [{"name": "w", "value": "1"}, {"name": "v", "value": "4"}, {"name": "v", "value": "5"}]}),
            ),
        ] {
            let mut merged = under.clone();
            merge(&mut merged, &over);
            assert_eq!(merged, expected, "{under} under {over}");
        }
    }

    #[test]
    fn renders_documents_that_parse_back() {
        let documents = [
            json!({"kind": "A", "odd": "0x1f: yes"}),
            json!({"kind": "B"}),
        ];
        let back: Vec<Value> = serde_saphyr::from_multiple(&render(&documents)).unwrap();
        assert_eq!(back, documents);
    }
}
