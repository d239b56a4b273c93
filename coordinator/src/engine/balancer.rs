//! The whole configuration of a managed load balancer. While the endpoint moves it serves the old and the new one.

use super::records::ClusterRecord;
use super::wants;
use crate::spec::SpecNode;
use crate::spec::file::Target;
use quorate_planner::endpoint::{Address, Rotation, Stage};
use quorate_planner::intent::NodeName;
use quorate_proto::v1::{Backend, ConfigureLoadBalancer, Frontend, HealthCheck};
use std::collections::BTreeSet;

/// Name of the front end of the API (or of etcd's client port).
pub const API: &str = "api";

/// With these members behind the API's front ends.
pub fn action(
    record: &ClusterRecord,
    node: &str,
    members: &BTreeSet<NodeName>,
) -> ConfigureLoadBalancer {
    let spec = &record.spec;
    let backend = |node: &SpecNode, port: u32| Backend {
        name: node.config.name.clone(),
        address: node.config.address.clone(),
        port,
    };
    let api_port = u32::from(spec.api_port());
    let backends: Vec<Backend> = spec
        .members()
        .filter(|node| members.contains(&NodeName(node.config.name.clone())))
        .map(|node| backend(node, api_port))
        .collect();
    let api = api_names(record, node)
        .into_iter()
        .map(|(port, name)| Frontend {
            name,
            port: port.into(),
            backends: backends.clone(),
            check: if spec.is_kubeadm() {
                HealthCheck::Readyz
            } else {
                HealthCheck::Etcd
            } as i32,
        });
    let extra = spec.frontends.iter().map(|frontend| Frontend {
        name: frontend.name.clone(),
        port: frontend.port.into(),
        backends: spec
            .nodes
            .iter()
            .filter(|node| match frontend.to {
                Target::ControlPlanes => node.config.member,
                Target::Workers => node.config.worker,
                Target::All => node.config.member || node.config.worker,
            })
            .filter(|node| !goes(record, node, members))
            .map(|node| backend(node, frontend.backend_port.into()))
            .collect(),
        check: HealthCheck::Tcp as i32,
    });
    let mut action = ConfigureLoadBalancer {
        digest: String::new(),
        frontends: api.chain(extra).collect(),
        stats_port: spec.stats_port.into(),
    };
    action.digest = wants::digest(&action).0;
    action
}

/// With its pods, or with its place in the API's front ends.
fn goes(record: &ClusterRecord, node: &SpecNode, members: &BTreeSet<NodeName>) -> bool {
    let name = NodeName(node.config.name.clone());
    let leaves = record.leaving.as_ref().is_some_and(|it| it.node == name);
    leaves && !(node.config.member && members.contains(&name))
}

/// Ports under which this load balancer serves the API, in ascending order: a front end keeps its name as long as the ports stay.
fn api_ports(record: &ClusterRecord, node: &str) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    if !serves_api(record, node) {
        return ports;
    }
    ports.insert(wants::address(record.spec.cluster.endpoint.as_ref()).port);
    if let Some(rotation) = &record.rotation {
        ports.insert(rotation.target.port);
        if let Some(other) = &rotation.other
            && rotation.stage < Stage::Retire
        {
            ports.insert(other.port);
        }
    }
    ports
}

/// The name of the front end of each port, as [`action`] gives it.
fn api_names(record: &ClusterRecord, node: &str) -> Vec<(u16, String)> {
    let ports = api_ports(record, node).into_iter().enumerate();
    let name = |at: usize, port: u16| match at {
        0 => API.to_owned(),
        _ => format!("{API}-{port}"),
    };
    ports.map(|(at, port)| (port, name(at, port))).collect()
}

/// Front ends through which only the address that goes is reached: all of a machine that retires, or those of its port.
pub fn leaving_frontends(record: &ClusterRecord, node: &str) -> BTreeSet<String> {
    let Some((rotation, other)) = record
        .rotation
        .as_ref()
        .and_then(|it| Some((it, it.other.as_ref()?)))
    else {
        return BTreeSet::new();
    };
    let retires = retired_after(record, rotation).contains(node);
    api_names(record, node)
        .into_iter()
        .filter(|(port, _)| retires || (*port == other.port && *port != rotation.target.port))
        .map(|(_, name)| name)
        .collect()
}

pub fn serves_api(record: &ClusterRecord, node: &str) -> bool {
    let at_rest = !record.retired.contains(node);
    match &record.rotation {
        None => at_rest,
        Some(rotation) => {
            let afterwards = !retired_after(record, rotation).contains(node);
            let until_then = at_rest || is_served_by(record, node, rotation);
            afterwards || (until_then && rotation.stage < Stage::Retire)
        }
    }
}

/// Load balancers that the address names.
fn named(record: &ClusterRecord, address: &Address) -> BTreeSet<String> {
    let nodes = record.spec.nodes.iter();
    nodes
        .filter(|node| node.config.load_balancer)
        .filter(|node| [&node.config.address, &node.config.name].contains(&&address.host))
        .map(|node| node.config.name.clone())
        .collect()
}

/// Whether clients of the address that goes may come through this load balancer: a rotation that is turned round may leave one
/// that had been retired before.
fn is_served_by(record: &ClusterRecord, node: &str, rotation: &Rotation) -> bool {
    match &rotation.other {
        Some(other) if !rotation.other_external => {
            let named = named(record, other);
            named.is_empty() || named.contains(node)
        }
        Some(_) | None => false,
    }
}

/// Load balancers without the API once the rotation is complete: the machine that the old address names, or all when the new
/// address is somebody else's. A name that is no machine's may lead to any of them.
pub fn retired_after(record: &ClusterRecord, rotation: &Rotation) -> BTreeSet<String> {
    let balancers = || record.spec.nodes.iter().filter(|n| n.config.load_balancer);
    let name = |node: &SpecNode| node.config.name.clone();
    if rotation.external {
        return balancers().map(name).collect();
    }
    let Some(other) = &rotation.other else {
        return record.retired.clone();
    };
    let (old, new) = (named(record, other), named(record, &rotation.target));
    if new.is_empty() {
        return old;
    }
    let retired: BTreeSet<String> = record.retired.union(&old).cloned().collect();
    retired.difference(&new).cloned().collect()
}
