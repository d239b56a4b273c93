//! Ends this node's etcd ahead of its removal, so that clients go elsewhere: etcd answers what is under way and tells open connections
//! to go. Its data, options and place in the member list stay: it could be started again as it was.

use super::{claim, unit};
use crate::context::{Context, Done, Outcome};
use crate::host::service;
use crate::orders::membership::{Via, remove};
use quorate_proto::v1::StopServing;

pub async fn run(context: &Context, order: &StopServing) -> Done {
    claim::require(context)?;
    context.say(format!("ending this node's etcd: {}", order.reason));
    // One that does not run, or does not come up, leads nobody.
    if !order.for_good && service::active_state(unit::NAME).await? == "active" {
        remove::give_up_leadership(&Via::local(context)?).await?;
    }
    service::stop(unit::NAME).await?;
    if order.for_good {
        service::disable(unit::NAME).await?;
    }
    Ok(Outcome::done())
}
