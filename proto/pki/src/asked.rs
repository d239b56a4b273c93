//! What a certificate request asks for, for whoever has to decide on it.

use std::net::IpAddr;

use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::{Name, PkiError, Result};

/// A request with a 4096 bit RSA key is below 2 KiB.
const MAX_REQUEST: usize = 16 * 1024;

/// The contents of a request that is signed by its own key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub common_name: String,
    pub organization: Vec<String>,
    /// Attributes of the subject beside these two.
    pub further_subject: usize,
    pub names: Vec<Name>,
    /// Alternative names that are neither host names nor addresses.
    pub further_names: usize,
}

/// Reads a request in PEM form.
pub fn inspect_request(csr_pem: &str) -> Result<Asked> {
    if csr_pem.len() > MAX_REQUEST {
        return Err(PkiError::request("larger than 16 KiB"));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|_| PkiError::request("not a certificate request in PEM form"))?;
    let Ok(([], request)) = X509CertificationRequest::from_der(&der) else {
        return Err(PkiError::request("unreadable"));
    };
    request
        .verify_signature()
        .map_err(|_| PkiError::request("not signed by the key it asks a certificate for"))?;
    let subject = &request.certification_request_info.subject;
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        value.as_str().map(str::to_owned).unwrap_or_default()
    };
    let common: Vec<String> = subject.iter_common_name().map(text).collect();
    let organization: Vec<String> = subject.iter_organization().map(text).collect();
    let mut asked = Asked {
        further_subject: subject.iter_attributes().count()
            - organization.len()
            - common.len().min(1),
        common_name: common.into_iter().next().unwrap_or_default(),
        organization,
        ..Asked::default()
    };
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            names.general_names.iter().for_each(|name| asked.take(name));
        }
    }
    Ok(asked)
}

impl Asked {
    fn take(&mut self, name: &GeneralName<'_>) {
        let read = match name {
            GeneralName::DNSName(host) => Some(Name::Dns(host.to_ascii_lowercase())),
            GeneralName::IPAddress(octets) => address(octets).map(Name::Ip),
            GeneralName::URI(_)
            | GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => None,
        };
        match read {
            Some(name) => self.names.push(name),
            None => self.further_names += 1,
        }
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from).ok();
    four.or_else(|| <[u8; 16]>::try_from(octets).map(IpAddr::from).ok())
}
