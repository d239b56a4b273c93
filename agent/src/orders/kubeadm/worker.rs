//! Joins a worker: `kubeadm join` through the endpoint, with the token in a file that is gone afterwards.

use super::config::Config;
use super::layout::{BOOTSTRAP_KUBELET, Layout};
use super::phase::kubeadm;
use super::{CRI_SOCKET, claim, ready, remains};
use crate::context::{Context, Done, Outcome};
use crate::host::files;
use crate::kube::http::{Answer, Call, Connection, Content, Target};
use crate::kube::kubeconfig::Kubeconfig;
use crate::marks;
use hyper::Method;
use quorate_proto::v1::{JoinWorker, Problem};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// One call through the endpoint.
const ANSWER: Duration = Duration::from_secs(10);

pub async fn run(context: &Context, action: &JoinWorker) -> Done {
    let layout = Layout::of(&context.paths);
    claim::claim(context)?;
    let kubelet_conf = layout.kubernetes("kubelet.conf");
    let done = marks::load(&context.paths)?.worker == action.digest && kubelet_conf.exists();
    if !done && !went_through(context).await? {
        let began = [
            &kubelet_conf,
            &layout.kubernetes(BOOTSTRAP_KUBELET),
            &layout.pki().join("ca.crt"),
        ]
        .iter()
        .any(|file| file.exists());
        if began {
            context.say("an earlier join stopped half-way: taking it back first");
            remains::take_back(context).await?;
        }
        let config = Config::build(context.cluster()?, context.node()?)?;
        let material = context.material()?;
        let text = config.for_join(&material.token, &material.ca_hashes);
        kubeadm(context, &["join"], &text).await?;
    }
    marks::update(&context.paths, |marks| {
        marks.worker = action.digest.clone();
    })?;
    Ok(Outcome::done())
}

/// Whether an earlier join got as far as a registered Node; then only kubeadm's last touches are missing.
/// Joining again would be refused then, as a Node of this name is there and Ready.
async fn went_through(context: &Context) -> Result<bool, Problem> {
    let layout = Layout::of(&context.paths);
    let Some(target) = kubelet_target(&layout) else {
        return Ok(false);
    };
    if ready::kubelet_health(ANSWER).await.is_err() {
        return Ok(false);
    }
    let path = ready::node_path(&context.node()?.name);
    let patch = json!({"metadata": {"annotations": {"kubeadm.alpha.kubernetes.io/cri-socket": CRI_SOCKET}}});
    let call = Call {
        method: Method::PATCH,
        body: Some((Content::MergePatch, patch.to_string().into())),
        ..Call::get(&path)
    };
    let answer = Connection::open(&target, ANSWER)
        .await?
        .call(call, ANSWER)
        .await?;
    if !accepted(&answer)? {
        return Ok(false);
    }
    files::remove(&layout.kubernetes(BOOTSTRAP_KUBELET))?;
    Ok(true)
}

/// The kubelet as itself, if it has got so far.
pub fn kubelet_target(layout: &Layout<'_>) -> Option<Target> {
    let kubelet = Kubeconfig::read(&layout.kubernetes("kubelet.conf")).ok()?;
    let (host, port) = kubelet.endpoint()?;
    let pair = Some((kubelet.certificate_pem.as_str(), kubelet.key_pem.as_str()));
    let config = quorate_pki::plain_https_client_config(&kubelet.authority_pem, pair).ok()?;
    Some(Target {
        host,
        port,
        tls: Arc::new(config),
    })
}

/// No such Node, or a kubelet that this cluster does not know: the join did not go through.
fn accepted(answer: &Answer) -> Result<bool, Problem> {
    match answer.status {
        200..=299 => Ok(true),
        401 | 403 | 404 => Ok(false),
        status => Err(Problem::new(
            "api-refused",
            format!("the API server answered {status} when asked for this node"),
        )
        .because("the control plane is not healthy")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_join_that_went_through() {
        let answer = |status| Answer {
            status,
            body: bytes::Bytes::new(),
        };
        for (status, expected) in [
            (200, Some(true)),
            (401, Some(false)),
            (403, Some(false)),
            (404, Some(false)),
            (500, None),
        ] {
            assert_eq!(accepted(&answer(status)).ok(), expected, "{status}");
        }
    }
}
