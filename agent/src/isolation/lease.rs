//! Renews the node's own lease, as its kubelet does and with its kubelet's certificate, while the coordinator is not heard of: so the
//! node knows for sure what others can see of it.

use crate::host::boot_clock;
use crate::kube::http::{Call, Connection, Content, Target};
use crate::kube::kubeconfig::Kubeconfig;
use crate::kube::objects::life;
use crate::orders::kubeadm::ready::kubelet_health;
use crate::paths::Paths;
use hyper::Method;
use jiff::Timestamp;
use quorate_pki::plain_https_client_config;
use quorate_proto::v1::Problem;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Returns when it was begun. `with_kubelet`: only if the kubelet is healthy, which else would not renew it either.
pub async fn renew(
    paths: &Paths,
    node: &str,
    with_kubelet: bool,
    within: Duration,
) -> Result<u64, Problem> {
    let begun_ms = boot_clock::now_ms();
    let renew = async {
        if with_kubelet {
            kubelet_health(within).await?;
        }
        ask(paths, node, within).await
    };
    match timeout(within, renew).await {
        Ok(renewed) => renewed.map(|()| begun_ms),
        Err(_) => Err(Problem::new(
            "lease-not-renewed",
            format!("no answer within {} ms", within.as_millis()),
        )
        .at("kubelet.conf")),
    }
}

async fn ask(paths: &Paths, node: &str, within: Duration) -> Result<(), Problem> {
    let config = Kubeconfig::read(&paths.kubernetes().join("kubelet.conf"))?;
    let (host, port) = config
        .endpoint()
        .ok_or_else(|| Problem::new("kubeconfig", "no server").at("kubelet.conf"))?;
    let pair = Some((config.certificate_pem.as_str(), config.key_pem.as_str()));
    let tls = plain_https_client_config(&config.authority_pem, pair)
        .map_err(|error| Problem::new("kubeconfig", error.to_string()).at("kubelet.conf"))?;
    let target = Target {
        host,
        port,
        tls: Arc::new(tls),
    };
    let mut connection = Connection::open(&target, within).await?;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let patch = json!({"spec": {"renewTime": now.to_string()}});
    let path = life::lease_path(node);
    let call = Call {
        method: Method::PATCH,
        body: Some((Content::MergePatch, patch.to_string().into_bytes().into())),
        ..Call::get(&path)
    };
    let answer = connection.call(call, within).await?;
    // Without a lease there is no Node, and without that there is no pod to be taken over.
    match answer.success() || answer.status == 404 {
        true => Ok(()),
        false => Err(Problem::new(
            "lease-not-renewed",
            format!("the API server answered {}", answer.status),
        )
        .at(target.url())),
    }
}
