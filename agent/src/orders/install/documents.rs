//! What the user's own kubeadm documents say, as far as installing and checking a node depends on it.

use quorate_proto::v1::{ClusterConfig, Problem};
use serde_json::Value;

/// Where kubeadm's etcd keeps its data unless the user says otherwise.
const ETCD_DATA: &str = "/var/lib/etcd";

#[derive(Debug, Default)]
pub struct Documents(Vec<Value>);

impl Documents {
    pub fn of(cluster: &ClusterConfig) -> Result<Self, Problem> {
        let mut documents = Vec::new();
        for text in &cluster.kubeadm_documents {
            let parsed: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
                Problem::new(
                    "kubeadm-documents",
                    format!("cannot parse a kubeadm document: {error}"),
                )
                .at("kubeadm_documents")
                .next("correct it in the cluster file and apply again")
            })?;
            documents.extend(parsed);
        }
        Ok(Documents(documents))
    }

    /// The kubelet starts on a machine with swap.
    pub fn allow_swap(&self) -> bool {
        self.field("KubeletConfiguration", &["failSwapOn"]) == Some(&Value::Bool(false))
    }

    /// The kubelet starts on a machine with control groups of version 1.
    pub fn allow_cgroup_v1(&self) -> bool {
        self.field("KubeletConfiguration", &["failCgroupV1"]) == Some(&Value::Bool(false))
    }

    pub fn etcd_data(&self) -> &str {
        self.field("ClusterConfiguration", &["etcd", "local", "dataDir"])
            .and_then(Value::as_str)
            .unwrap_or(ETCD_DATA)
    }

    /// The last document of a kind that has the field wins, as when they are merged.
    fn field(&self, kind: &str, path: &[&str]) -> Option<&Value> {
        self.0
            .iter()
            .filter(|document| document.get("kind").and_then(Value::as_str) == Some(kind))
            .filter_map(|document| {
                path.iter()
                    .try_fold(document, |value, name| value.get(name))
            })
            .next_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(texts: &[&str]) -> Documents {
        let cluster = ClusterConfig {
            kubeadm_documents: texts.iter().map(|text| (*text).to_owned()).collect(),
            ..ClusterConfig::default()
        };
        Documents::of(&cluster).expect("documents parse")
    }

    #[test]
    fn swap_is_allowed_only_when_the_kubelet_is_told_so() {
        let table = [
            ("", false),
            ("kind: KubeletConfiguration\nfailSwapOn: false\n", true),
            ("kind: KubeletConfiguration\nfailSwapOn: true\n", false),
            ("kind: KubeletConfiguration\nfailSwapOn: \"false\"\n", false),
            ("kind: ClusterConfiguration\nfailSwapOn: false\n", false),
            (
                "kind: InitConfiguration\n---\nkind: KubeletConfiguration\nfailSwapOn: false\n",
                true,
            ),
        ];
        for (text, allowed) in table {
            assert_eq!(documents(&[text]).allow_swap(), allowed, "{text:?}");
        }
    }

    #[test]
    fn the_last_document_of_a_kind_wins() {
        let first = "kind: ClusterConfiguration\netcd: {local: {dataDir: /one}}\n";
        let second = "kind: ClusterConfiguration\netcd: {local: {dataDir: /two}}\n";
        let silent = "kind: ClusterConfiguration\nclusterName: x\n";
        assert_eq!(documents(&[]).etcd_data(), "/var/lib/etcd");
        assert_eq!(documents(&[first, second, silent]).etcd_data(), "/two");
    }

    #[test]
    fn a_broken_document_is_a_problem() {
        let cluster = ClusterConfig {
            kubeadm_documents: vec!["kind: [".into()],
            ..ClusterConfig::default()
        };
        let problem = Documents::of(&cluster).expect_err("broken");
        assert_eq!(problem.code, "kubeadm-documents");
    }
}
