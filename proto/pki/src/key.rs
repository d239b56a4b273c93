//! Private keys in every form kubeadm, etcd tooling and OpenSSL write.

use rcgen::KeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::{PkiError, Result};

// AlgorithmIdentifier contents: OID and parameters.
const RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
const P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07,
];
const P384: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22,
];

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const VERSION_0: &[u8] = &[0x02, 0x01, 0x00];

/// A new P-256 key.
pub(crate) fn generate() -> Result<KeyPair> {
    KeyPair::generate().map_err(|e| PkiError::crypto("making a key", e))
}

pub(crate) fn to_pem(key: &KeyPair) -> Zeroizing<String> {
    Zeroizing::new(key.serialize_pem())
}

/// The DER of the first private key in a PEM text.
pub(crate) fn read(what: &str, pem: &str) -> Result<PrivateKeyDer<'static>> {
    // An encrypted key has another label and ends up here as well.
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::Key {
        what: what.to_owned(),
        reason: "has no unencrypted private key in PEM form",
    })
}

/// A key that can sign: RSA from 2048 bits, P-256, P-384 or Ed25519.
pub(crate) fn load(what: &str, pem: &str) -> Result<KeyPair> {
    // ring reads PKCS#8 only, while kubeadm writes PKCS#1 and SEC1: wrap those. A SEC1 key may
    // leave out its curve, so each is tried; ring checks that the key fits the curve.
    let candidates = match read(what, pem)? {
        PrivateKeyDer::Pkcs8(key) => vec![Zeroizing::new(key.secret_pkcs8_der().to_vec())],
        PrivateKeyDer::Pkcs1(key) => vec![pkcs8(RSA, key.secret_pkcs1_der())],
        PrivateKeyDer::Sec1(key) => [P256, P384]
            .map(|curve| pkcs8(curve, key.secret_sec1_der()))
            .into(),
        _ => Vec::new(),
    };
    candidates
        .iter()
        .find_map(|der| KeyPair::try_from(&PrivatePkcs8KeyDer::from(der.as_slice())).ok())
        .ok_or_else(|| PkiError::Key {
            what: what.to_owned(),
            reason: "unsupported private key: RSA from 2048 bits, P-256, P-384 or Ed25519 expected",
        })
}

/// PrivateKeyInfo ::= SEQUENCE { version, algorithm, OCTET STRING { key } }
fn pkcs8(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let algorithm = wrap(SEQUENCE, &[algorithm]);
    let key = wrap(OCTET_STRING, &[key]);
    wrap(SEQUENCE, &[VERSION_0, &algorithm, &key])
}

fn wrap(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Room for everything at once: growing would leave copies of the key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(length + 10));
    out.push(tag);
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|&&b| b == 0).count()..];
    match significant {
        [] => out.push(0),
        [short @ 0..0x80] => out.push(*short),
        long => {
            // At most eight bytes, so the count fits into the low bits.
            out.push(0x80 | long.len().to_le_bytes()[0]);
            out.extend_from_slice(long);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_lengths() {
        for (length, header) in [
            (0, vec![4, 0]),
            (127, vec![4, 0x7f]),
            (128, vec![4, 0x81, 0x80]),
            (255, vec![4, 0x81, 0xff]),
            (256, vec![4, 0x82, 1, 0]),
            (65_536, vec![4, 0x83, 1, 0, 0]),
        ] {
            let out = wrap(OCTET_STRING, &[&vec![0; length]]);
            assert_eq!(&out[..header.len()], header.as_slice());
            assert_eq!(out.len(), header.len() + length);
        }
    }

    #[test]
    fn errors_do_not_quote_the_text() {
        let secret = "c2VjcmV0";
        for text in [
            String::new(),
            secret.to_owned(),
            format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"),
            format!("-----BEGIN PRIVATE KEY----- {secret}\n"),
            format!("-----BEGIN EC PRIVATE KEY-----\n{secret}!\n-----END EC PRIVATE KEY-----\n"),
        ] {
            let error = load("test key", &text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret));
            assert!(error.to_string().starts_with("test key"));
        }
    }
}
