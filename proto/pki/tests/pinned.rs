//! A machine that knows only the hash of the CA's key.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use quorate_pki::{
    Leaf, TlsMaterial, Usage, enroll_server_config, mutual_server_config, pinned_client_config,
    spki_pin_of_cert_der, spki_pin_of_cert_pem,
};

const HOST: &str = "coordinator.example";

#[test]
fn the_right_pin_connects_and_sends_no_certificate() {
    let ca = authority("ca 1");
    let material = issued(&ca, &server_leaf());
    for host in [HOST, "10.0.0.1"] {
        let outcome = connect(
            pinned_client_config(&ca.spki_pin()).unwrap(),
            enroll_server_config(&material).unwrap(),
            host,
        );
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(outcome.alpn.as_deref(), Some(b"h2".as_slice()));
        assert_eq!(outcome.peer, None);
    }
}

#[test]
fn the_ca_may_be_in_the_chain_already() {
    let ca = authority("ca 1");
    let mut material = issued(&ca, &server_leaf());
    material.cert_chain_pem.push_str(ca.cert_pem());
    let outcome = connect(
        pinned_client_config(&ca.spki_pin()).unwrap(),
        enroll_server_config(&material).unwrap(),
        HOST,
    );
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn a_server_without_its_ca_is_refused_when_configured() {
    let material = TlsMaterial {
        ca_bundle_pem: authority("other").cert_pem().to_owned(),
        ..issued(&authority("ca 1"), &server_leaf())
    };
    let error = enroll_server_config(&material).unwrap_err().to_string();
    assert!(
        error.contains("neither in its chain nor in the bundle"),
        "{error}"
    );
}

#[test]
fn a_wrong_pin_is_refused_before_any_data() {
    let ca = authority("ca 1");
    let outcome = connect(
        pinned_client_config(&authority("ca 1").spki_pin()).unwrap(),
        enroll_server_config(&issued(&ca, &server_leaf())).unwrap(),
        HOST,
    );
    let refusal = outcome.client_refusal();
    assert!(refusal.contains("PinMismatch"), "{refusal}");
    assert!(refusal.contains(&ca.spki_pin()), "{refusal}");
    assert!(outcome.server.is_err(), "the server is told");
}

#[test]
fn another_server_cannot_lend_itself_the_pinned_ca() {
    // The CA certificate is public: an attacker can present it, but it did not sign his leaf.
    // With the same CA name, so that the name alone does not give it away.
    let (ca, attacker) = (authority("ca 1"), authority("ca 1"));
    let mut material = issued(&attacker, &server_leaf());
    material.cert_chain_pem.push_str(ca.cert_pem());
    let outcome = connect(
        pinned_client_config(&ca.spki_pin()).unwrap(),
        enroll_server_config(&material).unwrap(),
        HOST,
    );
    let refusal = outcome.client_refusal();
    assert!(refusal.contains("BadSignature"), "{refusal}");

    // Leaf, the attacker's CA, the pinned CA: still not signed by the pinned one.
    let mut material = issued(&attacker, &server_leaf());
    material.cert_chain_pem.push_str(attacker.cert_pem());
    material.cert_chain_pem.push_str(ca.cert_pem());
    let outcome = connect(
        pinned_client_config(&ca.spki_pin()).unwrap(),
        enroll_server_config(&material).unwrap(),
        HOST,
    );
    outcome.client_refusal();
}

#[test]
fn an_enrolled_agent_cannot_pose_as_the_server() {
    let ca = authority("ca 1");
    let leaf = Leaf {
        names: server_leaf().names,
        ..agent_leaf()
    };
    let outcome = connect(
        pinned_client_config(&ca.spki_pin()).unwrap(),
        enroll_server_config(&issued(&ca, &leaf)).unwrap(),
        HOST,
    );
    let refusal = outcome.client_refusal();
    assert!(refusal.contains("InvalidPurpose"), "{refusal}");
}

#[test]
fn a_pin_of_the_servers_own_key_is_refused() {
    let ca = authority("ca 1");
    let material = issued(&ca, &server_leaf());
    let pin = spki_pin_of_cert_pem(&material.cert_chain_pem).unwrap();
    let outcome = connect(
        pinned_client_config(&pin).unwrap(),
        enroll_server_config(&material).unwrap(),
        HOST,
    );
    let refusal = outcome.client_refusal();
    assert!(refusal.contains("server's own"), "{refusal}");
}

#[test]
fn a_pin_of_a_leaf_in_the_chain_is_refused() {
    let ca = authority("ca 1");
    let other = ca.issue(&agent_leaf(), now()).unwrap();
    let mut material = issued(&ca, &server_leaf());
    material.cert_chain_pem.push_str(&other.issued.cert_pem);
    material.cert_chain_pem.push_str(ca.cert_pem());
    let pin = spki_pin_of_cert_pem(&other.issued.cert_pem).unwrap();
    let outcome = connect(
        pinned_client_config(&pin).unwrap(),
        enroll_server_config(&material).unwrap(),
        HOST,
    );
    let refusal = outcome.client_refusal();
    assert!(refusal.contains("not a CA"), "{refusal}");
}

#[test]
fn name_and_dates_count_as_always() {
    let ca = authority("ca 1");
    let client = || pinned_client_config(&ca.spki_pin()).unwrap();
    let server = |leaf: &Leaf| enroll_server_config(&issued(&ca, leaf)).unwrap();
    for host in ["other.example", "10.0.0.10", "10.0.0.2"] {
        let refusal = connect(client(), server(&server_leaf()), host).client_refusal();
        assert!(refusal.contains("NotValidForName"), "{refusal}");
    }

    let old = ca.issue(&server_leaf(), now() - DAY * 3).unwrap();
    let server = enroll_server_config(&material(&old, &[&ca])).unwrap();
    let refusal = connect(client(), server, HOST).client_refusal();
    assert!(refusal.contains("Expired"), "{refusal}");
}

#[test]
fn an_expired_or_future_ca_is_refused() {
    let then = now() - DAY * 10;
    let ca = quorate_pki::Authority::create("old", DAY, then).unwrap();
    let pair = ca.issue(&server_leaf(), then).unwrap();
    let refusal = connect(
        pinned_client_config(&ca.spki_pin()).unwrap(),
        enroll_server_config(&material(&pair, &[&ca])).unwrap(),
        HOST,
    )
    .client_refusal();
    assert!(refusal.contains("has expired"), "{refusal}");

    let then = now() + DAY;
    let ca = quorate_pki::Authority::create("new", DAY, then).unwrap();
    let pair = ca.issue(&server_leaf(), then).unwrap();
    let refusal = connect(
        pinned_client_config(&ca.spki_pin()).unwrap(),
        enroll_server_config(&material(&pair, &[&ca])).unwrap(),
        HOST,
    )
    .client_refusal();
    assert!(refusal.contains("not valid yet"), "{refusal}");
}

#[test]
fn a_pinned_client_has_nothing_to_show_to_the_main_port() {
    let ca = authority("ca 1");
    let mut material = issued(&ca, &server_leaf());
    material.cert_chain_pem.push_str(ca.cert_pem());
    let outcome = connect(
        pinned_client_config(&ca.spki_pin()).unwrap(),
        mutual_server_config(&material, None).unwrap(),
        HOST,
    );
    let refusal = outcome.server_refusal();
    assert!(refusal.contains("NoCertificatesPresented"), "{refusal}");
}

#[test]
fn malformed_pins_and_certificates() {
    let pin = authority("ca 1").spki_pin();
    assert_eq!(pin.len(), 7 + 64);
    assert!(pinned_client_config(&pin.to_uppercase()).is_err());
    assert!(pinned_client_config(&pin[..70]).is_err());
    assert!(pinned_client_config("").is_err());
    assert!(spki_pin_of_cert_der(b"no certificate").is_err());
    assert!(spki_pin_of_cert_pem("").is_err());
    let two = format!("{}{}", authority("a").cert_pem(), authority("b").cert_pem());
    assert!(spki_pin_of_cert_pem(&two).is_err());
    let both = Leaf {
        usage: Usage::Both,
        ..server_leaf()
    };
    let ca = authority("ca 1");
    let outcome = connect(
        pinned_client_config(&ca.spki_pin()).unwrap(),
        enroll_server_config(&issued(&ca, &both)).unwrap(),
        HOST,
    );
    assert!(outcome.is_ok());
}
