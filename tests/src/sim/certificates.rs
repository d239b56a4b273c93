//! Certificates that a simulated machine reports: as many and as long as on a real one, and none near its end.

use super::world::{Machine, Role};
use quorate_proto::v1::CertificateInfo;

/// 2026 and 2126: they are not renewed while the simulation runs.
const ISSUED: i64 = 1_767_225_600;
const ENDS: i64 = 4_922_899_200;
const WORKER: &[(&str, &str)] = &[
    ("/var/lib/quorate-agent/identity/cert.pem", "agent"),
    ("/etc/kubernetes/pki/ca.crt", "ca"),
    (
        "/var/lib/kubelet/pki/kubelet-client-current.pem",
        "kubelet-client",
    ),
    ("/var/lib/kubelet/pki/kubelet.crt", "kubelet-server"),
];
const MEMBER: &[(&str, &str)] = &[
    ("/etc/kubernetes/pki/apiserver.crt", "api-server"),
    (
        "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
        "api-server-kubelet-client",
    ),
    (
        "/etc/kubernetes/pki/apiserver-etcd-client.crt",
        "api-server-etcd-client",
    ),
    (
        "/etc/kubernetes/pki/front-proxy-client.crt",
        "front-proxy-client",
    ),
    ("/etc/kubernetes/pki/front-proxy-ca.crt", "ca"),
    ("/etc/kubernetes/pki/etcd/ca.crt", "ca"),
    ("/etc/kubernetes/pki/etcd/server.crt", "etcd-server"),
    ("/etc/kubernetes/pki/etcd/peer.crt", "etcd-peer"),
    (
        "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
        "etcd-healthcheck-client",
    ),
    ("/etc/kubernetes/admin.conf", "kubeconfig"),
    ("/etc/kubernetes/controller-manager.conf", "kubeconfig"),
    ("/etc/kubernetes/scheduler.conf", "kubeconfig"),
];

pub(super) fn of(machine: &Machine) -> Vec<CertificateInfo> {
    let member: &[_] = match machine.role {
        Role::Member => MEMBER,
        Role::Worker => &[],
    };
    let all = WORKER.iter().chain(member);
    all.map(|(place, kind)| CertificateInfo {
        place: (*place).to_owned(),
        kind: (*kind).to_owned(),
        subject: format!("O=system:nodes, CN=system:node:{}", machine.name),
        issuer: "CN=kubernetes".to_owned(),
        names: vec![machine.name.clone(), machine.address.clone()],
        not_before_unix: ISSUED,
        not_after_unix: ENDS,
        serial: "0123456789abcdef".to_owned(),
        authority: *kind == "ca",
        renewable: machine.role == Role::Member && *kind != "ca" && *kind != "agent",
        problem: None,
    })
    .collect()
}
