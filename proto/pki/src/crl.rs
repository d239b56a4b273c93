//! Revocation lists.

use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use x509_parser::extensions::ParsedExtension;

use crate::{Authority, PkiError, Result, der};

impl Authority {
    /// Signs a list of revoked serials (hex, as in [`crate::Issued::serial`]) with the time of
    /// each revocation. An empty list is valid and says that nothing is revoked.
    pub fn revocation_list(
        &self,
        serials: &[(String, SystemTime)],
        now: SystemTime,
        next_update: SystemTime,
    ) -> Result<String> {
        let refuse = |reason: String| PkiError::RevocationList { reason };
        let mut revoked: Vec<RevokedCertParams> = Vec::with_capacity(serials.len());
        let mut seen = std::collections::BTreeSet::new();
        for (text, at) in serials {
            let serial = der::parse_serial(text).ok_or_else(|| {
                let start: String = text.chars().take(50).collect();
                refuse(format!("{start:?} is not a serial number in hex"))
            })?;
            if !seen.insert(serial.clone()) {
                continue;
            }
            revoked.push(RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: der::calendar_time("time of a revocation", *at)?,
                reason_code: None,
                invalidity_date: None,
            });
        }
        // Grows with time and needs no counter that could be lost with a backup.
        let number = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = u64::try_from(number.as_millis()).unwrap_or(u64::MAX);
        let list = CertificateRevocationListParams {
            this_update: der::calendar_time("time of the revocation list", now)?,
            next_update: der::calendar_time("next update of the revocation list", next_update)?,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: self.key_id()?,
        };
        list.signed_by(&self.issuer)
            .and_then(|list| list.pem())
            .map_err(|e| refuse(e.to_string()))
    }

    /// The identifier the CA certificate itself states; OpenSSL matches by it.
    fn key_id(&self) -> Result<KeyIdMethod> {
        let cert = der::certificate(self.cert_der())?;
        let stated = cert.iter_extensions().find_map(|extension| {
            if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
                Some(id.0.to_vec())
            } else {
                None
            }
        });
        Ok(stated.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified))
    }
}
