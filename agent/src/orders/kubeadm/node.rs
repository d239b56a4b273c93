//! Not built in yet: refuses the order.

use crate::context::{Context, Done};
use quorate_proto::v1::{ConfigureNode, DeleteNode, Problem};

pub async fn configure(_context: &Context, _action: &ConfigureNode) -> Done {
    Err(not_built_in("ConfigureNode"))
}

pub async fn delete(_context: &Context, _action: &DeleteNode) -> Done {
    Err(not_built_in("DeleteNode"))
}

fn not_built_in(order: &str) -> Problem {
    Problem::new(
        "not-built-in",
        format!("this build of the agent cannot carry out the order {order}"),
    )
}
