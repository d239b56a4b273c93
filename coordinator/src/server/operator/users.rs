//! Users and all certificates.

use crate::server::Parts;
use quorate_proto::v1::*;

pub async fn revoke(
    parts: &Parts,
    who: &str,
    request: &RevokeUserRequest,
) -> Result<RevokeUserResponse, Problem> {
    parts.authority.revoke_user(who, &request.name).await?;
    Ok(RevokeUserResponse {})
}

/// Those that end first come first.
pub fn certificates(parts: &Parts) -> Result<ListCertificatesResponse, Problem> {
    let mut certificates: Vec<_> = parts
        .authority
        .certificates()?
        .into_iter()
        .map(|one| IssuedCertificate {
            serial: one.serial,
            identity: one.identity,
            issued_unix: one.issued_unix,
            expires_unix: one.expires_unix,
            revoked: one.revoked_unix.is_some(),
        })
        .collect();
    certificates.sort_by(|a, b| (a.expires_unix, &a.serial).cmp(&(b.expires_unix, &b.serial)));
    Ok(ListCertificatesResponse { certificates })
}
