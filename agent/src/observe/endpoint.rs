//! What of the cluster's endpoint is on this node. Read only, bounded in time, and cheap: quick reports come twice a second.
//!
//! - [`carriers`]: files that name an API server; [`serving`]: what the local member presents;
//! - [`dials`]: connections from here to watched endpoints, [`sockets`]: the kernel's table of them (pure);
//! - [`objects`]: what the cluster's own objects hold.

mod carriers;
mod dials;
mod objects;
mod serving;
pub(crate) mod sockets;

use super::etcd_address;
use crate::kube::carrier::Place;
use crate::kube::own;
use crate::paths::Paths;
use dials::Dials;
use objects::Objects;
use quorate_proto::v1::{EndpointView, Marks, Pace, Problem};

/// What is remembered from report to report.
#[derive(Debug, Default)]
pub struct Memory {
    dials: Dials,
    objects: Objects,
}

impl Memory {
    pub fn forget_objects(&mut self) {
        self.objects = Objects::default();
    }
}

/// `None` never: a node without any part of the cluster may still dial its endpoint.
pub async fn view(paths: &Paths, marks: &Marks, pace: &Pace, memory: &mut Memory) -> EndpointView {
    let own = own::api_server(paths);
    let member = own.clone().or_else(|| etcd_address(paths));
    let (carriers, unreadable) = carriers::find(paths, own.as_ref(), &watched(pace));
    let (served, dials, objects) = tokio::join!(
        serving::view(member.as_ref()),
        memory.dials.count(paths, marks, pace, own.as_ref()),
        memory.objects.view(paths, own.is_some(), pace),
    );
    let (serving, silent) = match served {
        Ok(serving) => (serving, None),
        Err(problem) => (None, Some(problem)),
    };
    let (objects, unknown) = objects;
    EndpointView {
        carriers,
        serving,
        problem: first([unreadable, silent, unknown]),
        dials,
        objects,
    }
}

fn watched(pace: &Pace) -> Vec<Place> {
    let port = |port| u16::try_from(port).ok();
    pace.watch
        .iter()
        .filter_map(|it| Some((it.host.clone(), port(it.port)?)))
        .collect()
}

fn first(problems: [Option<Problem>; 3]) -> Option<Problem> {
    problems.into_iter().flatten().next()
}
