//! What ends up in a certificate.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::{Duration, SystemTime};

use common::*;
use quorate_pki::{Authority, KeyRequest, Leaf, Name, Usage, inspect_pem, pair_matches, signed_by};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn names(texts: &[&str]) -> Vec<Name> {
    texts
        .iter()
        .map(|text| Name::parse(text).unwrap())
        .collect()
}

#[test]
fn a_greedy_request_gets_what_the_leaf_says() {
    let ca = authority("ca 1");
    let key = KeyPair::generate().unwrap();
    let mut wish = CertificateParams::new(vec!["coordinator.example".to_owned()]).unwrap();
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wish.distinguished_name.push(DnType::CommonName, "root");
    wish.distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    wish.subject_alt_names.push(SanType::URI(
        "spiffe://quorate/admin/root".try_into().unwrap(),
    ));
    // An extension nobody knows: ignored as well, rather than an error.
    wish.custom_extensions
        .push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]));
    let csr = wish.serialize_request(&key).unwrap().pem().unwrap();

    let issued = ca.sign_request(&csr, &agent_leaf(), now()).unwrap();
    let info = inspect_pem(&issued.cert_pem).unwrap().remove(0);
    assert!(!info.is_ca);
    assert_eq!(info.subject, "CN=node-1");
    assert_eq!(info.organization, Vec::<String>::new());
    assert_eq!(info.names, []);
    assert_eq!(info.uris, ["spiffe://quorate/agent/node-1"]);
    assert!(pair_matches(&issued.cert_pem, &key.serialize_pem()));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.crt"), &issued.cert_pem).unwrap();
    let text = openssl(dir.path(), "x509 -in c.crt -noout -text");
    assert!(text.contains("CA:FALSE"), "{text}");
    assert!(!text.contains("CA:TRUE"), "{text}");
    assert!(!text.contains("Certificate Sign"), "{text}");
    assert!(!text.contains("1.2.3.4"), "{text}");
}

#[test]
fn the_requester_must_hold_the_key() {
    let ca = authority("ca 1");
    let request = KeyRequest::generate().unwrap();
    assert!(
        ca.sign_request(&request.csr_pem, &agent_leaf(), now())
            .is_ok()
    );

    // Flip one bit in the last bytes, which are the signature.
    let mut lines: Vec<String> = request.csr_pem.lines().map(str::to_owned).collect();
    let last = lines.len() - 2;
    let changed = if lines[last].starts_with('A') {
        "B"
    } else {
        "A"
    };
    lines[last].replace_range(..1, changed);
    let error = ca
        .sign_request(&lines.join("\n"), &agent_leaf(), now())
        .unwrap_err();
    assert!(error.to_string().contains("certificate request"), "{error}");

    for bad in [
        "",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        ca.cert_pem(),
        &"x".repeat(20_000),
    ] {
        assert!(ca.sign_request(bad, &agent_leaf(), now()).is_err());
    }
}

#[test]
fn weak_and_odd_keys_are_refused() {
    let ca = authority("ca 1");
    let dir = tempfile::tempdir().unwrap();
    for (arguments, accepted) in [
        ("-newkey rsa:2048", true),
        ("-newkey rsa:1024", false),
        ("-newkey rsa:2048 -sha1", false),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-256", true),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-384", true),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-521", false),
        ("-newkey ec -pkeyopt ec_paramgen_curve:secp256k1", false),
        ("-newkey ed25519", false),
    ] {
        openssl(
            dir.path(),
            &format!("req -new -nodes -subj /CN=x -keyout k.pem -out r.pem {arguments}"),
        );
        let csr = std::fs::read_to_string(dir.path().join("r.pem")).unwrap();
        let key = std::fs::read_to_string(dir.path().join("k.pem")).unwrap();
        let result = ca.sign_request(&csr, &agent_leaf(), now());
        assert_eq!(result.is_ok(), accepted, "{arguments}: {result:?}");
        if let Ok(issued) = result {
            assert!(pair_matches(&issued.cert_pem, &key), "{arguments}");
        }
    }
}

#[test]
fn a_kubernetes_leaf_reads_back() {
    let ca = authority("kubernetes");
    let leaf = Leaf {
        common_name: "kube-apiserver".to_owned(),
        organization: vec![
            "system:nodes".to_owned(),
            "kubeadm:cluster-admins".to_owned(),
        ],
        names: names(&[
            "Kubernetes.Default",
            "10.96.0.1",
            "[fd00::1]",
            "kubernetes.default",
        ]),
        uri: None,
        usage: Usage::Both,
        validity: DAY,
    };
    let issued = ca.issue(&leaf, now()).unwrap();
    let info = inspect_pem(&issued.issued.cert_pem).unwrap().remove(0);
    assert_eq!(info.common_name, "kube-apiserver");
    assert_eq!(info.organization, leaf.organization);
    assert_eq!(
        info.names,
        names(&["kubernetes.default", "10.96.0.1", "fd00::1"])
    );
    assert_eq!(info.issuer, "CN=kubernetes");
    assert_eq!(
        (&info.serial, &info.fingerprint),
        (&issued.issued.serial, &issued.issued.fingerprint)
    );
    assert!(signed_by(&issued.issued.cert_pem, ca.cert_pem()).unwrap());
    assert!(pair_matches(&issued.issued.cert_pem, &issued.key_pem));
}

