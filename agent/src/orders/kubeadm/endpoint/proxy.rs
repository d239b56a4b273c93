//! kube-proxy reads its kubeconfig at its start only: its pods on some nodes are made anew, and the template says what for.

use super::required;
use crate::context::{Context, Done, Outcome};
use crate::kube::api::Api;
use crate::kube::carrier::text;
use crate::kube::objects::kube_proxy::{self, DAEMON_SET, PODS, Pod};
use crate::orders::kubeadm::claim;
use crate::orders::kubeadm::ready::until;
use quorate_proto::v1::{Problem, RestartKubeProxy};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The controller notices a changed template within a moment, unless no controller manager leads.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
const POD: &str = "/api/v1/namespaces/kube-system/pods";

pub async fn run(context: &Context, order: &RestartKubeProxy) -> Done {
    claim::require(context)?;
    let wanted = text(&required(order.endpoint.as_ref())?);
    let mut api = Api::new(&context.paths)?;
    let Some(present) = api.get(DAEMON_SET).await? else {
        context.say("this cluster has no kube-proxy");
        return Ok(Outcome::done());
    };
    if kube_proxy::template(&present) != wanted {
        let patch = kube_proxy::template_patch(&wanted);
        api.merge(DAEMON_SET, &patch).await?;
    }
    noticed(context, &mut api, &wanted).await?;
    replaced(context, &mut api, &wanted, &order.nodes).await?;
    Ok(Outcome::done())
}

/// Until the controller works by the new template: from the old one it would make pods of the old kind.
async fn noticed(context: &Context, api: &mut Api, wanted: &str) -> Result<(), Problem> {
    until(
        context,
        "the controller of kube-proxy",
        NOTICED_WITHIN,
        async || {
            let present = api.get(DAEMON_SET).await?.unwrap_or_default();
            let seen = present["status"]["observedGeneration"].as_i64();
            let current = present["metadata"]["generation"].as_i64();
            match kube_proxy::template(&present) == wanted && seen >= current {
                true => Ok(()),
                false => Err(Problem::new(
                    "daemon-set-unnoticed",
                    "kube-proxy's new template is not noticed: no kube-controller-manager leads",
                )
                .at(DAEMON_SET)),
            }
        },
    )
    .await
}

async fn replaced(
    context: &Context,
    api: &mut Api,
    wanted: &str,
    nodes: &[String],
) -> Result<(), Problem> {
    let mut deleted: BTreeSet<String> = BTreeSet::new();
    until(context, "kube-proxy", context.time_left(), async || {
        let list = api.get(PODS).await?.unwrap_or_default();
        let (old, waiting) = judge(&list, wanted, nodes);
        for pod in old {
            if deleted.insert(pod.name.clone()) {
                context.say(format!("kube-proxy on {} starts anew", pod.node));
                api.delete(&format!("{POD}/{}", pod.name)).await?;
            }
        }
        match waiting.is_empty() {
            true => Ok(()),
            false => Err(Problem::new(
                "kube-proxy-not-ready",
                format!(
                    "no ready kube-proxy with this configuration on {}",
                    waiting.join(", ")
                ),
            )),
        }
    })
    .await
}

/// Pods to delete, and nodes without a ready one of the new kind.
fn judge(list: &Value, wanted: &str, nodes: &[String]) -> (Vec<Pod>, Vec<String>) {
    let pods = kube_proxy::pods(list);
    let ready = kube_proxy::ready_by_node(
        &pods
            .iter()
            .filter(|pod| pod.endpoint == wanted)
            .cloned()
            .collect::<Vec<_>>(),
    );
    let waiting = nodes.iter().filter(|node| !ready.contains_key(*node));
    let waiting = waiting.cloned().collect();
    let old = pods
        .into_iter()
        .filter(|pod| nodes.contains(&pod.node) && pod.endpoint != wanted && !pod.ending)
        .collect();
    (old, waiting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn which_pods_go_and_which_nodes_wait() {
        let pod = |name: &str, node: &str, endpoint: &str, ready: &str, ending: bool| {
            json!({
                "metadata": {"name": name, "annotations": {kube_proxy::ANNOTATION: endpoint},
                    "deletionTimestamp": ending.then_some("2026-11-21T00:00:00Z")},
                "spec": {"nodeName": node},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let list = json!({"items": [
            pod("old", "n1", "a:1", "True", false),
            pod("ending", "n2", "a:1", "True", true),
            pod("new", "n2", "b:1", "True", false),
            pod("starting", "n3", "b:1", "False", false),
            pod("elsewhere", "n4", "a:1", "True", false),
        ]});
        let nodes = ["n1", "n2", "n3", "n5"].map(str::to_owned);
        let (old, waiting) = judge(&list, "b:1", &nodes);
        let old: Vec<&str> = old.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(old, ["old"]);
        assert_eq!(waiting, ["n1", "n3", "n5"]);
    }
}
