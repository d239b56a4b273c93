//! Certificates in the place of those that kubeadm made.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{DAY, authority, now, openssl};
use quorate_pki::{Authority, Leaf, Name, Usage, inspect_pem, pair_matches, signed_by};
use std::fs;

fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|it| Name::parse(it).unwrap()).collect()
}

#[test]
fn keeps_subject_uses_and_key() {
    let ca = authority("kubernetes");
    for usage in [Usage::Server, Usage::Client, Usage::Both] {
        let leaf = Leaf {
            common_name: "kube-apiserver".into(),
            organization: vec!["system:masters".into()],
            names: names(&["kubernetes", "10.0.0.1"]),
            uri: None,
            usage,
            validity: DAY,
        };
        let old = ca.issue(&leaf, now()).unwrap();
        let wanted = names(&["kubernetes", "10.0.0.1", "10.0.0.10", "fd00::1"]);
        let new = ca
            .reissue(&old.issued.cert_pem, &old.key_pem, &wanted, DAY * 2, now())
            .unwrap();
        let info = inspect_pem(&new.issued.cert_pem).unwrap().remove(0);
        assert_eq!(info.names, wanted);
        assert_eq!(info.subject, "O=system:masters, CN=kube-apiserver");
        assert!(pair_matches(&new.issued.cert_pem, &new.key_pem));
        // Another certificate's key, or none, is replaced.
        assert_eq!(*new.key_pem, *old.key_pem);
        for lost in [&*ca.issue(&leaf, now()).unwrap().key_pem, ""] {
            let fresh = ca
                .reissue(&old.issued.cert_pem, lost, &wanted, DAY, now())
                .unwrap();
            assert!(pair_matches(&fresh.issued.cert_pem, &fresh.key_pem));
            assert!(*fresh.key_pem != *old.key_pem && *fresh.key_pem != *lost);
        }
        assert!(signed_by(&new.issued.cert_pem, ca.cert_pem()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("c"), &new.issued.cert_pem).unwrap();
        let text = openssl(dir.path(), "x509 -in c -noout -ext extendedKeyUsage");
        let sides = (text.contains("Server Auth"), text.contains("Client Auth"));
        let expected = match usage {
            Usage::Server => (true, false),
            Usage::Client => (false, true),
            Usage::Both => (true, true),
        };
        assert_eq!(sides, expected);
    }
}

/// As kubeadm makes them unless told otherwise.
#[test]
fn keeps_an_rsa_key_and_its_uses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let extensions = "basicConstraints=critical,CA:true\nkeyUsage=critical,digitalSignature,keyEncipherment,keyCertSign\n";
    fs::write(path.join("ca.ext"), extensions).unwrap();
    let extensions = "keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:false\nsubjectAltName=DNS:kubernetes\n";
    fs::write(path.join("leaf.ext"), extensions).unwrap();
    openssl(path, "genrsa -traditional -out ca.key 2048");
    openssl(
        path,
        "req -new -key ca.key -subj /CN=kubernetes -out ca.csr",
    );
    openssl(
        path,
        "x509 -req -in ca.csr -signkey ca.key -days 30 -extfile ca.ext -out ca.crt",
    );
    openssl(path, "genrsa -traditional -out leaf.key 2048");
    openssl(
        path,
        "req -new -key leaf.key -subj /CN=kube-apiserver -out leaf.csr",
    );
    openssl(
        path,
        "x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile leaf.ext -out leaf.crt",
    );
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    assert!(read("ca.key").contains("BEGIN RSA PRIVATE KEY"));
    let ca = Authority::load(&read("ca.crt"), &read("ca.key")).unwrap();
    let wanted = names(&["kubernetes", "lb.example"]);
    let new = ca
        .reissue(&read("leaf.crt"), &read("leaf.key"), &wanted, DAY, now())
        .unwrap();
    assert_eq!(*new.key_pem, read("leaf.key"));
    fs::write(path.join("new.crt"), &new.issued.cert_pem).unwrap();
    let text = openssl(path, "x509 -in new.crt -noout -ext keyUsage");
    assert!(
        text.contains("Digital Signature, Key Encipherment"),
        "{text}"
    );
    openssl(
        path,
        "verify -purpose sslserver -verify_hostname lb.example -CAfile ca.crt new.crt",
    );
}

#[test]
fn what_is_for_neither_side_is_refused() {
    let ca = authority("ca");
    let wrong = ca.reissue(ca.cert_pem(), ca.key_pem(), &[], DAY, now());
    assert!(wrong.is_err());
    assert!(ca.reissue("", "", &[], DAY, now()).is_err());
}
