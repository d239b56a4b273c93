//! Members of an etcd cluster of its own, from Debian's etcd-server package: one file an order.
//!
//! - [`claim`]: one node, one cluster; [`authority`], [`certificates`]: the cluster's own CA and what it signs for each member;
//! - [`environment`]: etcd's options (pure); [`unit`]: its systemd unit; [`data`]: whose data lies in the data folder;
//! - [`health`]: waiting until the member serves; [`recover`]: a cluster of one from what this member holds.

pub mod authority;
pub mod certificates;
pub mod claim;
pub mod data;
pub mod environment;
pub mod export;
pub mod finish;
pub mod health;
pub mod init;
pub mod prepare;
pub mod recover;
pub mod reset;
pub mod start;
pub mod stop;
#[cfg(test)]
mod tests;
pub mod unit;

use crate::context::Context;
use crate::paths::Paths;
use quorate_proto::v1::{ClusterConfig, NodeConfig, Problem};
use std::net::IpAddr;
use std::path::PathBuf;

/// Options and identity of the local member; etcd does not start without it.
fn environment_file(paths: &Paths) -> PathBuf {
    paths.at("/etc/quorate/etcd/etcd.env")
}

fn data_folder(paths: &Paths) -> PathBuf {
    paths.at(environment::DATA_FOLDER)
}

/// Cluster and node of the order, with the node's address as one: etcd listens on addresses only.
fn subject(context: &Context) -> Result<(&ClusterConfig, &NodeConfig, IpAddr), Problem> {
    let (cluster, node) = (context.cluster()?, context.node()?);
    let address = node.address.parse().map_err(|_| {
        Problem::new(
            "address-invalid",
            format!("{:?} is no IP address", node.address),
        )
        .at(format!("node {}", node.name))
        .because("etcd listens on addresses, not on names")
        .next("give the node's IP address in the cluster file")
    })?;
    Ok((cluster, node, address))
}