#[test]
fn leaves_that_make_no_sense_are_refused() {
    let ca = authority("ca 1");
    let good = agent_leaf();
    let text = |t: &str| t.to_owned();
    let bad = [
        Leaf {
            common_name: String::new(),
            ..good.clone()
        },
        Leaf {
            common_name: text("a\nb"),
            ..good.clone()
        },
        Leaf {
            common_name: "a".repeat(301),
            ..good.clone()
        },
        Leaf {
            organization: vec![String::new()],
            ..good.clone()
        },
        Leaf {
            organization: vec![text("a"), text("b"), text("c")],
            ..good.clone()
        },
        Leaf {
            names: vec![Name::Dns(text("*.example.com"))],
            ..good.clone()
        },
        Leaf {
            names: vec![Name::Dns(text("a b"))],
            ..good.clone()
        },
        Leaf {
            uri: Some(text("no uri")),
            ..good.clone()
        },
        Leaf {
            uri: Some(text("spiffe://quorate/agent/\u{e4}")),
            ..good.clone()
        },
        Leaf {
            uri: Some(String::new()),
            ..good.clone()
        },
        Leaf {
            validity: Duration::ZERO,
            ..good.clone()
        },
        Leaf {
            validity: Duration::MAX,
            ..good.clone()
        },
    ];
    for leaf in bad {
        assert!(ca.issue(&leaf, now()).is_err(), "{leaf:?}");
    }
}

#[test]
fn dates_stay_within_the_ca() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let ca = Authority::create("ca 1", DAY * 10, start).unwrap();
    let leaf = |validity| Leaf {
        validity,
        ..agent_leaf()
    };
    let skew = Duration::from_secs(300);

    let usual = ca.issue(&leaf(DAY), start + DAY).unwrap().issued;
    assert_eq!(usual.not_before, start + DAY - skew);
    assert_eq!(usual.not_after, start + DAY * 2);

    let long = ca.issue(&leaf(DAY * 100), start + DAY).unwrap().issued;
    assert_eq!(long.not_after, start + DAY * 10);

    // As soon as the CA exists: its own date is the limit.
    let early = ca.issue(&leaf(DAY), start - skew).unwrap().issued;
    assert_eq!(early.not_before, start - skew);

    for at in [start + DAY * 10, start + DAY * 11, start - DAY * 3] {
        assert!(ca.issue(&leaf(DAY), at).is_err());
    }
    // Past 2050 the encoding of dates changes.
    let far = Authority::create("far", DAY * 365 * 40, start).unwrap();
    let issued = far.issue(&leaf(DAY * 365 * 35), start).unwrap().issued;
    assert_eq!(seconds(issued.not_after), seconds(start + DAY * 365 * 35));
    // Fractions of a second are dropped, not rounded up.
    let odd = far
        .issue(&leaf(DAY), start + Duration::from_millis(999))
        .unwrap();
    assert_eq!(odd.issued.not_after, start + DAY);
}

#[test]
fn the_same_key_twice_gets_two_serials() {
    let ca = authority("ca 1");
    let request = KeyRequest::generate().unwrap();
    let sign = || {
        ca.sign_request(&request.csr_pem, &agent_leaf(), now())
            .unwrap()
    };
    let (a, b) = (sign(), sign());
    assert_ne!(a.serial, b.serial);
    assert_ne!(a.fingerprint, b.fingerprint);
    assert_eq!((a.serial.len(), a.fingerprint.len()), (32, 64));
    assert!(pair_matches(&b.cert_pem, &request.key_pem));
    let other = KeyRequest::generate().unwrap();
    assert!(!pair_matches(&b.cert_pem, &other.key_pem));
    assert!(!pair_matches("", &other.key_pem));
    assert!(!pair_matches(&b.cert_pem, ""));
}

#[test]
fn a_ca_needs_a_name_and_a_life() {
    for name in ["", "a\nb", &"a".repeat(65)] {
        assert!(Authority::create(name, DAY, now()).is_err(), "{name:?}");
    }
    assert!(Authority::create("ca", Duration::ZERO, now()).is_err());
    assert!(Authority::create("ca", Duration::MAX, now()).is_err());
    let ca = authority("ca 1");
    assert!(ca.info().is_ca);
    let again = Authority::load(ca.cert_pem(), ca.key_pem()).unwrap();
    assert_eq!(again.spki_pin(), ca.spki_pin());
    assert_eq!(again.cert_pem(), ca.cert_pem());
}
