//! The load balancer: its configuration stays as it is.

use crate::context::Context;
use crate::host::service;
use crate::marks;
use crate::orders::load_balancer::UNIT;
use quorate_proto::v1::Problem;

pub async fn stop(context: &Context) -> Result<(), Problem> {
    if is_ours(context)? {
        context.say("stopping HAProxy");
        super::keep_down(UNIT).await?;
    }
    Ok(())
}

pub async fn start(context: &Context) -> Result<(), Problem> {
    if is_ours(context)? {
        context.say("starting HAProxy");
        service::enable(UNIT).await?;
        service::reset_failed(UNIT).await?;
        service::start(UNIT).await?;
    }
    Ok(())
}

/// Without our configuration, whatever runs there is not ours.
fn is_ours(context: &Context) -> Result<bool, Problem> {
    Ok(!marks::load(&context.paths)?.load_balancer.is_empty())
}
