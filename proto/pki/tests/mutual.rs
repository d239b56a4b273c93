//! Both sides show a certificate.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use quorate_pki::{
    Identity, Leaf, Role, TlsMaterial, Usage, anonymous_client_config, client_config,
    mutual_server_config, plain_https_client_config, provider,
};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

const HOST: &str = "coordinator.example";

#[test]
fn both_sides_are_known_and_the_role_is_readable() {
    let ca = authority("ca 1");
    let outcome = connect(
        client_config(&issued(&ca, &agent_leaf())).unwrap(),
        mutual_server_config(&issued(&ca, &server_leaf()), None).unwrap(),
        HOST,
    );
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(outcome.alpn.as_deref(), Some(b"h2".as_slice()));
    let identity = Identity::from_cert_der(&outcome.peer.unwrap()).unwrap();
    assert_eq!(
        (identity.role, identity.id.as_str()),
        (Role::Agent, "node-1")
    );
}

#[test]
fn nothing_is_resumed() {
    let ca = authority("ca 1");
    let material = issued(&ca, &server_leaf());
    for config in [
        mutual_server_config(&material, None).unwrap(),
        quorate_pki::enroll_server_config(&material).unwrap(),
    ] {
        assert_eq!(config.send_tls13_tickets, 0);
        assert_eq!(config.max_early_data_size, 0);
        assert!(!config.session_storage.can_cache());
        assert!(!config.ticketer.enabled());
    }
}

#[test]
fn no_client_certificate_is_refused() {
    let ca = authority("ca 1");
    let outcome = connect(
        anonymous_client_config(ca.cert_pem()).unwrap(),
        mutual_server_config(&issued(&ca, &server_leaf()), None).unwrap(),
        HOST,
    );
    let refusal = outcome.server_refusal();
    assert!(refusal.contains("NoCertificatesPresented"), "{refusal}");
    assert!(format!("{:?}", outcome.client).contains("CertificateRequired"));
}

#[test]
fn foreign_cas_are_refused_in_both_directions() {
    let (ca, foreign) = (authority("ca 1"), authority("foreign"));
    let agent = TlsMaterial {
        ca_bundle_pem: ca.cert_pem().to_owned(),
        ..issued(&foreign, &agent_leaf())
    };
    let server = || mutual_server_config(&issued(&ca, &server_leaf()), None).unwrap();
    // The client also picks its certificate by the CAs the server names, and sends none.
    let refusal = connect(client_config(&agent).unwrap(), server(), HOST).server_refusal();
    assert!(
        refusal.contains("UnknownIssuer") || refusal.contains("NoCertificatesPresented"),
        "{refusal}"
    );

    // Same name, other key: the client is sure to send it, and the signature decides.
    let agent = TlsMaterial {
        ca_bundle_pem: ca.cert_pem().to_owned(),
        ..issued(&authority("ca 1"), &agent_leaf())
    };
    let refusal = connect(client_config(&agent).unwrap(), server(), HOST).server_refusal();
    assert!(refusal.contains("BadSignature"), "{refusal}");

    let agent = issued(&foreign, &agent_leaf());
    let refusal = connect(client_config(&agent).unwrap(), server(), HOST).client_refusal();
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
}

