//! The static pod of this node's etcd, started otherwise than kubeadm starts it: with itself as the only member. Pure; what else the
//! manifest says stays, edits by hand too.

use quorate_proto::v1::Problem;
use serde_json::{Value, json};

pub const MANIFEST: &str = "etcd.yaml";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Each start makes a cluster of one of the data.
    Forced,
    /// As a member that has its data.
    Settled,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Own {
    pub name: String,
    pub peer_url: String,
}

const FORCE: &str = "--force-new-cluster=true";
/// What says with whom it starts.
const MEMBERS: [&str; 3] = [
    "--initial-cluster=",
    "--initial-cluster-state=",
    "--force-new-cluster",
];

/// Whom the manifest is for.
pub fn own_member(manifest: &str) -> Result<Own, Problem> {
    let pod = parse(manifest)?;
    let value = |option: &str| {
        let arguments = arguments(&pod).ok()?;
        let mut values = arguments
            .iter()
            .filter_map(|it| it.as_str()?.strip_prefix(option));
        values.next().map(str::to_owned)
    };
    let own = value("--name=").zip(value("--initial-advertise-peer-urls="));
    let (name, peer_url) =
        own.ok_or_else(|| malformed("it names no --name or --initial-advertise-peer-urls"))?;
    Ok(Own { name, peer_url })
}

/// The manifest for a member that is alone.
pub fn starting(manifest: &str, start: Start) -> Result<String, Problem> {
    let own = own_member(manifest)?;
    let mut pod = parse(manifest)?;
    let command = arguments_mut(&mut pod)?;
    command.retain(|it| {
        let text = it.as_str().unwrap_or_default();
        !MEMBERS.iter().any(|prefix| text.starts_with(prefix))
    });
    command.push(json!(format!(
        "--initial-cluster={}={}",
        own.name, own.peer_url
    )));
    command.push(json!("--initial-cluster-state=existing"));
    if start == Start::Forced {
        command.push(json!(FORCE));
    }
    let text = serde_saphyr::to_string(&pod).map_err(|error| malformed(&error.to_string()))?;
    let back: Option<Value> = serde_saphyr::from_str(&text).ok();
    match back == Some(pod) {
        true => Ok(text),
        false => Err(malformed("it does not survive being written")),
    }
}

pub fn is_forced(manifest: &str) -> bool {
    manifest.contains("--force-new-cluster")
}

/// What the node has of etcd, its tools among it.
pub fn image(manifest: &str) -> Result<String, Problem> {
    let pod = parse(manifest)?;
    let image = pod["spec"]["containers"][0]["image"].as_str();
    image
        .map(str::to_owned)
        .ok_or_else(|| malformed("it names no image"))
}

fn parse(manifest: &str) -> Result<Value, Problem> {
    let pod: Value =
        serde_saphyr::from_str(manifest).map_err(|error| malformed(&error.to_string()))?;
    match pod["kind"] == "Pod" {
        true => Ok(pod),
        false => Err(malformed("it is no Pod")),
    }
}

fn arguments(pod: &Value) -> Result<&Vec<Value>, Problem> {
    let command = pod["spec"]["containers"][0]["command"].as_array();
    command.ok_or_else(|| malformed("its first container has no command"))
}

fn arguments_mut(pod: &mut Value) -> Result<&mut Vec<Value>, Problem> {
    let command = pod["spec"]["containers"][0]["command"].as_array_mut();
    command.ok_or_else(|| malformed("its first container has no command"))
}

fn malformed(reason: &str) -> Problem {
    Problem::new(
        "manifest",
        format!("cannot read the static pod of etcd: {reason}"),
    )
    .at(MANIFEST)
    .because("it was edited by hand, or is another pod's")
    .next("man quorate-recovery")
}

#[cfg(test)]
pub const SAMPLE: &str = "apiVersion: v1
kind: Pod
metadata:
  name: etcd
  namespace: kube-system
spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --initial-advertise-peer-urls=https://10.77.0.12:2380
    - --initial-cluster=n1=https://10.77.0.11:2380,n2=https://10.77.0.12:2380
    - --initial-cluster-state=existing
    - --listen-metrics-urls=http://127.0.0.1:2381
    - --name=n2
    image: registry.k8s.io/etcd:3.5.24-0
    resources:
      requests:
        cpu: 100m
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whom_it_starts_with_changes() {
        let own = own_member(SAMPLE).unwrap();
        assert_eq!(
            (own.name.as_str(), own.peer_url.as_str()),
            ("n2", "https://10.77.0.12:2380")
        );
        let forced = starting(SAMPLE, Start::Forced).unwrap();
        let settled = starting(&forced, Start::Settled).unwrap();
        assert_eq!(starting(&forced, Start::Forced).unwrap(), forced);
        assert!(is_forced(&forced) && !is_forced(&settled));
        assert_eq!(own_member(&settled).unwrap(), own);
        assert_eq!(image(&settled).unwrap(), "registry.k8s.io/etcd:3.5.24-0");
        let (mut was, now) = (parse(SAMPLE).unwrap(), parse(&settled).unwrap());
        let arguments = arguments_mut(&mut was).unwrap();
        // kubeadm's own order of the arguments does not matter.
        arguments.retain(|it| !it.as_str().unwrap().starts_with("--initial-cluster"));
        arguments.push(json!("--initial-cluster=n2=https://10.77.0.12:2380"));
        arguments.push(json!("--initial-cluster-state=existing"));
        assert_eq!(was, now);
    }

    #[test]
    fn what_is_no_etcd_is_refused() {
        for text in [
            "a: [",
            "kind: List",
            "kind: Pod",
            "kind: Pod\nspec: {containers: [{command: [etcd]}]}",
        ] {
            assert_eq!(
                starting(text, Start::Forced).unwrap_err().code,
                "manifest",
                "{text}"
            );
        }
    }
}
