//! A node of Kubernetes: first the kubelet, which would start anew what ends, then its containers.

use super::containers::{self, Stage};
use crate::context::Context;
use crate::host::service;
use crate::orders::kubeadm::{claim, kubelet, ready};
use quorate_proto::v1::Problem;

pub const CONTAINERD: &str = "containerd.service";

pub async fn stop(context: &Context) -> Result<(), Problem> {
    claim::require(context)?;
    context.say("stopping the kubelet");
    super::keep_down(kubelet::UNIT).await?;
    if service::active_state(CONTAINERD).await? != "active" {
        context.say("containerd does not run, and so nothing else does");
        return Ok(());
    }
    for stage in Stage::ALL {
        containers::end(context, stage).await?;
    }
    Ok(())
}

/// The kubelet starts what is to run here: a control plane's own pods from its manifests, all others once an API server answers.
pub async fn start(context: &Context) -> Result<(), Problem> {
    claim::require(context)?;
    context.say("starting the kubelet");
    service::start(CONTAINERD).await?;
    service::enable(kubelet::UNIT).await?;
    service::reset_failed(kubelet::UNIT).await?;
    service::start(kubelet::UNIT).await?;
    ready::kubelet(context).await
}
