//! What the agent sees of its machine and of the local cluster member. Read only, bounded in time.
//!
//! - [`host`]: the machine itself; [`etcd`], [`kube`], [`load_balancer`]: the local part of the cluster.
//!   Absent means unknown, and unknown is unsafe.

pub mod etcd;
pub mod host;
pub mod kube;
pub mod load_balancer;

use crate::journal::now_ms;
use crate::marks;
use crate::paths::Paths;
use quorate_proto::v1::NodeReport;

pub async fn report(paths: &Paths, sequence: u64) -> NodeReport {
    let marks = match marks::load(paths) {
        Ok(marks) => Some(marks),
        Err(problem) => {
            tracing::warn!(%problem, "the node's marks are unknown");
            None
        }
    };
    let known = marks.clone().unwrap_or_default();
    let (host, etcd, kube, load_balancer) = tokio::join!(
        host::facts(paths),
        etcd::view(paths, &known),
        kube::view(paths, &known),
        load_balancer::view(paths, &known),
    );
    NodeReport {
        sequence,
        unix_ms: now_ms(),
        host: Some(host),
        marks,
        etcd,
        kube,
        load_balancer,
        ..NodeReport::default()
    }
}
