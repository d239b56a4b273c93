//! A new certificate in the place of one that kubeadm or quorate made.

use std::time::{Duration, SystemTime};

use rcgen::{KeyPair, KeyUsagePurpose};
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroizing;

use crate::{Authority, IssuedWithKey, Leaf, Name, PkiError, Result, Usage, authority, der};
use crate::{inspect_der, key, pem};

impl Authority {
    /// Subject and uses of the present pair, with these names. The key stays: servers that read both files at each handshake, as etcd
    /// does, would otherwise meet halves that do not fit while the files are replaced one after the other. A new one of P-256 only
    /// where the present one is lost or is another certificate's.
    pub fn reissue(
        &self,
        present_cert_pem: &str,
        present_key_pem: &str,
        names: &[Name],
        validity: Duration,
        now: SystemTime,
    ) -> Result<IssuedWithKey> {
        let certificates = pem::certificates("present certificate", present_cert_pem)?;
        let Some(bytes) = certificates.first() else {
            return Err(PkiError::pem("present certificate", "is empty"));
        };
        let info = inspect_der(bytes)?;
        let present = der::certificate(bytes)?;
        let leaf = Leaf {
            common_name: info.common_name,
            organization: info.organization,
            names: names.to_vec(),
            uri: None,
            usage: usage(&present)?,
            validity,
        };
        let (key, key_pem) = next_key(bytes, present_key_pem)?;
        let mut uses = Vec::new();
        if enciphers(&present) {
            uses.push(KeyUsagePurpose::KeyEncipherment);
        }
        Ok(IssuedWithKey {
            issued: self.sign_with(&key, &leaf, &uses, now)?,
            key_pem,
        })
    }
}

fn next_key(certificate: &[u8], present: &str) -> Result<(KeyPair, Zeroizing<String>)> {
    let present_key = key::load("present key", present).ok();
    if let Some(key) = present_key
        && authority::has_key(certificate, &key)?
    {
        return Ok((key, Zeroizing::new(present.to_owned())));
    }
    let fresh = key::generate()?;
    let text = key::to_pem(&fresh);
    Ok((fresh, text))
}

/// One of the three that kubeadm and quorate make; anything else was made by another hand, and is not to be guessed at.
fn usage(certificate: &X509Certificate<'_>) -> Result<Usage> {
    let extension = certificate.extended_key_usage().ok().flatten();
    let found = extension.map(|it| (it.value.server_auth, it.value.client_auth));
    match found {
        Some((true, true)) => Ok(Usage::Both),
        Some((true, false)) => Ok(Usage::Server),
        Some((false, true)) => Ok(Usage::Client),
        Some((false, false)) | None => Err(PkiError::certificate(
            certificate.subject().to_string(),
            "says of neither side of a connection that it is for it",
        )),
    }
}

fn enciphers(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage().ok().flatten();
    usage.is_some_and(|usage| usage.value.key_encipherment())
}
