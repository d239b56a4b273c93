//! Labels, taints and zone of one node, and its removal from the API. Run on a member, for any node of the cluster.

use super::{claim, labels, ready};
use crate::context::{Context, Done, Outcome};
use crate::kube::api::Api;
use crate::marks;
use quorate_proto::v1::{ConfigureNode, DeleteNode, Problem};

/// Kubelet and controllers write to a Node as well; each collision costs one more try.
const ATTEMPTS: usize = 10;

pub async fn configure(context: &Context, action: &ConfigureNode) -> Done {
    claim::require(context)?;
    let target = action.target.as_ref().ok_or_else(|| {
        Problem::new("order-malformed", "the order names no node to configure")
            .because("coordinator and agent of different versions")
    })?;
    let path = ready::node_path(&target.name);
    let mut api = Api::new(&context.paths)?;
    for _ in 0..ATTEMPTS {
        let node = api.get(&path).await?.ok_or_else(|| {
            Problem::new("node-missing", format!("there is no node {}", target.name))
                .because("its kubelet has not registered it yet")
        })?;
        let settled = match labels::patch(&node, target) {
            None => true,
            Some(patch) => api.merge(&path, &patch).await?.is_some(),
        };
        if settled {
            marks::update(&context.paths, |marks| {
                let nodes = &mut marks.configured_nodes;
                nodes.insert(target.name.clone(), action.digest.clone());
            })?;
            return Ok(Outcome::done());
        }
    }
    Err(Problem::new("api-refused", "the Node was changed by others at each try").at(path))
}

pub async fn delete(context: &Context, action: &DeleteNode) -> Done {
    claim::require(context)?;
    let mut api = Api::new(&context.paths)?;
    if !api.delete(&ready::node_path(&action.name)).await? {
        context.say(format!("node {} is gone already", action.name));
    }
    marks::update(&context.paths, |marks| {
        marks.configured_nodes.remove(&action.name);
    })?;
    Ok(Outcome::done())
}
