//! Objects of the cluster that hold its endpoint: how they are read, and what change brings them to another one. Pure.
//!
//! - [`kubeadm_config`], [`cluster_info`], [`kube_proxy`]: in the order in which an endpoint moves through them;
//! - [`outside`]: settings of others; [`tokens`]: which bootstrap tokens sign; [`serving_requests`]: what kubelets ask for;
//! - [`life`]: whether a node lives, and the taint of one that does not; [`pods`]: what is freed then.

pub mod cluster_info;
pub mod kube_proxy;
pub mod kubeadm_config;
pub mod life;
pub mod outside;
pub mod pods;
pub mod serving_requests;
pub mod tokens;

use quorate_proto::v1::Problem;
use serde_json::{Value, json};

/// A merge patch that is refused if the object has changed since it was read.
fn patch(object: &Value, data: Value) -> Value {
    json!({
        "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
        "data": data,
    })
}

fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["data"][key].as_str()
}

fn unusable(path: &str, reason: impl Into<String>) -> Problem {
    Problem::new(
        "cluster-object",
        format!("cannot use an object of the cluster: {}", reason.into()),
    )
    .at(path)
    .because("it was not written by kubeadm, or was edited by hand")
    .next("compare it with what `kubeadm init phase` writes, and correct it")
}
