//! PEM and DER from elsewhere: read or refused, never a panic, and nothing that was changed passes for what it was.

#[path = "../../src/fuzz.rs"]
mod fuzz;

use proptest::prelude::*;
use quorate_pki::*;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

struct Made {
    authority: Authority,
    leaf_pem: String,
    key_pem: String,
    request_pem: String,
}

/// Made once: keys take longer than cases.
static MADE: LazyLock<Made> = LazyLock::new(|| {
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let authority = Authority::create("ours", day, now).expect("a CA");
    let issued = authority.issue(&leaf(), now).expect("a leaf");
    Made {
        authority,
        leaf_pem: issued.issued.cert_pem,
        key_pem: issued.key_pem.to_string(),
        request_pem: KeyRequest::generate().expect("a request").csr_pem,
    }
});

fn leaf() -> Leaf {
    let identity = Identity::new(Role::Agent, "n1").expect("an identity");
    Leaf {
        common_name: "n1".to_owned(),
        organization: vec!["o".to_owned()],
        names: vec![
            Name::parse("n1.example").expect("a name"),
            Name::parse("10.0.0.1").expect("a name"),
        ],
        uri: Some(identity.to_uri()),
        usage: Usage::Both,
        validity: Duration::from_secs(3_600),
    }
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .expect("PEM")
        .to_vec()
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn fuzz_pem(text in fuzz::damaged_text(&[
        &MADE.leaf_pem, &MADE.key_pem, &MADE.request_pem, MADE.authority.cert_pem(),
    ])) {
        let _ = inspect_pem(&text);
        let _ = spki_pin_of_cert_pem(&text);
        let _ = Authority::load(&text, &MADE.key_pem);
        // A key that is refused is not quoted.
        if let Err(error) = Authority::load(MADE.authority.cert_pem(), &text) {
            let line = MADE.key_pem.lines().nth(1).expect("the key's text");
            let told = format!("{error} {error:?}");
            prop_assert!(!told.contains(&line[..40]));
        }
    }

    #[test]
    fn fuzz_der(bytes in fuzz::damaged(vec![der(&MADE.leaf_pem), der(MADE.authority.cert_pem())])) {
        let _ = inspect_der(&bytes);
        let _ = spki_pin_of_cert_der(&bytes);
        let _ = Identity::from_cert_der(&bytes);
    }

    /// A request says who asks by its key alone; one that was changed on the way is not signed.
    #[test]
    fn fuzz_requests(bytes in fuzz::damaged(vec![
        CertificateSigningRequestDer::from_pem_slice(MADE.request_pem.as_bytes()).expect("PEM").to_vec(),
    ])) {
        let original = CertificateSigningRequestDer::from_pem_slice(MADE.request_pem.as_bytes()).expect("PEM");
        let text = pem("CERTIFICATE REQUEST", &bytes);
        let signed = MADE.authority.sign_request(&text, &leaf(), SystemTime::now());
        if let Ok(issued) = signed {
            let info = &inspect_pem(&issued.cert_pem).expect("ours")[0];
            prop_assert!(!info.is_ca);
            prop_assert_eq!(&info.uris, &[leaf().uri.expect("set")]);
            prop_assert!(bytes.starts_with(&original), "a changed request was signed");
        }
    }

    #[test]
    fn fuzz_names(text in fuzz::text()) {
        if let Ok(name) = Name::parse(&text) {
            let written = match name {
                Name::Ip(ip) => ip.to_string(),
                Name::Dns(host) => host,
            };
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._*:".contains(&b);
            prop_assert!(!written.is_empty() && written.len() <= 253 && written.bytes().all(plain), "{:?}", written);
        }
        if let Ok(identity) = Identity::new(Role::Agent, &text) {
            let uri = identity.to_uri();
            prop_assert!(uri.bytes().all(|b| b.is_ascii_graphic()) && uri.matches('/').count() == 4, "{}", uri);
        }
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    use std::fmt::Write;
    const TABLE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = TABLE[(word >> (18 - 6 * at)) as usize & 63];
            let _ = write!(
                text,
                "{}",
                if at <= chunk.len() {
                    char::from(digit)
                } else {
                    '='
                }
            );
        }
    }
    text + &format!("\n-----END {label}-----\n")
}
