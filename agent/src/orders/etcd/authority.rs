//! Makes the cluster's certificate authority on its first member. Its key leaves this node only sealed, for other members.

use super::certificates;
use super::claim::claim;
use crate::context::{Context, Done, Outcome};
use crate::marks;
use quorate_proto::v1::CreateAuthority;

pub async fn run(context: &Context, order: &CreateAuthority) -> Done {
    claim(context)?;
    let cluster = context.cluster()?;
    if certificates::load(&context.paths, cluster)?.is_none() {
        context.say("making the cluster's certificate authority");
        certificates::create(&context.paths, cluster)?;
    }
    marks::update(&context.paths, |marks| {
        marks.authority.clone_from(&order.digest);
    })?;
    Ok(Outcome::done())
}
