//! Brings the cluster's objects to an endpoint and its names. kubeadm-config goes first: kubeadm's upgrade makes the others from it.

use super::{place, url};
use crate::context::{Context, Done, Outcome};
use crate::kube::api::Api;
use crate::kube::carrier::text;
use crate::kube::objects::{cluster_info, kube_proxy, kubeadm_config, tokens};
use crate::orders::kubeadm::claim;
use crate::orders::kubeadm::ready::until;
use crate::orders::kubeadm::token::TOKENS;
use jiff::Timestamp;
use quorate_proto::v1::{Problem, SetClusterEndpoint};
use serde_json::Value;
use std::time::Duration;

/// Others write to these objects rarely: each collision costs one more try.
const ATTEMPTS: usize = 10;
/// The controller manager signs at each change of the object or of a token; a new leader comes within 15 s.
const SIGNED_WITHIN: Duration = Duration::from_secs(60);

pub async fn run(context: &Context, order: &SetClusterEndpoint) -> Done {
    claim::require(context)?;
    let endpoint = place(order.endpoint.as_ref())?;
    let wanted = endpoint.as_ref().map(text);
    let mut api = Api::new(&context.paths)?;
    let found = update(&mut api, kubeadm_config::PATH, |object| {
        kubeadm_config::change(object, wanted.as_deref(), &order.names, &order.drop)
    })
    .await?;
    if !found {
        return Err(
            Problem::new("cluster-object", "the cluster has no kubeadm-config")
                .at(kubeadm_config::PATH)
                .because("it was deleted by hand: kubeadm can neither join nor upgrade without it")
                .next("upload it again with `kubeadm init phase upload-config kubeadm`"),
        );
    }
    if let Some(endpoint) = &endpoint {
        let server = url(endpoint);
        let info = |object: &Value| cluster_info::change(object, &server);
        // Some take it away on purpose, as it is readable by everybody; then nobody joins by token.
        if update(&mut api, cluster_info::PATH, info).await? {
            signed(context, &mut api).await?;
        }
        let proxy = |object: &Value| kube_proxy::change(object, &server);
        update(&mut api, kube_proxy::PATH, proxy).await?;
    }
    Ok(Outcome::done())
}

/// Changes the object to what is wanted, whoever changes it meanwhile. Returns whether it exists.
async fn update(
    api: &mut Api,
    path: &str,
    change: impl Fn(&Value) -> Result<Option<Value>, Problem>,
) -> Result<bool, Problem> {
    for _ in 0..ATTEMPTS {
        let Some(object) = api.get(path).await? else {
            return Ok(false);
        };
        let Some(patch) = change(&object)? else {
            return Ok(true);
        };
        if api.merge(path, &patch).await?.is_some() {
            return Ok(true);
        }
    }
    Err(Problem::new(
        "api-refused",
        "the object was changed by others at each try",
    )
    .at(path))
}

/// Until every token that signs has its signature on the new text: a join in between would wait, and then fail.
async fn signed(context: &Context, api: &mut Api) -> Result<(), Problem> {
    until(
        context,
        "signatures of cluster-info",
        SIGNED_WITHIN,
        async || {
            let list = api.get(TOKENS).await?.unwrap_or_default();
            let info = api.get(cluster_info::PATH).await?.unwrap_or_default();
            let signed = cluster_info::signed(&info);
            let mut wanted = tokens::signing(&list, Timestamp::now());
            wanted.retain(|id| !signed.contains(id));
            match wanted.is_empty() {
                true => Ok(()),
                false => Err(Problem::new(
                    "cluster-info-unsigned",
                    format!(
                        "{} bootstrap tokens have no signature: no kube-controller-manager leads",
                        wanted.len()
                    ),
                )
                .at(cluster_info::PATH)),
            }
        },
    )
    .await
}
