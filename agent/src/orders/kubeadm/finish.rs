//! Waits until a joined control plane serves, and marks its Node as kubeadm does. Does not wait for the Node to be Ready:
//! the network may be brought by the first manifests, later.

use super::config::Config;
use super::init::{mark_member, start_controllers};
use super::{claim, kubelet, ready};
use crate::context::{Context, Done, Outcome};
use crate::marks;
use quorate_proto::v1::FinishMember;

pub async fn run(context: &Context, action: &FinishMember) -> Done {
    claim::require(context)?;
    let config = Config::build(context.cluster()?, context.node()?)?;
    ready::api(context).await?;
    context.say("the API server of this node is ready");
    tokio::try_join!(start_controllers(context, &config), async {
        kubelet::freshen(context).await?;
        ready::registered(context).await?;
        mark_member(context, &config).await
    })?;
    ready::kubelet(context).await?;
    marks::update(&context.paths, |marks| {
        marks.finished = action.digest.clone();
    })?;
    Ok(Outcome::done())
}
