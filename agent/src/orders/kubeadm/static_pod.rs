//! Starts a control plane component anew that reads its kubeconfig only at its start.
//!
//! The kubelet starts a static pod anew when its manifest changes: an annotation says which kubeconfig it is for. Against moving the
//! manifest away and back, the file is never absent, and one rename is the whole change; against killing the process, nobody
//! has to know how the container runtime names it. The file is mounted alone, so that only a new container sees a renamed one.

use super::layout::Layout;
use super::ready::{START_LIMIT, until};
use crate::context::Context;
use crate::host::files;
use crate::kube::api::Api;
use quorate_proto::v1::Problem;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const ANNOTATION: &str = "quorate.dev/kubeconfig";
/// Bytes of the hash that are enough to tell one file from the next.
const HASH_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    ControllerManager,
    Scheduler,
}

impl Component {
    pub const ALL: [Component; 2] = [Component::ControllerManager, Component::Scheduler];

    pub fn kubeconfig(self) -> &'static str {
        match self {
            Component::ControllerManager => "controller-manager.conf",
            Component::Scheduler => "scheduler.conf",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Component::ControllerManager => "kube-controller-manager",
            Component::Scheduler => "kube-scheduler",
        }
    }
}

/// Until pods run that were started for the present kubeconfigs, all at once: a kubelet takes half a minute for one. Those that do are
/// left alone.
pub async fn restart(context: &Context, components: &[Component]) -> Result<(), Problem> {
    let mut begun = Vec::new();
    for component in components {
        begun.extend(begin(context, *component)?.map(|mark| (*component, mark)));
    }
    for (component, mark) in begun {
        runs(context, component, &mark).await?;
    }
    Ok(())
}

/// The mark that its pod will show; none: not a control plane, or not started yet.
fn begin(context: &Context, component: Component) -> Result<Option<String>, Problem> {
    let layout = Layout::of(&context.paths);
    let manifest = layout
        .manifests()
        .join(format!("{}.yaml", component.name()));
    let Some(bytes) = files::read_optional(&manifest)? else {
        return Ok(None);
    };
    let mark = mark(&files::read(&layout.kubernetes(component.kubeconfig()))?);
    let marked = marked(&String::from_utf8_lossy(&bytes), &mark).map_err(|reason| {
        Problem::new("manifest", format!("cannot change a static pod: {reason}"))
            .at(manifest.display().to_string())
            .because("it was edited by hand")
    })?;
    if let Some(text) = marked {
        context.say(format!("starting {} anew", component.name()));
        files::write_like(&manifest, &manifest, text.as_bytes())?;
    }
    Ok(Some(mark))
}

async fn runs(context: &Context, component: Component, mark: &str) -> Result<(), Problem> {
    let node = &context.node()?.name;
    let path = format!(
        "/api/v1/namespaces/kube-system/pods/{}-{node}",
        component.name()
    );
    let mut api = Api::new(&context.paths)?;
    until(context, component.name(), START_LIMIT, async || {
        let pod = api.get(&path).await?.unwrap_or_default();
        match is_ready(&pod, mark) {
            true => Ok(()),
            false => Err(Problem::new(
                "static-pod-not-ready",
                "the pod does not run with its new kubeconfig yet",
            )
            .at(&path)),
        }
    })
    .await
}

fn is_ready(pod: &Value, mark: &str) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|it| it["type"] == "Ready" && it["status"] == "True");
    ready && pod["metadata"]["annotations"][ANNOTATION] == mark
}

fn mark(kubeconfig: &[u8]) -> String {
    // Never to be taken for a number.
    format!(
        "sha256-{}",
        hex::encode(&Sha256::digest(kubeconfig)[..HASH_BYTES])
    )
}

/// The manifest with the annotation; `None`: it has it.
fn marked(manifest: &str, mark: &str) -> Result<Option<String>, String> {
    let mut pod: Value = serde_saphyr::from_str(manifest).map_err(|error| error.to_string())?;
    if pod["kind"] != "Pod" || !pod["metadata"].is_object() {
        return Err("it is no Pod".to_owned());
    }
    if pod["metadata"]["annotations"][ANNOTATION] == mark {
        return Ok(None);
    }
    if !pod["metadata"]["annotations"].is_object() {
        pod["metadata"]["annotations"] = json!({});
    }
    pod["metadata"]["annotations"][ANNOTATION] = json!(mark);
    let text = serde_saphyr::to_string(&pod).map_err(|error| error.to_string())?;
    let back: Option<Value> = serde_saphyr::from_str(&text).ok();
    match back == Some(pod) {
        true => Ok(Some(text)),
        false => Err("it does not survive being written".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  labels:
    component: kube-scheduler
  name: kube-scheduler
spec:
  containers:
  - command:
    - kube-scheduler
    - --bind-address=127.0.0.1
    - \"--v=0x1f\"
    resources:
      requests:
        cpu: 100m
status: {}
";

    #[test]
    fn the_annotation_is_all_that_changes() {
        let text = marked(MANIFEST, "abc").unwrap().unwrap();
        let mut expected: Value = serde_saphyr::from_str(MANIFEST).unwrap();
        expected["metadata"]["annotations"] = json!({ANNOTATION: "abc"});
        let pod: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(pod, expected);
        assert_eq!(marked(&text, "abc"), Ok(None));
        assert!(marked(&text, "def").unwrap().is_some());
        for broken in ["kind: List", "a: [", "kind: Pod"] {
            assert!(marked(broken, "abc").is_err(), "{broken}");
        }
    }

    #[test]
    fn a_pod_of_the_present_kubeconfig() {
        let pod = |mark: &str, ready: &str| {
            json!({"metadata": {"annotations": {ANNOTATION: mark}},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}})
        };
        assert!(is_ready(&pod("abc", "True"), "abc"));
        assert!(!is_ready(&pod("abc", "False"), "abc"));
        assert!(!is_ready(&pod("def", "True"), "abc"));
        assert!(!is_ready(&Value::Null, "abc"));
        assert_eq!(mark(b"a").len(), 23);
        assert_ne!(mark(b"a"), mark(b"b"));
    }
}
