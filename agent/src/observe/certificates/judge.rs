//! What one certificate says, and whether it is of use.

use super::places::{Key, Source};
use crate::host::files;
use crate::kube::kubeconfig::Kubeconfig;
use crate::kube::serving::unix;
use quorate_pki::{inspect_pem, pair_matches, signed_by};
use quorate_proto::v1::{CertificateInfo, Problem};
use zeroize::Zeroizing;

/// A certificate with its key, where that is known.
struct Texts {
    certificate: String,
    key: Option<Zeroizing<String>>,
}

pub fn judge(source: &Source) -> CertificateInfo {
    let named = CertificateInfo {
        place: source.place.clone(),
        kind: source.kind.to_owned(),
        renewable: source.renewable,
        ..CertificateInfo::default()
    };
    match read(source).and_then(|texts| describe(source, named.clone(), &texts)) {
        Ok(info) => info,
        Err(problem) => CertificateInfo {
            problem: Some(problem),
            ..named
        },
    }
}

fn read(source: &Source) -> Result<Texts, Problem> {
    if source.key == Key::Kubeconfig {
        let config = Kubeconfig::read(&source.path)?;
        return Ok(Texts {
            certificate: config.certificate_pem,
            key: Some(config.key_pem),
        });
    }
    let text = Zeroizing::new(files::read_text(&source.path)?);
    let key = match &source.key {
        Key::Unseen => None,
        Key::Beside => Some(text.clone()),
        Key::File(path) => Some(Zeroizing::new(files::read_text(path)?)),
        Key::Kubeconfig => None,
    };
    Ok(Texts {
        certificate: text.as_str().to_owned(),
        key,
    })
}

fn describe(
    source: &Source,
    named: CertificateInfo,
    texts: &Texts,
) -> Result<CertificateInfo, Problem> {
    let broken = |what: String| Problem::new("certificate", what).at(&source.place);
    let first = inspect_pem(&texts.certificate)
        .map_err(|error| broken(format!("cannot be read: {error}")))?
        .into_iter()
        .next()
        .ok_or_else(|| broken("no certificate in it".to_owned()))?;
    Ok(CertificateInfo {
        subject: first.subject,
        issuer: first.issuer,
        names: first.names.iter().map(ToString::to_string).collect(),
        not_before_unix: unix(first.not_before),
        not_after_unix: unix(first.not_after),
        serial: first.serial,
        authority: first.is_ca,
        problem: fault(source, texts),
        ..named
    })
}

/// What keeps a readable certificate from being of use.
fn fault(source: &Source, texts: &Texts) -> Option<Problem> {
    let broken = |what: &str| Problem::new("certificate", what).at(&source.place);
    if let Some(key) = &texts.key
        && !pair_matches(&texts.certificate, key)
    {
        return Some(
            broken("it does not belong to its key")
                .because("one of the two was replaced without the other")
                .next("renew the node's certificates"),
        );
    }
    let authority = source.authority.as_ref()?;
    let Ok(Some(authority)) = files::read_optional(authority) else {
        return Some(broken(
            "the authority that it is to be signed by cannot be read",
        ));
    };
    match signed_by(&texts.certificate, &String::from_utf8_lossy(&authority)) {
        Ok(true) => None,
        Ok(false) => Some(
            broken("it is not signed by the cluster's authority on this node")
                .because("the authority was replaced, or the file is another cluster's"),
        ),
        Err(error) => Some(broken("its signature cannot be checked").because(error.to_string())),
    }
}
