//! Declares a dead node out of service, and takes that back. Run on a control plane, for another node.

use super::claim;
use crate::context::{Context, Done, Outcome};
use crate::kube::api::Api;
use crate::kube::objects::life;
use quorate_proto::v1::{Problem, TaintNode, UntaintNode};

/// Controllers write to a Node as well; each collision costs one more try.
const ATTEMPTS: usize = 10;

/// Pods are freed that would run twice if the node lived: the last look at its lease is taken here.
pub async fn taint(context: &Context, order: &TaintNode) -> Done {
    claim::require(context)?;
    let mut api = Api::new(&context.paths)?;
    let path = life::node_path(&order.name);
    for _ in 0..ATTEMPTS {
        let Some(node) = api.get(&path).await? else {
            context.say(format!("there is no node {}", order.name));
            return Ok(Outcome::done());
        };
        let Some(patch) = life::taint(&node) else {
            return Ok(Outcome::done());
        };
        let lease = api.get(&life::lease_path(&order.name)).await?;
        let renewed = lease.as_ref().and_then(life::renewed_us);
        if renewed != Some(order.lease_unix_us) {
            return Err(alive(&order.name, renewed.is_some()));
        }
        if api.merge(&path, &patch).await?.is_some() {
            return Ok(Outcome::done());
        }
    }
    Err(collided(&path))
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
