//! Join tokens.

use crate::clock;
use crate::server::Parts;
use quorate_proto::v1::*;
use std::time::Duration;

pub async fn create(
    parts: &Parts,
    who: &str,
    request: &CreateTokenRequest,
) -> Result<CreateTokenResponse, Problem> {
    let ttl = match request.ttl_seconds {
        0 => None,
        seconds => Some(Duration::from_secs(u64::from(seconds))),
    };
    let made = parts
        .authority
        .create_token(who, &request.node, ttl, &parts.addresses)
        .await?;
    Ok(CreateTokenResponse {
        token: made.text.to_string(),
        id: made.record.id,
        expires_unix: made.record.expires_unix,
    })
}

pub fn list(parts: &Parts) -> Result<ListTokensResponse, Problem> {
    let now = clock::unix();
    let tokens = parts
        .authority
        .tokens()?
        .into_iter()
        .map(|token| TokenInfo {
            state: token.state(now).to_owned(),
            used_by: token.used.map(|used| used.node_name).unwrap_or_default(),
            id: token.id,
            node: token.node,
            created_unix: token.created_unix,
            expires_unix: token.expires_unix,
        });
    Ok(ListTokensResponse {
        tokens: tokens.collect(),
    })
}

pub async fn revoke(
    parts: &Parts,
    who: &str,
    request: &RevokeTokenRequest,
) -> Result<RevokeTokenResponse, Problem> {
    parts.authority.revoke_token(who, &request.id).await?;
    Ok(RevokeTokenResponse {})
}
