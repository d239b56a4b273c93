//! What the agent sees of its machine and of the local cluster member. Read only, bounded in time.
//!
//! - [`host`]: the machine itself; [`etcd`], [`kube`], [`load_balancer`]: the local part of the cluster;
//!   [`suspects`]: nodes that have fallen silent; [`endpoint`]: what of the cluster's endpoint is here; [`certificates`]: what ends some day.
//!   Absent means unknown, and unknown is unsafe.

pub mod certificates;
pub mod endpoint;
pub mod etcd;
pub mod host;
pub mod kube;
pub mod load_balancer;
pub mod suspects;

use crate::isolation;
use crate::journal::now_ms;
use crate::kube::carrier::Place;
use crate::kube::kubeconfig::split_url;
use crate::marks;
use crate::orders::snapshot::shelf;
use crate::paths::Paths;
use quorate_proto::v1::{EtcdView, KubeView, NodeReport, Pace};
use tokio::sync::Mutex;

/// Observes one machine, and remembers from report to report what is costly to find out anew.
pub struct Observer {
    paths: Paths,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    endpoint: endpoint::Memory,
    certificates: certificates::Memory,
}

impl Observer {
    pub fn new(paths: Paths) -> Self {
        Observer {
            paths,
            memory: Mutex::default(),
        }
    }

    /// `pace` says what to look at and how soon the next report follows; `anew`: an order has just changed something here, and what is
    /// remembered of the cluster's objects is older.
    pub async fn report(&self, sequence: u64, pace: &Pace, anew: bool) -> NodeReport {
        let paths = &self.paths;
        // One report at a time; one that was given up has let go.
        let mut memory = self.memory.lock().await;
        if anew {
            memory.endpoint.forget_objects();
        }
        let marks = match marks::load(paths) {
            Ok(marks) => Some(marks),
            Err(problem) => {
                tracing::warn!(%problem, "the node's marks are unknown");
                None
            }
        };
        let known = marks.clone().unwrap_or_default();
        let certificates = memory.certificates.view(paths);
        let (host, mut etcd, mut kube, load_balancer, endpoint) = tokio::join!(
            host::facts(paths),
            etcd::view(paths, &known),
            kube::view(paths, &known),
            load_balancer::view(paths, &known),
            endpoint::view(paths, &known, pace, &mut memory.endpoint),
        );
        look_at_suspects(paths, &pace.suspects, &mut etcd, &mut kube).await;
        NodeReport {
            sequence,
            unix_ms: now_ms(),
            host: Some(host),
            marks,
            etcd,
            kube,
            load_balancer,
            endpoint: Some(endpoint),
            certificates,
            isolation: isolation::view(paths),
            snapshots: shelf::list(paths, &known.cluster_id),
        }
    }
}

/// On a control plane whose API answers; others cannot tell.
async fn look_at_suspects(
    paths: &Paths,
    suspects: &[String],
    etcd: &mut Option<EtcdView>,
    kube: &mut Option<KubeView>,
) {
    let (Some(etcd), Some(kube)) = (etcd, kube) else {
        return;
    };
    if suspects.is_empty() || !kube.api_ready {
        return;
    }
    let (lives, ()) = tokio::join!(suspects::lives(paths, suspects), suspects::peers(etcd));
    kube.lives = lives;
}

/// Where the member of an etcd cluster of its own answers clients, by its options.
fn etcd_address(paths: &Paths) -> Option<Place> {
    const OPTION: &str = "ETCD_ADVERTISE_CLIENT_URLS=";
    let options = std::fs::read_to_string(paths.at("/etc/quorate/etcd/etcd.env")).ok()?;
    let urls = options.lines().find_map(|line| line.strip_prefix(OPTION))?;
    split_url(urls.split(',').next()?)
}