#[test]
fn expired_and_future_certificates_are_refused() {
    let ca = authority("ca 1");
    let server = || mutual_server_config(&issued(&ca, &server_leaf()), None).unwrap();
    for (at, expected) in [(now() - DAY * 3, "Expired"), (now() + DAY, "NotValidYet")] {
        let agent = material(&ca.issue(&agent_leaf(), at).unwrap(), &[&ca]);
        let refusal = connect(client_config(&agent).unwrap(), server(), HOST).server_refusal();
        assert!(refusal.contains(expected), "{refusal}");

        let old = material(&ca.issue(&server_leaf(), at).unwrap(), &[&ca]);
        let refusal = connect(
            client_config(&issued(&ca, &agent_leaf())).unwrap(),
            mutual_server_config(&old, None).unwrap(),
            HOST,
        )
        .client_refusal();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn a_certificate_is_good_for_its_side_only() {
    let ca = authority("ca 1");
    let wrong_client = Leaf {
        usage: Usage::Server,
        ..agent_leaf()
    };
    let refusal = connect(
        client_config(&issued(&ca, &wrong_client)).unwrap(),
        mutual_server_config(&issued(&ca, &server_leaf()), None).unwrap(),
        HOST,
    )
    .server_refusal();
    assert!(refusal.contains("InvalidPurpose"), "{refusal}");

    let wrong_server = Leaf {
        usage: Usage::Client,
        ..server_leaf()
    };
    let refusal = connect(
        client_config(&issued(&ca, &agent_leaf())).unwrap(),
        mutual_server_config(&issued(&ca, &wrong_server), None).unwrap(),
        HOST,
    )
    .client_refusal();
    assert!(refusal.contains("InvalidPurpose"), "{refusal}");
}

#[test]
fn a_leaf_cannot_sign() {
    let ca = authority("ca 1");
    let agent = ca.issue(&agent_leaf(), now()).unwrap();
    let error = quorate_pki::Authority::load(&agent.issued.cert_pem, &agent.key_pem).unwrap_err();
    assert!(error.to_string().contains("not a CA"), "{error}");
}

#[test]
fn old_and_new_ca_side_by_side() {
    let (old, new) = (authority("ca 1"), authority("ca 2"));
    for (issuer_of_agent, issuer_of_server) in [(&old, &new), (&new, &old)] {
        let agent = material(
            &issuer_of_agent.issue(&agent_leaf(), now()).unwrap(),
            &[&old, &new],
        );
        let server = material(
            &issuer_of_server.issue(&server_leaf(), now()).unwrap(),
            &[&old, &new],
        );
        let outcome = connect(
            client_config(&agent).unwrap(),
            mutual_server_config(&server, None).unwrap(),
            HOST,
        );
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}

#[test]
fn tls_1_2_is_refused() {
    let ca = authority("ca 1");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.cert_pem().as_bytes()).unwrap())
        .unwrap();
    let old = || {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    };
    let material = issued(&ca, &server_leaf());
    for server in [
        mutual_server_config(&material, None).unwrap(),
        quorate_pki::enroll_server_config(&material).unwrap(),
    ] {
        let refusal = connect(old(), server, HOST).server_refusal();
        assert!(refusal.contains("PeerIncompatible"), "{refusal}");
    }
}

fn foreign_server(
    material: &TlsMaterial,
    version: &'static rustls::SupportedProtocolVersion,
) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            CertificateDer::pem_slice_iter(material.cert_chain_pem.as_bytes())
                .collect::<Result<_, _>>()
                .unwrap(),
            PrivateKeyDer::from_pem_slice(material.key_pem.as_bytes()).unwrap(),
        )
        .unwrap()
}

#[test]
fn only_the_probe_speaks_tls_1_2() {
    let ca = authority("ca 1");
    let material = issued(&ca, &server_leaf());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let probe = plain_https_client_config(ca.cert_pem(), None).unwrap();
        let outcome = connect(probe, foreign_server(&material, version), HOST);
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(outcome.alpn, None);
    }
    for client in [
        anonymous_client_config(ca.cert_pem()).unwrap(),
        client_config(&issued(&ca, &agent_leaf())).unwrap(),
        quorate_pki::pinned_client_config(&ca.spki_pin()).unwrap(),
    ] {
        let server = foreign_server(&material, &rustls::version::TLS12);
        connect(client, server, HOST).client_refusal();
    }
}

#[test]
fn the_probe_can_show_a_certificate() {
    let ca = authority("etcd-ca");
    let agent = ca.issue(&agent_leaf(), now()).unwrap();
    let mut server = mutual_server_config(&issued(&ca, &server_leaf()), None).unwrap();
    server.alpn_protocols.clear();
    let probe = plain_https_client_config(
        ca.cert_pem(),
        Some((&agent.issued.cert_pem, &agent.key_pem)),
    )
    .unwrap();
    assert!(connect(probe, server, HOST).is_ok());
}

#[test]
fn material_that_does_not_fit_is_refused_when_configured() {
    let ca = authority("ca 1");
    let good = issued(&ca, &server_leaf());
    let other_key = TlsMaterial {
        key_pem: issued(&ca, &server_leaf()).key_pem,
        ..good.clone()
    };
    let no_ca = TlsMaterial {
        ca_bundle_pem: String::new(),
        ..good.clone()
    };
    let no_cert = TlsMaterial {
        cert_chain_pem: "nothing".to_owned(),
        ..good.clone()
    };
    let cut = TlsMaterial {
        cert_chain_pem: good.cert_chain_pem[..200].to_owned(),
        ..good.clone()
    };
    for bad in [&other_key, &no_ca, &no_cert, &cut] {
        for error in [
            mutual_server_config(bad, None).err(),
            client_config(bad).err(),
        ] {
            let text = format!("{error:?} {bad:?}");
            assert!(error.is_some(), "{text}");
            let secret = bad.key_pem.lines().nth(1).unwrap();
            assert!(!text.contains(secret), "shows the key");
        }
    }
}
