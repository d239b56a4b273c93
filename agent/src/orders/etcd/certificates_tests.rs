//! The certificates of one member, in a folder of its own.

use super::*;
use quorate_proto::v1::Endpoint;

fn cluster(id: &str) -> ClusterConfig {
    ClusterConfig {
        id: id.into(),
        endpoint: Some(Endpoint {
            host: "etcd.example".into(),
            port: 2379,
        }),
        extra_names: vec!["2001:db8::9".into()],
        ..ClusterConfig::default()
    }
}

fn node() -> NodeConfig {
    NodeConfig {
        name: "n1".into(),
        ..NodeConfig::default()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_members_certificates() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::under(root.path());
    let (one, address) = (cluster("one"), IpAddr::from([10, 0, 0, 1]));
    assert!(load(&paths, &one).unwrap().is_none());
    assert_eq!(
        required(&paths, &one).unwrap_err().code,
        "authority-missing"
    );
    create(&paths, &one).unwrap();
    let authority = required(&paths, &one).unwrap();
    let other = load(&paths, &cluster("two")).unwrap_err();
    assert_eq!(other.code, "authority-of-another-cluster");

    ensure(&paths, &authority, &one, &node(), address).unwrap();
    let folder = paths.etcd_pki();
    let read = |file: &str| files::read_text(&folder.join(file)).unwrap();
    for file in ["server", "peer"] {
        let info = inspect_pem(&read(&format!("{file}.crt")))
            .unwrap()
            .remove(0);
        for name in [
            "n1",
            "localhost",
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "etcd.example",
            "2001:db8::9",
        ] {
            assert!(info.covers(&Name::parse(name).unwrap()), "{name}");
        }
        assert_eq!(mode(&folder.join(format!("{file}.key"))), 0o640);
    }
    for secret in ["ca.key", "client.key"] {
        assert_eq!(mode(&folder.join(secret)), 0o600, "{secret}");
    }
    assert_eq!(mode(&folder), 0o750);

    // Good ones stay; another address, a broken pair or another CA makes new ones.
    let before = read("server.crt");
    ensure(&paths, &authority, &one, &node(), address).unwrap();
    assert_eq!(read("server.crt"), before);
    ensure(
        &paths,
        &authority,
        &one,
        &node(),
        IpAddr::from([10, 0, 0, 9]),
    )
    .unwrap();
    let moved = read("server.crt");
    assert_ne!(moved, before);
    files::write_atomic(
        &folder.join("server.key"),
        read("peer.key").as_bytes(),
        0o640,
    )
    .unwrap();
    ensure(
        &paths,
        &authority,
        &one,
        &node(),
        IpAddr::from([10, 0, 0, 9]),
    )
    .unwrap();
    assert_ne!(read("server.crt"), moved);
}

#[test]
fn renewed_when_little_is_left() {
    let begin = SystemTime::now();
    let authority = Authority::create("ca", 10 * YEAR, begin).unwrap();
    let leaf = Leaf {
        common_name: "n1".into(),
        organization: vec![],
        names: vec![],
        uri: None,
        usage: Usage::Client,
        validity: LEAF_VALIDITY,
    };
    let pair = authority.issue(&leaf, begin).unwrap();
    let good = |now| is_good(&pair.issued.cert_pem, &pair.key_pem, &authority, &leaf, now);
    assert!(good(begin));
    assert!(good(begin + YEAR / 2));
    assert!(!good(begin + YEAR / 4 * 3));
    assert!(!is_good("", "", &authority, &leaf, begin));
}
