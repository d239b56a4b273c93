//! The certificates of a node, in a folder of its own.

use super::*;
use crate::host::files;
use quorate_pki::{Authority, Leaf, Name, Usage};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn write(paths: &Paths, path: &str, text: &str) {
    files::write_atomic(&paths.at(path), text.as_bytes(), 0o600).unwrap();
}

fn authority() -> Authority {
    Authority::create("kubernetes", 10 * DAY, SystemTime::now()).unwrap()
}

fn issue(authority: &Authority) -> (String, String) {
    let leaf = Leaf {
        common_name: "n1".into(),
        organization: vec![],
        names: vec![Name::parse("10.0.0.1").unwrap()],
        uri: None,
        usage: Usage::Both,
        validity: DAY,
    };
    let pair = authority.issue(&leaf, SystemTime::now()).unwrap();
    (pair.issued.cert_pem, pair.key_pem.as_str().to_owned())
}

fn of<'a>(all: &'a [CertificateInfo], place: &str) -> &'a CertificateInfo {
    all.iter().find(|it| it.place == place).unwrap()
}

#[test]
fn says_what_is_there_and_what_is_wrong_with_it() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::under(root.path());
    let mut memory = Memory::default();
    assert!(memory.view(&paths).is_empty());
    let (ours, other) = (authority(), authority());
    let pki = "/etc/kubernetes/pki";
    write(&paths, &format!("{pki}/ca.crt"), ours.cert_pem());
    let (good, foreign) = (issue(&ours), issue(&other));
    for (name, certificate, key) in [
        ("apiserver", &good.0, &good.1),
        ("apiserver-kubelet-client", &good.0, &foreign.1),
    ] {
        write(&paths, &format!("{pki}/{name}.crt"), certificate);
        write(&paths, &format!("{pki}/{name}.key"), key);
    }
    write(&paths, &format!("{pki}/front-proxy-ca.crt"), "nonsense");
    let kubelet = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    write(&paths, kubelet, &format!("{}{}", foreign.0, foreign.1));

    let all = memory.view(&paths);
    assert_eq!(all.len(), 5);
    let server = of(&all, "/etc/kubernetes/pki/apiserver.crt");
    assert_eq!(
        (server.kind.as_str(), server.renewable),
        ("api-server", true)
    );
    assert_eq!(server.names, ["10.0.0.1"]);
    assert_eq!(
        (server.subject.as_str(), server.issuer.as_str()),
        ("CN=n1", "CN=kubernetes")
    );
    assert_eq!(server.problem, None);
    let ca = of(&all, "/etc/kubernetes/pki/ca.crt");
    assert!(ca.authority && !ca.renewable && ca.problem.is_none());
    for (place, what) in [
        (
            "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
            "belong to its key",
        ),
        ("/etc/kubernetes/pki/front-proxy-ca.crt", "cannot be read"),
        (kubelet, "not signed by"),
    ] {
        let problem = of(&all, place).problem.clone().unwrap();
        assert!(problem.what.contains(what), "{problem}");
    }
}

#[test]
fn a_changed_key_or_authority_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::under(root.path());
    let mut memory = Memory::default();
    let (ours, other) = (authority(), authority());
    let (certificate, key) = issue(&ours);
    write(&paths, "/etc/quorate/etcd/pki/ca.crt", ours.cert_pem());
    write(&paths, "/etc/quorate/etcd/pki/peer.crt", &certificate);
    write(&paths, "/etc/quorate/etcd/pki/peer.key", &key);
    let place = "/etc/quorate/etcd/pki/peer.crt";
    assert_eq!(of(&memory.view(&paths), place).problem, None);
    assert_eq!(of(&memory.view(&paths), place).problem, None);
    write(&paths, "/etc/quorate/etcd/pki/peer.key", &issue(&ours).1);
    assert!(of(&memory.view(&paths), place).problem.is_some());
    write(&paths, "/etc/quorate/etcd/pki/peer.key", &key);
    assert_eq!(of(&memory.view(&paths), place).problem, None);
    write(&paths, "/etc/quorate/etcd/pki/ca.crt", other.cert_pem());
    assert!(of(&memory.view(&paths), place).problem.is_some());
    files::remove(&paths.at(place)).unwrap();
    assert_eq!(memory.view(&paths).len(), 1);
}
