//! Waits until the new member serves: a linearizable read through it, and its health endpoint.

use super::{claim, health, unit};
use crate::context::{Context, Done, Outcome};
use crate::marks;
use quorate_proto::v1::FinishMember;

pub async fn run(context: &Context, order: &FinishMember) -> Done {
    claim::require(context)?;
    health::serves(context, &health::client(context)?).await?;
    unit::settle(&context.paths)?;
    marks::update(&context.paths, |marks| {
        marks.finished.clone_from(&order.digest);
    })?;
    Ok(Outcome::done())
}
