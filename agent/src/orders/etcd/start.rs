//! Not built in yet: refuses the order.

use crate::context::{Context, Done};
use quorate_proto::v1::{Problem, StartMember};

pub async fn run(_context: &Context, _action: &StartMember) -> Done {
    Err(Problem::new(
        "not-built-in",
        "this build of the agent cannot carry out the order StartMember",
    ))
}
