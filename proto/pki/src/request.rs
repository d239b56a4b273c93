//! A new key and the request for its certificate.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName};
use zeroize::Zeroizing;

use crate::{PkiError, Result, key};

/// A key that stays on the machine that made it, and the request that leaves it.
pub struct KeyRequest {
    pub key_pem: Zeroizing<String>,
    pub csr_pem: String,
}

impl KeyRequest {
    /// Makes a P-256 key. The request asks for nothing: what goes into the certificate is the
    /// issuer's decision alone, so an empty request is also the honest one.
    pub fn generate() -> Result<Self> {
        let key = key::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let csr_pem = params
            .serialize_request(&key)
            .and_then(|request| request.pem())
            .map_err(|e| PkiError::crypto("making a certificate request", e))?;
        Ok(Self {
            key_pem: key::to_pem(&key),
            csr_pem,
        })
    }
}

impl fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRequest")
            .field("key_pem", &"[redacted]")
            .field("csr_pem", &self.csr_pem)
            .finish()
    }
}
