//! Takes the load balancer of a node that leaves down. HAProxy stays installed, without a configuration of ours.

use super::UNIT;
use super::render::FILE;
use crate::context::Context;
use crate::host::{files, service};
use crate::marks;
use quorate_proto::v1::Problem;

pub async fn run(context: &Context) -> Result<(), Problem> {
    let paths = &context.paths;
    if marks::load(paths)?.load_balancer.is_empty() {
        return Ok(()); // whatever runs there is not ours
    }
    context.say("taking this node's load balancer down");
    service::stop(UNIT).await?;
    if service::property(UNIT, "LoadState").await? == "loaded" {
        service::disable(UNIT).await?;
    }
    files::remove(&paths.at(FILE))?;
    // Last: what was cut short is gone on with.
    marks::update(paths, |marks| {
        marks.load_balancer.clear();
        marks.stopped.clear();
    })
}
