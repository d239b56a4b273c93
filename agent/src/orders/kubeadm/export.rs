//! Hands out what another node needs to join, in the sealed part of the result and nowhere else.

use super::layout::Layout;
use super::ready::until;
use super::token::{self, SECRETS, TOKENS, Token};
use super::{claim, pki};
use crate::context::{Context, Done, Outcome};
use crate::host::files;
use crate::kube::api::Api;
use quorate_pki::spki_pin_of_cert_pem;
use quorate_proto::v1::{ExportJoinMaterial, JoinMaterial, Problem};
use std::time::Duration;

const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
/// The controller manager signs within a second. Without its signature a joiner asks again every 5 s, which is no failure.
const SIGNED_WITHIN: Duration = Duration::from_secs(10);

pub async fn run(context: &Context, action: &ExportJoinMaterial) -> Done {
    claim::require(context)?;
    let layout = Layout::of(&context.paths);
    let authority = files::read_text(&layout.pki().join("ca.crt"))?;
    let pin = spki_pin_of_cert_pem(&authority)
        .map_err(|error| Problem::new("authority", error.to_string()).at("ca.crt"))?;
    let mut material = JoinMaterial {
        ca_hashes: vec![pin],
        ..JoinMaterial::default()
    };
    if action.member {
        let shared = pki::shared(&layout)?.ok_or_else(|| {
            Problem::new(
                "no-authority",
                "this node does not hold the cluster's authorities",
            )
            .at(layout.pki().display().to_string())
        })?;
        material.files = shared
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.to_vec()))
            .collect();
    } else {
        material.token = mint(context, &action.for_node).await?;
    }
    Ok(Outcome {
        sealed: Some(material),
        ..Outcome::done()
    })
}

/// A fresh token for the node; those of earlier tries end here.
async fn mint(context: &Context, node: &str) -> Result<String, Problem> {
    let lifetime = token::lifetime(&context.cluster()?.token_ttl)?;
    let mut api = Api::new(&context.paths)?;
    let list = api.get(TOKENS).await?.unwrap_or_default();
    for name in token::made_for(node, &list) {
        api.delete(&format!("{SECRETS}/{name}")).await?;
    }
    let token = Token::random();
    let secret = token.secret(node, jiff::Timestamp::now() + lifetime);
    if api.create(SECRETS, &secret).await?.is_none() {
        return Err(
            Problem::new("token", "a token of this random name exists already")
                .next("run the order again"),
        );
    }
    let key = format!("jws-kubeconfig-{}", token.id);
    let signed = until(
        context,
        "the token's signature",
        SIGNED_WITHIN,
        async || {
            let info = api.get(CLUSTER_INFO).await?.unwrap_or_default();
            match info["data"][&key].is_string() {
                true => Ok(()),
                false => Err(Problem::new("not-ready", "not signed yet").at("cluster-info")),
            }
        },
    )
    .await;
    if signed.is_err() {
        context.say("cluster-info is not signed for the token yet; the joiner waits for it");
    }
    Ok(token.full().to_string())
}
