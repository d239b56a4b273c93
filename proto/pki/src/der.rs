//! Small helpers around the certificate parser.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::{PkiError, Result};

/// Parses one certificate and nothing behind it.
pub(crate) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok(([], cert)) => Ok(cert),
        Ok(_) => Err(PkiError::certificate("(DER)", "has data behind its end")),
        Err(e) => Err(PkiError::certificate("(DER)", format!("unreadable: {e}"))),
    }
}

/// All subject alternative names; an unreadable or repeated extension is an error rather than
/// an empty list, because callers decide about trust with the answer.
pub(crate) fn subject_names<'a>(cert: &'a X509Certificate<'a>) -> Result<&'a [GeneralName<'a>]> {
    let mut found: Option<&[GeneralName<'a>]> = None;
    for extension in cert.extensions() {
        if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
            continue;
        }
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
            return Err(PkiError::certificate(
                cert.subject().to_string(),
                "its subject alternative names are unreadable",
            ));
        };
        if found.replace(&names.general_names).is_some() {
            return Err(PkiError::certificate(
                cert.subject().to_string(),
                "has subject alternative names twice",
            ));
        }
    }
    Ok(found.unwrap_or_default())
}

/// Whether the certificate is a CA that may sign certificates.
pub(crate) fn may_sign_certificates(cert: &X509Certificate<'_>) -> bool {
    let usage = match cert.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    usage && cert.is_ca()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// `sha256:<hex>` of a public key, the form kubeadm prints as discovery hash.
pub(crate) fn format_pin(hash: &[u8; 32]) -> String {
    format!("sha256:{}", hex::encode(hash))
}

pub(crate) fn parse_pin(pin: &str) -> Result<[u8; 32]> {
    let mut hash = [0; 32];
    pin.strip_prefix("sha256:")
        .and_then(|digits| hex::decode_to_slice(digits, &mut hash).ok())
        .ok_or_else(|| PkiError::Pin {
            value: pin.chars().take(100).collect(),
        })?;
    Ok(hash)
}

/// A serial number as lower-case hex without the sign byte DER may need.
pub(crate) fn format_serial(raw: &[u8]) -> String {
    hex::encode(strip_zeros(raw))
}

pub(crate) fn parse_serial(text: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(text).ok()?;
    let bytes = strip_zeros(&bytes);
    // RFC 5280 allows 20 octets, of which the first may be the sign byte.
    let positive = bytes.iter().any(|&b| b != 0);
    (positive && bytes.len() <= 20).then(|| bytes.to_vec())
}

fn strip_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes
        && !rest.is_empty()
    {
        bytes = rest;
    }
    bytes
}

pub(crate) fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    moved.unwrap_or(UNIX_EPOCH)
}

/// Whole seconds, rounded down: certificates have no fractions.
pub(crate) fn calendar_time(what: &'static str, at: SystemTime) -> Result<OffsetDateTime> {
    let error = || PkiError::Time {
        what,
        reason: "out of the range a certificate can express",
    };
    let since = at.duration_since(UNIX_EPOCH).map_err(|_| error())?;
    let seconds = i64::try_from(since.as_secs()).map_err(|_| error())?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials() {
        assert_eq!(format_serial(&[0, 0x80, 1]), "8001");
        assert_eq!(format_serial(&[0]), "00");
        assert_eq!(parse_serial("008001"), Some(vec![0x80, 1]));
        for bad in ["", "0", "00", "xyz", "123", &"ab".repeat(21)] {
            assert_eq!(parse_serial(bad), None, "{bad}");
        }
    }

    #[test]
    fn pins() {
        let pin = format_pin(&[0xab; 32]);
        assert_eq!(parse_pin(&pin).unwrap(), [0xab; 32]);
        for bad in [
            String::new(),
            "ab".repeat(32),
            format!("sha1:{}", "ab".repeat(32)),
            format!("sha256:{}", "ab".repeat(31)),
            format!("{pin}0"),
        ] {
            assert!(parse_pin(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_out_of_range() {
        let day = Duration::from_secs(86_400);
        assert!(calendar_time("t", UNIX_EPOCH - day).is_err());
        assert!(calendar_time("t", UNIX_EPOCH + day * 4_000_000).is_err());
        assert!(calendar_time("t", UNIX_EPOCH + day).is_ok());
    }
}
