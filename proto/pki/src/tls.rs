//! Every TLS configuration quorate uses.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

use crate::pinned::PinnedVerifier;
use crate::{PkiError, Result, der, inspect, key, pem};

/// The one cryptographic provider: ring, with its default suites.
///
/// Handed to every builder instead of being installed for the process, so that a dependency that
/// installs another one changes nothing here.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()))
        .clone()
}

/// Own certificate (leaf first), its key, and the CAs the other side may have.
#[derive(Clone)]
pub struct TlsMaterial {
    pub cert_chain_pem: String,
    pub key_pem: Zeroizing<String>,
    pub ca_bundle_pem: String,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial")
            .field("cert_chain_pem", &self.cert_chain_pem)
            .field("key_pem", &"[redacted]")
            .field("ca_bundle_pem", &self.ca_bundle_pem)
            .finish()
    }
}

/// A server that talks only to holders of a certificate from the bundle.
///
/// `crl_pem` holds one list for every CA of the bundle. A CA without one is refused here, since
/// the verifier would otherwise refuse all of its clients, one obscure handshake at a time. The
/// lists' next update is not enforced: the same process signs them, and a stalled refresh must
/// not lock every agent out.
pub fn mutual_server_config(material: &TlsMaterial, crl_pem: Option<&str>) -> Result<ServerConfig> {
    let cas = pem::certificates("CA bundle", &material.ca_bundle_pem)?;
    let roots = Arc::new(root_store(&cas)?);
    let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    if let Some(text) = crl_pem {
        let lists = pem::revocation_lists("revocation list", text)?;
        check_lists_cover(&lists, &cas)?;
        // The CAs are roots and carry no revocation status of their own.
        verifier = verifier.with_crls(lists).only_check_end_entity_revocation();
    }
    let verifier = verifier
        .build()
        .map_err(|e| PkiError::tls("client verification", e))?;
    let chain = pem::certificates("server certificate", &material.cert_chain_pem)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| PkiError::tls("versions", e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key::read("server key", &material.key_pem)?)
        .map_err(|e| PkiError::tls("server certificate", e))?;
    Ok(harden_server(config))
}

/// A server for machines that have no certificate yet.
///
/// It presents its CA as well, because the other side knows the CA by hash only; the CA is taken
/// from the bundle if the chain lacks it.
pub fn enroll_server_config(material: &TlsMaterial) -> Result<ServerConfig> {
    let mut chain = pem::certificates("server certificate", &material.cert_chain_pem)?;
    complete(&mut chain, &material.ca_bundle_pem)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| PkiError::tls("versions", e))?
        .with_no_client_auth()
        .with_single_cert(chain, key::read("server key", &material.key_pem)?)
        .map_err(|e| PkiError::tls("server certificate", e))?;
    Ok(harden_server(config))
}

/// A client with a certificate, for servers of the bundle's CAs.
pub fn client_config(material: &TlsMaterial) -> Result<ClientConfig> {
    let cas = pem::certificates("CA bundle", &material.ca_bundle_pem)?;
    let chain = pem::certificates("client certificate", &material.cert_chain_pem)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| PkiError::tls("versions", e))?
        .with_root_certificates(root_store(&cas)?)
        .with_client_auth_cert(chain, key::read("client key", &material.key_pem)?)
        .map_err(|e| PkiError::tls("client certificate", e))?;
    Ok(harden_client(config))
}

/// A client that knows the hash of the CA's key and nothing else, for enrolment. The chain must
/// contain that CA and the CA must have signed the server's certificate; name and dates are
/// checked as always.
pub fn pinned_client_config(pin: &str) -> Result<ClientConfig> {
    let verifier = PinnedVerifier::new(pin, provider())?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| PkiError::tls("versions", e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(harden_client(config))
}

/// A client without a certificate, for servers of the bundle's CAs.
pub fn anonymous_client_config(ca_bundle_pem: &str) -> Result<ClientConfig> {
    let cas = pem::certificates("CA bundle", ca_bundle_pem)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| PkiError::tls("versions", e))?
        .with_root_certificates(root_store(&cas)?)
        .with_no_client_auth();
    Ok(harden_client(config))
}

/// A client for servers that are not ours (etcd, kube-apiserver): TLS 1.2 as well and no ALPN.
/// The pair is certificate chain and key.
pub fn plain_https_client_config(
    ca_bundle_pem: &str,
    pair: Option<(&str, &str)>,
) -> Result<ClientConfig> {
    let cas = pem::certificates("CA bundle", ca_bundle_pem)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|e| PkiError::tls("versions", e))?
        .with_root_certificates(root_store(&cas)?);
    let mut config = match pair {
        Some((cert_pem, key_pem)) => builder
            .with_client_auth_cert(
                pem::certificates("client certificate", cert_pem)?,
                key::read("client key", key_pem)?,
            )
            .map_err(|e| PkiError::tls("client certificate", e))?,
        None => builder.with_no_client_auth(),
    };
    // A probe is to learn whether a full handshake works.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn harden_server(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the check of certificate and revocation list.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

fn harden_client(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

fn root_store(cas: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots
            .add(ca.clone())
            .map_err(|e| PkiError::tls("CA bundle", e))?;
    }
    Ok(roots)
}

/// Appends the CA that signed the last certificate of the chain, unless that is one already.
fn complete(chain: &mut Vec<CertificateDer<'static>>, bundle: &str) -> Result<()> {
    let Some(last) = chain.last() else {
        return Ok(());
    };
    if chain.len() > 1 && der::may_sign_certificates(&der::certificate(last)?) {
        return Ok(());
    }
    for ca in pem::certificates("CA bundle", bundle)? {
        if inspect::is_signed_by(last, &ca)? {
            chain.push(ca);
            return Ok(());
        }
    }
    Err(PkiError::tls(
        "server certificate",
        "its CA is neither in its chain nor in the bundle",
    ))
}

fn check_lists_cover(
    lists: &[rustls_pki_types::CertificateRevocationListDer<'_>],
    cas: &[CertificateDer<'_>],
) -> Result<()> {
    let mut parsed = Vec::new();
    for list in lists {
        let Ok(([], list)) = CertificateRevocationList::from_der(list) else {
            return Err(PkiError::RevocationList {
                reason: "unreadable".to_owned(),
            });
        };
        parsed.push(list);
    }
    for ca in cas {
        let ca = der::certificate(ca)?;
        let covered = parsed.iter().any(|list| {
            list.issuer().as_raw() == ca.subject().as_raw()
                && list.verify_signature(ca.public_key()).is_ok()
        });
        if !covered {
            return Err(PkiError::RevocationList {
                reason: format!("there is none signed by {}", ca.subject()),
            });
        }
    }
    Ok(())
}
