//! Looking at the certificate that a server presents, whatever it is.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{PkiError, Result, pem, tls};

/// What a server presented in the handshake of [`look_config`].
#[derive(Clone, Debug, Default)]
pub struct Presented(Arc<Mutex<Option<CertificateDer<'static>>>>);

impl Presented {
    /// The server's own certificate in DER, also if the handshake failed afterwards: etcd ends it without a client certificate.
    pub fn certificate(&self) -> Option<Vec<u8>> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(|certificate| certificate.to_vec())
    }
}

/// For one handshake that is to show the server's certificate: any is accepted, as its judgement follows. The server still has to
/// hold the certificate's key. Nothing may be sent over such a connection, and so it carries no certificate of ours.
pub fn look_config() -> Result<(ClientConfig, Presented)> {
    let presented = Presented::default();
    let verifier = Looker {
        presented: presented.clone(),
        provider: tls::provider(),
    };
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|e| PkiError::tls("versions", e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok((config, presented))
}

/// [`crate::signed_by`] for one certificate in DER.
pub fn der_signed_by(certificate: &[u8], ca_pem: &str) -> Result<bool> {
    for ca in pem::certificates("CA certificate", ca_pem)? {
        if crate::inspect::is_signed_by(certificate, &ca)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[derive(Debug)]
struct Looker {
    presented: Presented,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let mut seen = self
            .presented
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *seen = Some(end_entity.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
