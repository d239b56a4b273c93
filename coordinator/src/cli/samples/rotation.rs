//! Of an endpoint, its rotation, and certificates.

use super::{NOW, NOW_MS, step};
use quorate_proto::v1::*;

pub fn address(host: &str) -> Option<Endpoint> {
    Some(Endpoint {
        host: host.into(),
        port: 6443,
    })
}

pub fn rotation_plan() -> PlanRotationResponse {
    let stage = |steps: &[PlanStep]| PlanStage {
        steps: steps.to_vec(),
    };
    let both = "serves under both addresses";
    PlanRotationResponse {
        cluster: "prod".into(),
        from: address("10.0.0.10"),
        to: address("10.0.0.20"),
        stages: vec![
            stage(&[step("cp1", "accept", both, false)]),
            stage(&[step("cp2", "accept", both, false)]),
            stage(&[
                step("cp1", "switch", "kubelet, controllers", false),
                step("cp2", "switch", "kubelet, controllers", false),
                step("w1", "switch", "kubelet", false),
            ]),
            stage(&[step(
                "prod",
                "soak",
                "1m without a call to the old one",
                false,
            )]),
            stage(&[step("cp1", "drop", "the old name", false)]),
        ],
        warnings: vec!["w1 is away: it is brought along when it is back".into()],
        refusals: vec![],
        nothing_to_do: false,
        revision: 3,
    }
}

pub fn removal_plan() -> PlanRemovalResponse {
    let stage = |one: PlanStep| PlanStage { steps: vec![one] };
    let effect = |change: &str, voters, tolerance| QuorumEffect {
        change: change.into(),
        voters,
        quorum: 2,
        tolerance,
    };
    PlanRemovalResponse {
        cluster: "prod".into(),
        node: "cp3".into(),
        revision: 3,
        stages: vec![
            stage(step("lb", "load-balancer", "configuring: cp1, cp2", false)),
            stage(step(
                "cp3",
                "drain",
                "moving its pods to other nodes",
                false,
            )),
            stage(step(
                "cp3",
                "remove",
                "removing it from etcd through cp1",
                true,
            )),
            stage(step("cp3", "reset", "resetting the machine", false)),
        ],
        quorum: vec![effect("now", 3, 1), effect("cp3 is removed", 2, 0)],
        warnings: vec!["3 voters tolerate 1 failures, the 2 that stay tolerate 0".into()],
        ..PlanRemovalResponse::default()
    }
}

fn carrier(node: &str, place: &str, value: &str, state: &str, next: &str) -> EndpointCarrier {
    EndpointCarrier {
        node: node.into(),
        place: place.into(),
        value: value.into(),
        state: state.into(),
        next: next.into(),
    }
}

const KUBELET: &str = "/etc/kubernetes/kubelet.conf";

/// In the middle of a rotation; nothing is astray.
pub fn endpoint() -> ShowEndpointResponse {
    let (old, new) = ("10.0.0.10:6443", "10.0.0.20:6443");
    let names = |node: &str| MemberNames {
        node: node.into(),
        names: vec!["10.0.0.10".into(), "10.0.0.20".into(), node.into()],
        missing: vec![],
        known: true,
    };
    ShowEndpointResponse {
        cluster: "prod".into(),
        endpoint: address("10.0.0.20"),
        served_by: "external".into(),
        rotation: Some(RotationInfo {
            operation: "01k9".into(),
            from: address("10.0.0.10"),
            to: address("10.0.0.20"),
            stage: "soak".into(),
            rolling_back: false,
            waiting_on: vec!["2 connections of cp2 to 10.0.0.10:6443 (kube-proxy)".into()],
            behind: vec!["w2".into()],
            soak_ends_unix_ms: NOW_MS + 45_000,
        }),
        carriers: vec![
            carrier("", "kube-system/kubeadm-config", new, "in-line", ""),
            carrier("cp1", KUBELET, new, "in-line", ""),
            carrier(
                "cp1",
                "/etc/kubernetes/controller-manager.conf",
                "10.0.0.11:6443",
                "local",
                "",
            ),
            carrier("cp2", KUBELET, old, "earlier", ""),
            carrier(
                "",
                "kube-system/cilium-config",
                old,
                "outside",
                "set k8s-api-server in kube-system/cilium-config and restart its pods",
            ),
        ],
        members: vec![names("cp1"), names("cp2")],
    }
}

/// After it: one file was edited by hand, one member lacks a name, another says nothing.
pub fn astray() -> ShowEndpointResponse {
    let mut answer = endpoint();
    answer.rotation = None;
    answer.carriers[3].state = "stray".into();
    answer.carriers[3].next = "quorate endpoint repair --cluster prod".into();
    answer.members[0].missing = vec!["10.0.0.20".into()];
    answer.members[1].known = false;
    answer.members[1].names = vec![];
    answer
}

pub fn certificates() -> ShowCertificatesResponse {
    let one = |node: &str, kind: &str, place: &str, days: i64| NodeCertificate {
        cluster: "prod".into(),
        node: node.into(),
        certificate: Some(CertificateInfo {
            kind: kind.into(),
            place: place.into(),
            subject: format!("CN={kind}"),
            issuer: "O=example, CN=kubernetes".into(),
            names: vec!["10.0.0.10".into()],
            not_before_unix: NOW - 86_400,
            not_after_unix: NOW + days * 86_400,
            serial: "0a".into(),
            renewable: true,
            ..CertificateInfo::default()
        }),
        state: "ok".into(),
        next: String::new(),
    };
    let mut unreadable = one("cp2", "etcd-peer", "/etc/kubernetes/pki/etcd/peer.crt", 0);
    unreadable.state = "unreadable".into();
    unreadable.certificate = Some(CertificateInfo {
        kind: "etcd-peer".into(),
        place: "/etc/kubernetes/pki/etcd/peer.crt".into(),
        problem: Some(
            Problem::new("certificate", "it does not match its key").next("look at the file"),
        ),
        ..CertificateInfo::default()
    });
    let mut soon = one("cp1", "api-server", "/etc/kubernetes/pki/apiserver.crt", 3);
    soon.state = "ends-soon".into();
    soon.next = "quorate certificates renew --cluster prod --node cp1".into();
    let mut ended = one("cp1", "kubeconfig", "/etc/kubernetes/admin.conf", -2);
    ended.state = "ended".into();
    let mut own = one("coordinator", "ca", "/var/lib/quorate/ca/ca.crt", 3000);
    own.cluster = String::new();
    ShowCertificatesResponse {
        certificates: vec![
            soon,
            one(
                "cp1",
                "front-proxy-client",
                "/etc/kubernetes/pki/front-proxy-client.crt",
                300,
            ),
            ended,
            unreadable,
            own,
        ],
    }
}
