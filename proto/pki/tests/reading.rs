//! What is read from certificates, and what is shown of them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use quorate_pki::{Authority, Identity, KeyRequest, Leaf, Name, inspect_pem};
use rcgen::{CertificateParams, KeyPair, SanType};

fn names(texts: &[&str]) -> Vec<Name> {
    texts
        .iter()
        .map(|text| Name::parse(text).unwrap())
        .collect()
}

#[test]
fn names_are_compared_exactly() {
    let ca = authority("ca 1");
    let leaf = Leaf {
        names: names(&["node-1.example", "10.0.0.1", "fd00::1"]),
        ..server_leaf()
    };
    let cert = ca.issue(&leaf, now()).unwrap().issued.cert_pem;
    let info = inspect_pem(&cert).unwrap().remove(0);
    for (name, expected) in [
        ("10.0.0.1", true),
        ("10.0.0.10", false),
        ("10.0.0.11", false),
        ("0.0.0.1", false),
        ("::ffff:10.0.0.1", false),
        ("[FD00:0::1]", true),
        ("fd00::10", false),
        ("node-1.example", true),
        ("NODE-1.Example", true),
        ("node-1", false),
        ("node-10.example", false),
        ("a.node-1.example", false),
        ("coordinator", false),
    ] {
        assert_eq!(info.covers(&Name::parse(name).unwrap()), expected, "{name}");
    }
}

#[test]
fn an_identity_needs_exactly_one_uri() {
    let key = KeyPair::generate().unwrap();
    let identity = |uris: &[&str]| {
        let mut params = CertificateParams::new(vec!["host".to_owned()]).unwrap();
        for uri in uris {
            let uri = SanType::URI((*uri).try_into().unwrap());
            params.subject_alt_names.push(uri);
        }
        Identity::from_cert_der(params.self_signed(&key).unwrap().der())
    };
    let (a, b) = ("spiffe://quorate/agent/a", "spiffe://quorate/admin/b");
    assert_eq!(identity(&[a]).unwrap().to_string(), "agent/a");
    assert!(identity(&[]).is_err());
    assert!(identity(&[a, b]).is_err());
    assert!(identity(&[a, a]).is_err());
    assert!(identity(&[a, "https://example.com/"]).is_err());
    assert!(identity(&["https://example.com/"]).is_err());
    assert!(Identity::from_cert_der(b"").is_err());
}

#[test]
fn debug_output_hides_keys() {
    let ca = authority("ca 1");
    let pair = ca.issue(&agent_leaf(), now()).unwrap();
    let request = KeyRequest::generate().unwrap();
    let material = material(&pair, &[&ca]);
    let shown = format!("{ca:?} {pair:?} {request:?} {material:?}");
    for key in [ca.key_pem(), &pair.key_pem, &request.key_pem] {
        let secret = key.lines().nth(1).unwrap();
        assert!(!shown.contains(secret));
    }
    assert!(shown.contains("[redacted]"));
}

#[test]
fn authorities_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Authority>();
    shared::<quorate_pki::Hot<Authority>>();
    shared::<quorate_pki::PkiError>();
}
