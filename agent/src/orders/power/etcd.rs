//! A member of an etcd cluster of its own. Asked to end, etcd hands leadership on by itself where there is anybody to take it.

use crate::context::Context;
use crate::host::service;
use crate::orders::etcd::{claim, health, unit};
use quorate_proto::v1::Problem;
use std::time::{Duration, Instant};

/// One that has others to talk to answers within seconds. Longer is not waited for: it may be the first of them to start.
const SHOWS_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(500);

pub async fn stop(context: &Context) -> Result<(), Problem> {
    claim::require(context)?;
    context.say("stopping etcd");
    super::keep_down(unit::NAME).await
}

pub async fn start(context: &Context) -> Result<(), Problem> {
    claim::require(context)?;
    context.say("starting etcd");
    service::reset_failed(unit::NAME).await?;
    unit::start(&context.paths).await?;
    let client = health::client(context)?;
    let since = Instant::now();
    while since.elapsed() < SHOWS_WITHIN && client.status().await.is_err() {
        if let Some(failure) = unit::failure().await? {
            return Err(failure);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
