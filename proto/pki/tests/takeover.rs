//! CAs made by other tools, and what OpenSSL thinks of our certificates.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use quorate_pki::{
    Authority, TlsMaterial, client_config, inspect_pem, mutual_server_config, pair_matches,
    signed_by,
};

/// `openssl` for the key, and for the form it is stored in.
const KEYS: &[(&str, &str, &str)] = &[
    (
        "genrsa -traditional -out ca.key 2048",
        "RSA PRIVATE KEY",
        "RSA PKCS#1",
    ),
    (
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out ca.key",
        "BEGIN PRIVATE KEY",
        "RSA PKCS#8",
    ),
    (
        "ecparam -name prime256v1 -genkey -noout -out ca.key",
        "EC PRIVATE KEY",
        "P-256 SEC1",
    ),
    (
        "ecparam -name prime256v1 -genkey -out ca.key",
        "EC PARAMETERS",
        "P-256 SEC1 with parameters",
    ),
    (
        "ecparam -name secp384r1 -genkey -noout -out ca.key",
        "EC PRIVATE KEY",
        "P-384 SEC1",
    ),
    (
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key",
        "BEGIN PRIVATE KEY",
        "P-256 PKCS#8",
    ),
    (
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out ca.key",
        "BEGIN PRIVATE KEY",
        "P-384 PKCS#8",
    ),
    (
        "genpkey -algorithm ED25519 -out ca.key",
        "BEGIN PRIVATE KEY",
        "Ed25519 PKCS#8",
    ),
];

// The usages kubeadm gives its CAs.
const KUBEADM: &str = "-addext basicConstraints=critical,CA:TRUE \
    -addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign";

fn make_ca(dir: &Path, key: &str, subject: &str, extensions: &str) -> (String, String) {
    openssl(dir, key);
    fs::write(
        dir.join("empty.cnf"),
        "[req]\ndistinguished_name=dn\n[dn]\n",
    )
    .unwrap();
    openssl(
        dir,
        &format!(
            "req -x509 -new -config empty.cnf -key ca.key -subj {subject} -days 30 \
             -out ca.crt {extensions}"
        ),
    );
    let read = |name| fs::read_to_string(dir.join(name)).unwrap();
    (read("ca.crt"), read("ca.key"))
}

#[test]
fn every_kind_of_key_signs_and_openssl_verifies() {
    for (command, marker, what) in KEYS {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (cert, key) = make_ca(dir, command, "/CN=kubernetes", KUBEADM);
        assert!(key.contains(marker), "{what}");
        let ca = Authority::load(&cert, &key).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(ca.key_pem().as_str(), key);
        assert!(pair_matches(&cert, &key), "{what}");

        let pair = ca.issue(&server_leaf(), now() + DAY).unwrap();
        fs::write(dir.join("leaf.crt"), &pair.issued.cert_pem).unwrap();
        let at = (now() + DAY)
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        openssl(
            dir,
            &format!(
                "verify -x509_strict -attime {at} -CAfile ca.crt -purpose sslserver \
                 -verify_hostname coordinator.example -verify_ip 10.0.0.1 leaf.crt"
            ),
        );
        assert!(signed_by(&pair.issued.cert_pem, &cert).unwrap(), "{what}");
        assert_eq!(ca.spki_pin(), pin_by_openssl(dir), "{what}");
        // kubeadm's CAs may not sign revocation lists, and one they sign would be refused.
        assert!(ca.revocation_list(&[], now(), now() + DAY).is_err());

        let (server, agent) = (
            material(&ca.issue(&server_leaf(), now()).unwrap(), &[&ca]),
            material(&ca.issue(&agent_leaf(), now()).unwrap(), &[&ca]),
        );
        let outcome = connect(
            client_config(&agent).unwrap(),
            mutual_server_config(&server, None).unwrap(),
            "coordinator.example",
        );
        assert!(outcome.is_ok(), "{what}: {outcome:?}");
    }
}

/// The command in kubeadm's documentation for `--discovery-token-ca-cert-hash`.
fn pin_by_openssl(dir: &Path) -> String {
    let public = openssl(dir, "x509 -pubkey -noout -in ca.crt");
    fs::write(dir.join("ca.pub"), public).unwrap();
    openssl(dir, "pkey -pubin -in ca.pub -outform der -out ca.der");
    let digest = openssl(dir, "dgst -sha256 -hex ca.der");
    format!("sha256:{}", digest.rsplit(' ').next().unwrap().trim())
}

#[test]
fn our_own_ca_and_leaves_verify_with_openssl() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority("quorate ca 1");
    fs::write(dir.path().join("ca.crt"), ca.cert_pem()).unwrap();
    for (leaf, purpose) in [(server_leaf(), "sslserver"), (agent_leaf(), "sslclient")] {
        let pair = ca.issue(&leaf, now()).unwrap();
        fs::write(dir.path().join("leaf.crt"), &pair.issued.cert_pem).unwrap();
        openssl(
            dir.path(),
            &format!("verify -x509_strict -CAfile ca.crt -purpose {purpose} leaf.crt"),
        );
    }
    assert_eq!(ca.spki_pin(), pin_by_openssl(dir.path()));
    let text = openssl(dir.path(), "x509 -in ca.crt -noout -text");
    assert!(text.contains("CA:TRUE, pathlen:0"), "{text}");
}

