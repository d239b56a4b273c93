//! Stops all that this node runs of its cluster, and starts it again. Unlike a reset, nothing is removed: what is stopped is only not
//! started, neither by hand nor at boot.
//!
//! - [`etcd`], [`kubeadm`], [`balancer`]: what there is to stop; [`containers`]: those that a stopped kubelet leaves behind.

mod balancer;
mod containers;
mod etcd;
mod kubeadm;

use super::distribution;
use crate::context::{Context, Done, Outcome};
use crate::host::service;
use crate::marks;
use quorate_proto::v1::{Distribution, Problem, StopNode};

pub async fn stop(context: &Context, order: &StopNode) -> Done {
    let (cluster, node) = (context.cluster()?, context.node()?);
    context.say(format!("stopping this node: {}", order.reason));
    if node.load_balancer {
        balancer::stop(context).await?;
    }
    if node.member || node.worker {
        match distribution(context)? {
            Distribution::Kubeadm => kubeadm::stop(context).await?,
            Distribution::Etcd => etcd::stop(context).await?,
            Distribution::Unspecified => {}
        }
    }
    // Last, so that a stop that was cut short is still seen as a node that runs.
    marks::update(&context.paths, |marks| {
        marks.stopped.clone_from(&cluster.id)
    })?;
    Ok(Outcome::done())
}

pub async fn start(context: &Context) -> Done {
    let node = context.node()?;
    if node.member || node.worker {
        match distribution(context)? {
            Distribution::Kubeadm => kubeadm::start(context).await?,
            Distribution::Etcd => etcd::start(context).await?,
            Distribution::Unspecified => {}
        }
    }
    if node.load_balancer {
        balancer::start(context).await?;
    }
    // Last: what was cut short is gone on with.
    marks::update(&context.paths, |marks| marks.stopped.clear())?;
    Ok(Outcome::done())
}

/// Down, and not up again with the machine.
async fn keep_down(unit: &str) -> Result<(), Problem> {
    service::stop(unit).await?;
    if service::property(unit, "LoadState").await? == "loaded" {
        service::disable(unit).await?;
    }
    Ok(())
}
