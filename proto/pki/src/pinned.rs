//! The server check of a machine that knows nothing but the hash of the CA's key.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{PkiError, Result, der};

/// Finds the pinned CA in the presented chain and then verifies as if it had been configured.
#[derive(Debug)]
pub(crate) struct PinnedVerifier {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl PinnedVerifier {
    pub(crate) fn new(pin: &str, provider: Arc<CryptoProvider>) -> Result<Self> {
        Ok(Self {
            pin: der::parse_pin(pin)?,
            provider,
        })
    }

    /// The certificate with the pinned key, checked to be a CA that may sign at `now`.
    ///
    /// The pin vouches for the key and not for the certificate around it, which anybody could
    /// have written. That is enough: a leaf counts only if the pinned key signed it, and the
    /// pinned CA signs no leaf that outlives its own certificate.
    fn pinned<'c>(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &'c [CertificateDer<'c>],
        now: UnixTime,
    ) -> Result<&'c CertificateDer<'c>> {
        let hash = |cert: &[u8]| -> Result<[u8; 32]> {
            Ok(der::sha256(der::certificate(cert)?.public_key().raw))
        };
        let unusable = |reason| PkiError::PinUnusable {
            pin: der::format_pin(&self.pin),
            reason,
        };
        let leaf_hash = hash(leaf)?;
        if leaf_hash == self.pin {
            return Err(unusable("is the server's own and not a CA's"));
        }
        let mut seen = vec![der::format_pin(&leaf_hash)];
        for cert in chain {
            let found = hash(cert)?;
            if found != self.pin {
                seen.push(der::format_pin(&found));
                continue;
            }
            let parsed = der::certificate(cert)?;
            if !der::may_sign_certificates(&parsed) {
                return Err(unusable("is not a CA that may sign certificates"));
            }
            // The verifier below takes a root as given and looks at neither of its dates.
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            if now < parsed.validity().not_before.timestamp() {
                return Err(unusable("is not valid yet; is this machine's clock right?"));
            }
            if now > parsed.validity().not_after.timestamp() {
                return Err(unusable("has expired; is this machine's clock right?"));
            }
            return Ok(cert);
        }
        Err(PkiError::PinMismatch {
            pin: der::format_pin(&self.pin),
            seen: seen.join(" "),
        })
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        let ca = self
            .pinned(end_entity, intermediates, now)
            .map_err(|e| CertificateError::Other(OtherError(Arc::new(e))))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|e| Error::General(e.to_string()))?;
        // No intermediates: the pinned CA itself must have signed the leaf.
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
