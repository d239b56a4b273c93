//! What a certificate is to say, and what came out.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use zeroize::Zeroizing;

use crate::{Name, PkiError, Result};

/// The complete contents of a certificate to issue; nothing is added from anywhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub common_name: String,
    /// Kubernetes reads groups here. At most two.
    pub organization: Vec<String>,
    pub names: Vec<Name>,
    pub uri: Option<String>,
    pub usage: Usage,
    pub validity: Duration,
}

/// Which side of a connection the certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    Client,
    Server,
    /// etcd members talk to each other with one certificate for both sides.
    Both,
}

/// A signed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub cert_pem: String,
    /// Lower-case hex.
    pub serial: String,
    /// SHA-256 of the DER, lower-case hex.
    pub fingerprint: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

/// A signed certificate whose key was made by the authority.
#[derive(Clone)]
pub struct IssuedWithKey {
    pub issued: Issued,
    pub key_pem: Zeroizing<String>,
}

impl fmt::Debug for IssuedWithKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedWithKey")
            .field("issued", &self.issued)
            .field("key_pem", &"[redacted]")
            .finish()
    }
}

impl Leaf {
    fn refuse(&self, reason: impl Into<String>) -> PkiError {
        PkiError::Leaf {
            name: self.common_name.chars().take(300).collect(),
            reason: reason.into(),
        }
    }

    /// Everything but validity and serial, which the authority decides.
    pub(crate) fn params(&self, key: &impl PublicKeyData) -> Result<CertificateParams> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.subject()?;
        params.subject_alt_names = self.alt_names()?;
        // Written out, because some verifiers treat an absent constraint leniently.
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if *key.algorithm() == rcgen::PKCS_RSA_SHA256 {
            // What kubeadm sets for RSA; has no meaning for other keys.
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = match self.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Both => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        };
        Ok(params)
    }

    fn subject(&self) -> Result<DistinguishedName> {
        for text in self.organization.iter().chain([&self.common_name]) {
            if text.is_empty() || text.len() > 300 || text.chars().any(char::is_control) {
                return Err(self.refuse(format!(
                    "{:?} is not 1 to 300 printable bytes",
                    text.chars().take(300).collect::<String>()
                )));
            }
        }
        let mut subject = DistinguishedName::new();
        // The library keeps one value per type. The second organization is the same type spelt
        // as an OID; nothing in Kubernetes or etcd needs a third.
        let types = [
            DnType::OrganizationName,
            DnType::CustomDnType(vec![2, 5, 4, 10]),
        ];
        if self.organization.len() > types.len() {
            return Err(self.refuse("more than two organizations"));
        }
        for (kind, value) in types.into_iter().zip(&self.organization) {
            subject.push(kind, value.as_str());
        }
        subject.push(DnType::CommonName, self.common_name.as_str());
        Ok(subject)
    }

    fn alt_names(&self) -> Result<Vec<SanType>> {
        let mut names = Vec::new();
        for name in &self.names {
            name.check()?;
            let san = match name {
                Name::Dns(host) => SanType::DnsName(
                    host.to_ascii_lowercase()
                        .try_into()
                        .map_err(|_| self.refuse("a host name is not ASCII"))?,
                ),
                Name::Ip(ip) => SanType::IpAddress(*ip),
            };
            if !names.contains(&san) {
                names.push(san);
            }
        }
        if let Some(uri) = &self.uri {
            let plain = uri.bytes().all(|b| b.is_ascii_graphic());
            if !plain || !uri.contains("://") || uri.len() > 1000 {
                return Err(self.refuse("its URI is not an absolute URI in plain ASCII"));
            }
            names.push(SanType::URI(
                uri.as_str()
                    .try_into()
                    .map_err(|_| self.refuse("its URI is not ASCII"))?,
            ));
        }
        Ok(names)
    }
}
