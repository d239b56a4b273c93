//! Applies the cluster file's manifests, and waits until what they roll out has rolled out.

use super::claim;
use super::ready::until;
use crate::context::{Context, Done, Outcome};
use crate::kube::kubectl::kubectl;
use crate::marks;
use quorate_proto::v1::{ApplyManifests, Manifest, Problem};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Who owns the fields that are set here.
const FIELD_MANAGER: &str = "quorate";
/// A custom resource right after its definition: the API server knows the kind a moment later.
const KINDS_KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// Rollouts watched at the same time; each is a kubectl of some 50 MB.
const WATCHED_AT_ONCE: usize = 4;

pub async fn run(context: &Context, action: &ApplyManifests) -> Done {
    claim::require(context)?;
    if marks::load(&context.paths)?.manifests == action.digest {
        return Ok(Outcome::done());
    }
    let rollouts = rollouts(&action.manifests)?;
    apply(context, &action.manifests).await?;
    let end = Instant::now() + Duration::from_secs(action.wait_seconds.into());
    for some in rollouts.chunks(WATCHED_AT_ONCE) {
        let waits = some.iter().map(|rollout| wait(context, rollout, end));
        for result in join_all(waits).await {
            result?;
        }
    }
    marks::update(&context.paths, |marks| {
        marks.manifests = action.digest.clone();
    })?;
    Ok(Outcome::done())
}

async fn apply(context: &Context, manifests: &[Manifest]) -> Result<(), Problem> {
    let text: Vec<&str> = manifests
        .iter()
        .map(|manifest| manifest.yaml.as_str())
        .collect();
    let text = text.join("\n---\n");
    if text.trim().is_empty() {
        return Ok(());
    }
    let once = async || {
        let say = |line: &str| context.say(line);
        let output = kubectl(&context.paths)?
            .args([
                "apply",
                "--server-side",
                "--field-manager",
                FIELD_MANAGER,
                "-f",
                "-",
            ])
            .input(text.clone())
            .timeout(context.time_left())
            .on_line(&say)
            .run()
            .await?;
        if output.success() {
            return Ok(Ok(()));
        }
        let problem = Problem::new("manifests-refused", output.tail(8).join(" | "))
            .at(names(manifests))
            .next("correct the manifest and apply the cluster file again");
        match output.stderr.contains("no matches for kind") {
            true => Err(problem),
            false => Ok(Err(problem)),
        }
    };
    until(
        context,
        "the manifests' kinds to be known",
        KINDS_KNOWN_WITHIN,
        once,
    )
    .await?
}

async fn wait(context: &Context, rollout: &Rollout, end: Instant) -> Result<(), Problem> {
    let left = end
        .saturating_duration_since(Instant::now())
        .min(context.time_left());
    if left.is_zero() {
        return Ok(());
    }
    let seconds = left.as_secs().max(1);
    let output = kubectl(&context.paths)?
        .args([
            "rollout",
            "status",
            &rollout.object,
            "--namespace",
            &rollout.namespace,
        ])
        .arg(format!("--timeout={seconds}s"))
        .timeout(left + Duration::from_secs(5))
        .run()
        .await?;
    if output.success() {
        return Ok(());
    }
    Err(Problem::new(
        "rollout-incomplete",
        format!("{} has not rolled out within {seconds} s", rollout.object),
    )
    .at(format!("namespace {}", rollout.namespace))
    .because(output.tail(2).join(" | "))
    .next(format!(
        "kubectl -n {} describe {}; the order waits anew when it is run again",
        rollout.namespace, rollout.object
    )))
}

#[derive(Debug, PartialEq, Eq)]
struct Rollout {
    /// `deployment/name`.
    object: String,
    namespace: String,
}

/// Everything in the manifests that rolls out.
fn rollouts(manifests: &[Manifest]) -> Result<Vec<Rollout>, Problem> {
    let mut found = Vec::new();
    for manifest in manifests {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&manifest.yaml).map_err(|error| {
                Problem::new("manifests-refused", format!("not YAML: {error}")).at(&manifest.name)
            })?;
        for document in &documents {
            match document["items"].as_array() {
                Some(items) => found.extend(items.iter().filter_map(rollout)),
                None => found.extend(rollout(document)),
            }
        }
    }
    Ok(found)
}

fn rollout(object: &Value) -> Option<Rollout> {
    let kind = match object["kind"].as_str()? {
        "Deployment" => "deployment",
        "DaemonSet" => "daemonset",
        "StatefulSet" if object["spec"]["updateStrategy"]["type"] != "OnDelete" => "statefulset",
        _ => return None,
    };
    let metadata = &object["metadata"];
    Some(Rollout {
        object: format!("{kind}/{}", metadata["name"].as_str()?),
        namespace: metadata["namespace"]
            .as_str()
            .unwrap_or("default")
            .to_owned(),
    })
}

fn names(manifests: &[Manifest]) -> String {
    let names: Vec<&str> = manifests
        .iter()
        .map(|manifest| manifest.name.as_str())
        .collect();
    names.join(", ")
}

/// All of them at once, results in order.
async fn join_all<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = all.into_iter().map(Box::pin).map(Some).collect();
    let mut results: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (slot, result) in pending.iter_mut().zip(&mut results) {
            if let Some(future) = slot
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *result = Some(value);
                *slot = None;
            }
        }
        match pending.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_rolls_out() {
        let yaml = "
kind: Deployment
metadata: {name: a}
---
kind: List
items:
- {kind: DaemonSet, metadata: {name: b, namespace: kube-system}}
- {kind: Service, metadata: {name: c}}
---
kind: StatefulSet
metadata: {name: d}
spec: {updateStrategy: {type: OnDelete}}
---
";
        let manifests = [Manifest {
            name: "x.yaml".to_owned(),
            yaml: yaml.to_owned(),
        }];
        let found = rollouts(&manifests).unwrap();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|it| (it.object.as_str(), it.namespace.as_str()))
            .collect();
        assert_eq!(
            found,
            [("deployment/a", "default"), ("daemonset/b", "kube-system")]
        );
    }

    #[test]
    fn names_the_manifest_that_is_not_yaml() {
        let manifests = [Manifest {
            name: "x.yaml".to_owned(),
            yaml: "a: [".to_owned(),
        }];
        assert_eq!(rollouts(&manifests).unwrap_err().r#where, "x.yaml");
    }
}
