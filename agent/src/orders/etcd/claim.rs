//! A node belongs to one cluster.

use crate::context::Context;
use crate::marks;
use quorate_proto::v1::Problem;

/// Marks this node as the order's cluster's, before anything is written for it.
pub fn claim(context: &Context) -> Result<(), Problem> {
    let wanted = &context.cluster()?.id;
    let present = marks::load(&context.paths)?.cluster_id;
    if present == *wanted {
        return Ok(());
    }
    if !present.is_empty() {
        return Err(Problem::new(
            "node-occupied",
            format!("this node belongs to cluster {present}"),
        )
        .next("remove it from its cluster first; that resets the node"));
    }
    marks::update(&context.paths, |marks| marks.cluster_id.clone_from(wanted))
}

/// For orders that only go on with what an earlier one began.
pub fn require(context: &Context) -> Result<(), Problem> {
    if marks::load(&context.paths)?.cluster_id == context.cluster()?.id {
        return Ok(());
    }
    Err(Problem::new(
        "not-prepared",
        "this node has not been prepared for the cluster",
    )
    .because("an earlier step is missing, or the node was reset meanwhile")
    .next("plan again: the missing step is then ordered"))
}
