//! Moves a cluster to another endpoint: one file an order.
//!
//! - [`cluster`]: the cluster's objects; [`node`]: a node's files and its kubelet, [`files`]: which of them (pure);
//! - [`proxy`]: kube-proxy on some nodes.

pub mod cluster;
mod files;
pub mod node;
pub mod proxy;
#[cfg(test)]
mod tests;

use crate::kube::carrier::{Place, text};
use quorate_proto::v1::{Endpoint, Problem};

fn place(endpoint: Option<&Endpoint>) -> Result<Option<Place>, Problem> {
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let port = u16::try_from(endpoint.port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| {
        Problem::new(
            "order-malformed",
            format!("{} is no port of an endpoint", endpoint.port),
        )
        .because("coordinator and agent of different versions")
    })?;
    Ok(Some((endpoint.host.clone(), port)))
}

fn required(endpoint: Option<&Endpoint>) -> Result<Place, Problem> {
    place(endpoint)?.ok_or_else(|| {
        Problem::new("order-malformed", "the order names no endpoint")
            .because("coordinator and agent of different versions")
    })
}

/// As kubeconfigs have it.
fn url(place: &Place) -> String {
    format!("https://{}", text(place))
}