#[test]
fn keys_that_do_not_belong_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, _) = make_ca(dir.path(), KEYS[0].0, "/CN=one", KUBEADM);
    for (command, _, what) in KEYS {
        let dir = tempfile::tempdir().unwrap();
        let (_, other) = make_ca(dir.path(), command, "/CN=two", KUBEADM);
        let error = Authority::load(&cert, &other).unwrap_err();
        assert!(error.to_string().contains("CN=one"), "{what}: {error}");
        assert!(!pair_matches(&cert, &other), "{what}");
    }
}

#[test]
fn the_right_certificate_of_a_bundle_is_taken() {
    let (old, new) = (authority("ca 1"), authority("ca 2"));
    let bundle = format!("# trusted\n{}\n{}", old.cert_pem(), new.cert_pem());
    for ca in [&old, &new] {
        let loaded = Authority::load(&bundle, ca.key_pem()).unwrap();
        assert_eq!(loaded.cert_pem(), ca.cert_pem());
        let pair = loaded.issue(&agent_leaf(), now()).unwrap();
        assert!(signed_by(&pair.issued.cert_pem, ca.cert_pem()).unwrap());
        assert!(signed_by(&pair.issued.cert_pem, &bundle).unwrap());
    }
    assert_eq!(inspect_pem(&bundle).unwrap().len(), 2);
    let leaf = old.issue(&agent_leaf(), now()).unwrap().issued.cert_pem;
    assert!(!signed_by(&leaf, new.cert_pem()).unwrap());
    // The same name is not the same CA.
    assert!(!signed_by(&leaf, authority("ca 1").cert_pem()).unwrap());
    assert!(!signed_by(&leaf, &leaf).unwrap());
}

#[test]
fn names_of_cas_survive_or_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = "ecparam -name prime256v1 -genkey -noout -out ca.key";
    for (subject, usable) in [
        ("/C=DE/O=Example/OU=Infra/CN=K\u{fc}be", true),
        ("/CN=etcd-ca", true),
        ("/OU=one/OU=two/CN=ca", false),
        ("/CN=a+O=b -multivalue-rdn", false),
    ] {
        let extensions = format!("-utf8 {KUBEADM}");
        let (cert, key) = make_ca(dir.path(), key, subject, &extensions);
        let loaded = Authority::load(&cert, &key);
        assert_eq!(loaded.is_ok(), usable, "{subject}: {loaded:?}");
        if let Ok(ca) = loaded {
            let pair = ca.issue(&agent_leaf(), now()).unwrap();
            fs::write(dir.path().join("leaf.crt"), &pair.issued.cert_pem).unwrap();
            openssl(dir.path(), "verify -CAfile ca.crt leaf.crt");
        }
    }
}

#[test]
fn certificates_that_are_no_ca_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = "ecparam -name prime256v1 -genkey -noout -out ca.key";
    for extensions in [
        "-addext basicConstraints=CA:FALSE",
        "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature",
        "-addext subjectAltName=DNS:host",
    ] {
        let (cert, key) = make_ca(dir.path(), key, "/CN=x", extensions);
        let error = Authority::load(&cert, &key).unwrap_err();
        assert!(
            error.to_string().contains("not a CA"),
            "{extensions}: {error}"
        );
    }
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = make_ca(dir.path(), KEYS[2].0, "/CN=x", KUBEADM);
    openssl(
        dir.path(),
        "pkcs8 -topk8 -in ca.key -out enc.key -passout pass:secret",
    );
    openssl(dir.path(), "genrsa -out small.key 1024");
    openssl(
        dir.path(),
        "ecparam -name secp521r1 -genkey -noout -out large.key",
    );
    for (file, expected) in [
        ("enc.key", "no unencrypted private key"),
        ("ca.crt", "no unencrypted private key"),
        ("small.key", "unsupported private key"),
        ("large.key", "unsupported private key"),
    ] {
        let text = fs::read_to_string(dir.path().join(file)).unwrap();
        let error = Authority::load(&cert, &text).unwrap_err().to_string();
        assert!(error.contains(expected), "{file}: {error}");
    }
    assert!(Authority::load("", &key).is_err());
}

#[test]
fn tls_takes_kubeadms_key_forms() {
    let ca = authority("ca 1");
    let dir = tempfile::tempdir().unwrap();
    for (command, marker, what) in KEYS {
        openssl(dir.path(), command);
        openssl(dir.path(), "req -new -key ca.key -subj /CN=x -out r.pem");
        let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
        if what.starts_with("Ed25519") {
            continue;
        }
        let issued = ca
            .sign_request(&read("r.pem"), &agent_leaf(), now())
            .unwrap();
        let key_pem = read("ca.key");
        assert!(key_pem.contains(marker));
        let agent = TlsMaterial {
            cert_chain_pem: issued.cert_pem,
            key_pem: key_pem.into(),
            ca_bundle_pem: ca.cert_pem().to_owned(),
        };
        let server = material(&ca.issue(&server_leaf(), now()).unwrap(), &[&ca]);
        let outcome = connect(
            client_config(&agent).unwrap(),
            mutual_server_config(&server, None).unwrap(),
            "coordinator.example",
        );
        assert!(outcome.is_ok(), "{what}: {outcome:?}");
    }
}
