//! What a certificate says.

use std::net::IpAddr;
use std::time::SystemTime;

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;

use crate::{Name, PkiError, Result, authority, der, key, pem};

/// The readable parts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    pub subject: String,
    pub issuer: String,
    /// Empty if there is none.
    pub common_name: String,
    /// Lower-case hex.
    pub serial: String,
    /// SHA-256 of the DER, lower-case hex.
    pub fingerprint: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// Host names as written (a wildcard stays one) and addresses.
    pub names: Vec<Name>,
    pub uris: Vec<String>,
    pub is_ca: bool,
    pub organization: Vec<String>,
}

impl CertificateInfo {
    /// Whether the certificate names exactly this host or address. Host names compare without
    /// case; a wildcard covers nothing, because nothing we make or need has one.
    pub fn covers(&self, name: &Name) -> bool {
        self.names.iter().any(|own| match (own, name) {
            (Name::Dns(a), Name::Dns(b)) => !a.contains('*') && a.eq_ignore_ascii_case(b),
            (Name::Ip(a), Name::Ip(b)) => a == b,
            (Name::Dns(_), Name::Ip(_)) | (Name::Ip(_), Name::Dns(_)) => false,
        })
    }
}

/// Reads every certificate of a PEM text, at least one, in order.
pub fn inspect_pem(text: &str) -> Result<Vec<CertificateInfo>> {
    pem::certificates("certificate", text)?
        .iter()
        .map(|cert| inspect_der(cert))
        .collect()
}

/// Reads one certificate.
pub fn inspect_der(bytes: &[u8]) -> Result<CertificateInfo> {
    let cert = der::certificate(bytes)?;
    let mut names = Vec::new();
    let mut uris = Vec::new();
    for name in der::subject_names(&cert)? {
        match name {
            GeneralName::DNSName(host) => names.push(Name::Dns((*host).to_owned())),
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::IPAddress(octets) => names.push(Name::Ip(address(&cert, octets)?)),
            // Nothing here asks for these.
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => {}
        }
    }
    let subject = cert.subject();
    Ok(CertificateInfo {
        subject: subject.to_string(),
        issuer: cert.issuer().to_string(),
        common_name: text(subject.iter_common_name()).next().unwrap_or_default(),
        organization: text(subject.iter_organization()).collect(),
        serial: der::format_serial(cert.raw_serial()),
        fingerprint: hex::encode(der::sha256(bytes)),
        not_before: der::system_time(cert.validity().not_before),
        not_after: der::system_time(cert.validity().not_after),
        names,
        uris,
        is_ca: cert.is_ca(),
    })
}

fn text<'a>(
    attributes: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> impl Iterator<Item = String> {
    attributes.filter_map(|value| value.as_str().ok().map(str::to_owned))
}

fn address(cert: &X509Certificate<'_>, octets: &[u8]) -> Result<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        Ok(IpAddr::from(four))
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(octets) {
        Ok(IpAddr::from(sixteen))
    } else {
        Err(PkiError::certificate(
            cert.subject().to_string(),
            format!("has an address of {} bytes", octets.len()),
        ))
    }
}

/// Whether key and (first) certificate belong together. Anything unreadable does not match.
pub fn pair_matches(cert_pem: &str, key_pem: &str) -> bool {
    let pair = || -> Result<bool> {
        let key = key::load("key", key_pem)?;
        let certs = pem::certificates("certificate", cert_pem)?;
        certs
            .first()
            .map_or(Ok(false), |cert| authority::has_key(cert, &key))
    };
    pair().unwrap_or(false)
}

/// Whether the (first) certificate was signed by one of the CAs in `ca_pem`. Dates are not
/// looked at.
pub fn signed_by(cert_pem: &str, ca_pem: &str) -> Result<bool> {
    let certs = pem::certificates("certificate", cert_pem)?;
    let Some(cert) = certs.first() else {
        return Ok(false);
    };
    for ca in pem::certificates("CA certificate", ca_pem)? {
        if is_signed_by(cert, &ca)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Issuer name, CA flag and signature.
pub(crate) fn is_signed_by(cert: &[u8], ca: &[u8]) -> Result<bool> {
    let cert = der::certificate(cert)?;
    let ca = der::certificate(ca)?;
    if cert.issuer().as_raw() != ca.subject().as_raw() || !der::may_sign_certificates(&ca) {
        return Ok(false);
    }
    match cert.verify_signature(Some(ca.public_key())) {
        Ok(()) => Ok(true),
        // "No" would be a claim about a signature that was never checked.
        Err(X509Error::SignatureUnsupportedAlgorithm) => Err(PkiError::certificate(
            cert.subject().to_string(),
            "is signed with an algorithm that cannot be checked here",
        )),
        Err(_) => Ok(false),
    }
}
