//! Signs a client certificate for a user's key with the cluster's CA, on a member that holds it.

use super::distribution;
use crate::context::{Context, Done, Outcome};
use crate::host::files;
use crate::paths::Paths;
use quorate_pki::{Authority, Leaf, Usage};
use quorate_proto::v1::{Distribution, OrderResult, Problem, SignClient};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// Kubernetes and etcd know no revocation of client certificates, so that their end is the only way out.
const MAX_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

pub async fn run(context: &Context, order: &SignClient) -> Done {
    let folder = authority_folder(&context.paths, distribution(context)?);
    let certificate = files::read_text(&folder.join("ca.crt"))?;
    let key = Zeroizing::new(files::read_text(&folder.join("ca.key"))?);
    let authority = Authority::load(&certificate, &key).map_err(|error| {
        Problem::new(
            "authority-unusable",
            format!("cannot sign with the cluster's certificate authority: {error}"),
        )
        .at(folder.display().to_string())
    })?;
    sign(&authority, order, SystemTime::now())
}

fn authority_folder(paths: &Paths, distribution: Distribution) -> PathBuf {
    match distribution {
        Distribution::Etcd => paths.etcd_pki(),
        Distribution::Kubeadm | Distribution::Unspecified => paths.kubernetes().join("pki"),
    }
}

fn sign(authority: &Authority, order: &SignClient, now: SystemTime) -> Done {
    let validity = Duration::from_secs(u64::from(order.validity_seconds));
    if validity > MAX_VALIDITY {
        return Err(Problem::new(
            "validity-too-long",
            format!("{} s is more than a year", order.validity_seconds),
        )
        .because("client certificates cannot be revoked")
        .next("ask for a shorter one and renew it"));
    }
    let leaf = Leaf {
        common_name: order.common_name.clone(),
        organization: order.organization.clone(),
        names: Vec::new(),
        uri: None,
        usage: Usage::Client,
        validity,
    };
    let issued = authority
        .sign_request(&order.csr_pem, &leaf, now)
        .map_err(|error| {
            Problem::new("not-signed", error.to_string())
                .at(&order.common_name)
                .next("make a new key and request")
        })?;
    let done = Outcome::done();
    Ok(Outcome {
        result: OrderResult {
            client_certificate_pem: issued.cert_pem,
            authority_pem: authority.cert_pem().to_owned(),
            ..done.result
        },
        sealed: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_pki::{KeyRequest, inspect_pem, pair_matches, signed_by};

    #[test]
    fn a_user_gets_what_was_ordered_and_no_more() {
        let now = SystemTime::now();
        let authority = Authority::create("ca", 10 * MAX_VALIDITY, now).unwrap();
        let request = KeyRequest::generate().unwrap();
        let mut order = SignClient {
            csr_pem: request.csr_pem.clone(),
            common_name: "alice".into(),
            organization: vec!["developers".into()],
            validity_seconds: 3600,
        };
        let result = sign(&authority, &order, now).unwrap().result;
        let certificate = &result.client_certificate_pem;
        assert!(pair_matches(certificate, &request.key_pem));
        assert!(signed_by(certificate, &result.authority_pem).unwrap());
        let info = inspect_pem(certificate).unwrap().remove(0);
        assert_eq!(info.common_name, "alice");
        assert_eq!(info.organization, ["developers"]);
        assert!(!info.is_ca && info.names.is_empty());
        assert!(info.not_after <= now + Duration::from_secs(3600));

        for (validity_seconds, csr_pem, code) in [
            (
                366 * 24 * 3600,
                request.csr_pem.as_str(),
                "validity-too-long",
            ),
            (0, request.csr_pem.as_str(), "not-signed"),
            (3600, "nonsense", "not-signed"),
        ] {
            order.validity_seconds = validity_seconds;
            order.csr_pem = csr_pem.to_owned();
            let refused = sign(&authority, &order, now).err().unwrap();
            assert_eq!(refused.code, code);
        }
    }
}
