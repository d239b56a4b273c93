//! Declares a dead node out of service and frees its pods, and takes that back. Run on a control plane, for another node.

use super::claim;
use crate::context::{Context, Done, Outcome};
use crate::kube::api::Api;
use crate::kube::objects::{life, pods};
use jiff::Timestamp;
use quorate_proto::v1::{Problem, TaintNode, UntaintNode};

/// Controllers write to a Node as well; each collision costs one more try.
const ATTEMPTS: usize = 10;

/// Pods are freed that would run twice if the node lived: the last looks at its lease are taken here, the second one after the taint is
/// on. A kubelet that renews its lease after that look starts with the taint, and admits none of these pods.
pub async fn taint(context: &Context, order: &TaintNode) -> Done {
    claim::require(context)?;
    let mut api = Api::new(&context.paths)?;
    let path = life::node_path(&order.name);
    for _ in 0..ATTEMPTS {
        let Some(node) = api.get(&path).await? else {
            context.say(format!("there is no node {}", order.name));
            return Ok(Outcome::done());
        };
        still_dead(&mut api, order).await?;
        let Some(patch) = life::taint(&node) else {
            return free(context, &mut api, order).await;
        };
        if api.merge(&path, &patch).await?.is_some() {
            still_dead(&mut api, order).await?;
            return free(context, &mut api, order).await;
        }
    }
    Err(collided(&path))
}

async fn still_dead(api: &mut Api, order: &TaintNode) -> Result<(), Problem> {
    let lease = api.get(&life::lease_path(&order.name)).await?;
    let renewed = lease.as_ref().and_then(life::renewed_us);
    match renewed == Some(order.lease_unix_us) {
        true => Ok(()),
        false => Err(alive(&order.name, renewed.is_some())),
    }
}

/// Ends the node's pods as Kubernetes' garbage collector would: that one waits until the node is NotReady, most of a minute, and then
/// for its next round. Volumes are detached as soon as no pod of the node uses them, because of the taint.
async fn free(context: &Context, api: &mut Api, order: &TaintNode) -> Done {
    let pods = api.get(&life::pods_path(&order.name)).await?;
    let pods = pods.unwrap_or_default();
    let taint = life::out_of_service();
    let all = pods::to_free(&pods, &taint);
    let mut freed = 0;
    for pod in all.into_iter().filter(|pod| !pods::is_forced(pod)) {
        let Some(path) = pods::path(pod) else {
            continue;
        };
        if let Some(patch) = pods::failed(pod, &Timestamp::now().to_string()) {
            // Refused when it is gone or another one by now, which the deletion finds as well.
            if let Err(problem) = api.merge(&format!("{path}/status"), &patch).await {
                context.say(format!("the status of {path} was not written: {problem}"));
            }
        }
        freed += usize::from(api.delete_as(&path, &pods::deletion(pod)).await?);
    }
    context.say(format!("{freed} pods of {} were freed", order.name));
    Ok(Outcome::done())
}

pub async fn untaint(context: &Context, order: &UntaintNode) -> Done {
    claim::require(context)?;
    let mut api = Api::new(&context.paths)?;
    let path = life::node_path(&order.name);
    for _ in 0..ATTEMPTS {
        let node = api.get(&path).await?.unwrap_or_default();
        let Some(patch) = life::untaint(&node) else {
            return Ok(Outcome::done());
        };
        if api.merge(&path, &patch).await?.is_some() {
            return Ok(Outcome::done());
        }
    }
    Err(collided(&path))
}

fn alive(name: &str, has_lease: bool) -> Problem {
    let because = match has_lease {
        true => "its kubelet has renewed its lease since it was taken for dead",
        false => "its kubelet has no lease any more",
    };
    Problem::new(
        "node-alive",
        format!("{name} is not declared out of service"),
    )
    .at(name)
    .because(because)
}

fn collided(path: &str) -> Problem {
    Problem::new("api-refused", "the Node was changed by others at each try").at(path)
}

#[cfg(test)]
#[path = "out_of_service_tests.rs"]
mod tests;
