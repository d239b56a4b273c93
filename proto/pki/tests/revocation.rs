//! Revocation lists.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use quorate_pki::{client_config, mutual_server_config};

const HOST: &str = "coordinator.example";

#[test]
fn the_revoked_certificate_is_refused_and_its_neighbour_is_not() {
    let ca = authority("ca 1");
    let (revoked, fine) = (
        ca.issue(&agent_leaf(), now()).unwrap(),
        ca.issue(&agent_leaf(), now()).unwrap(),
    );
    let serials = [(revoked.issued.serial.clone(), now())];
    let list = ca.revocation_list(&serials, now(), now() + DAY).unwrap();
    let server = issued(&ca, &server_leaf());
    let server = || mutual_server_config(&server, Some(&list)).unwrap();

    let outcome = connect(
        client_config(&material(&revoked, &[&ca])).unwrap(),
        server(),
        HOST,
    );
    let refusal = outcome.server_refusal();
    assert!(refusal.contains("Revoked"), "{refusal}");
    assert!(format!("{:?}", outcome.client).contains("CertificateRevoked"));

    let outcome = connect(
        client_config(&material(&fine, &[&ca])).unwrap(),
        server(),
        HOST,
    );
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn an_empty_or_stale_list_refuses_nobody() {
    let ca = authority("ca 1");
    let server = issued(&ca, &server_leaf());
    for made in [now(), now() - DAY * 9] {
        let list = ca.revocation_list(&[], made, made + DAY).unwrap();
        let outcome = connect(
            client_config(&issued(&ca, &agent_leaf())).unwrap(),
            mutual_server_config(&server, Some(&list)).unwrap(),
            HOST,
        );
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}

#[test]
fn every_ca_of_the_bundle_needs_a_list() {
    let (old, new) = (authority("ca 1"), authority("ca 2"));
    let server = material(&new.issue(&server_leaf(), now()).unwrap(), &[&old, &new]);
    let list = |ca: &quorate_pki::Authority| ca.revocation_list(&[], now(), now() + DAY).unwrap();

    let error = mutual_server_config(&server, Some(&list(&new))).unwrap_err();
    assert!(error.to_string().contains("CN=ca 1"), "{error}");
    // A list by somebody who only has the CA's name does not count.
    let fake = list(&new) + &list(&authority("ca 1"));
    assert!(mutual_server_config(&server, Some(&fake)).is_err());
    assert!(mutual_server_config(&server, Some("")).is_err());

    let both = list(&new) + &list(&old);
    for ca in [&old, &new] {
        let agent = material(&ca.issue(&agent_leaf(), now()).unwrap(), &[&old, &new]);
        let outcome = connect(
            client_config(&agent).unwrap(),
            mutual_server_config(&server, Some(&both)).unwrap(),
            HOST,
        );
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}

#[test]
fn serials_are_checked_and_repeated_ones_are_fine() {
    let ca = authority("ca 1");
    for bad in ["", "0", "xy", "-1", &"ab".repeat(21)] {
        let serials = [(bad.to_owned(), now())];
        let error = ca
            .revocation_list(&serials, now(), now() + DAY)
            .unwrap_err();
        assert!(error.to_string().contains("serial"), "{error}");
    }
    let twice = ["80ff", "0080FF"].map(|serial| (serial.to_owned(), now()));
    assert!(ca.revocation_list(&twice, now(), now() + DAY).is_ok());
    // The next update must be later than this one.
    assert!(ca.revocation_list(&[], now(), now()).is_err());
}

#[test]
fn openssl_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority("ca 1");
    let agent = ca.issue(&agent_leaf(), now()).unwrap();
    let serials = [(agent.issued.serial.clone(), now())];
    let list = ca.revocation_list(&serials, now(), now() + DAY).unwrap();
    std::fs::write(dir.path().join("ca.crt"), ca.cert_pem()).unwrap();
    std::fs::write(dir.path().join("crl.pem"), list).unwrap();
    let text = openssl(dir.path(), "crl -in crl.pem -CAfile ca.crt -noout -text");
    assert!(text.contains("verify OK"), "{text}");
    assert!(text.contains(&agent.issued.serial.to_uppercase()), "{text}");
}
