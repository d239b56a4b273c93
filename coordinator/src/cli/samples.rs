//! Answers as a coordinator gives them, for tests of renderings and of whole commands.

mod rotation;

pub use rotation::*;

use quorate_proto::v1::*;

pub const NOW_MS: i64 = 1_795_225_380_000;
pub const NOW: i64 = NOW_MS / 1000;

pub fn step(node: &str, action: &str, detail: &str, membership_change: bool) -> PlanStep {
    PlanStep {
        node: node.into(),
        action: action.into(),
        detail: detail.into(),
        membership_change,
    }
}

pub fn plan() -> PlanResponse {
    let stage = |steps: &[PlanStep]| PlanStage {
        steps: steps.to_vec(),
    };
    let effect = |change: &str, voters, quorum, tolerance| QuorumEffect {
        change: change.into(),
        voters,
        quorum,
        tolerance,
    };
    let zone = |zone: &str, lost, kept| ZoneEffect {
        zone: zone.into(),
        voters_lost: lost,
        voters_left: 2 - lost,
        quorum_kept: kept,
    };
    PlanResponse {
        cluster: "prod".into(),
        revision: 0,
        stages: vec![
            stage(&[
                step("cp1", "preflight", "ports, packages, clock", false),
                step("cp2", "preflight", "ports, packages, clock", false),
            ]),
            stage(&[
                step("cp1", "install", "kubeadm, kubelet, containerd", false),
                step("cp2", "install", "kubeadm, kubelet, containerd", false),
            ]),
            stage(&[step("cp1", "init", "forms a cluster of one", true)]),
            stage(&[step(
                "cp2",
                "add-learner",
                "adds it as a learner through cp1",
                true,
            )]),
            stage(&[step("cp2", "promote", "makes it a voter through cp1", true)]),
        ],
        warnings: vec!["2 voters tolerate no more failures than 1".into()],
        refusals: vec![],
        quorum: vec![effect("cp1 votes", 1, 1, 0), effect("cp2 votes", 2, 2, 0)],
        zones: vec![zone("a", 1, false), zone("b", 1, false)],
        nothing_to_do: false,
    }
}

pub fn status() -> StatusResponse {
    let node = |name: &str, address: &str, phase: &str, detail: &str| ClusterNodeStatus {
        name: name.into(),
        roles: "member".into(),
        address: address.into(),
        zone: "a".into(),
        connected: phase != "failed",
        phase: phase.into(),
        version: "v1.33.13".into(),
        ready: phase == "ready",
        detail: detail.into(),
    };
    let member = |id, name: &str, leader, learner, lag| EtcdRow {
        id,
        name: name.into(),
        peer_url: format!("https://{name}:2380"),
        leader,
        learner,
        lag,
        term: 3,
        applied_index: 1200 - lag,
        db_size: 21_495_808,
        version: "3.5.24".into(),
        healthy: !learner,
        ..EtcdRow::default()
    };
    let backend = |name: &str, up| BackendState {
        frontend: "kube-apiserver".into(),
        name: name.into(),
        up,
        detail: if up { String::new() } else { "L4CON".into() },
    };
    let certificate = |owner: &str, name: &str, days: i64| CertificateStatus {
        owner: owner.into(),
        name: name.into(),
        expires_unix: NOW + days * 86_400,
    };
    StatusResponse {
        clusters: vec![ClusterStatus {
            shutdown_unix: 0,
            id: "01j".into(),
            name: "prod".into(),
            distribution: Distribution::Kubeadm as i32,
            version: "v1.33.13".into(),
            endpoint: Some(Endpoint {
                host: "10.0.0.10".into(),
                port: 6443,
            }),
            health: "degraded".into(),
            nodes: vec![
                node("cp1", "10.0.0.11", "ready", ""),
                node("cp2", "10.0.0.12", "ready", ""),
                node("cp3", "10.0.0.13", "join", "in sync in about 2 s"),
            ],
            etcd: Some(EtcdStatus {
                known: true,
                voters: 2,
                healthy_voters: 2,
                learners: 1,
                quorum: 2,
                failure_tolerance: 0,
                members: vec![
                    member(0x8e9e_05c5_2164_694d, "cp1", true, false, 0),
                    member(2, "cp2", false, false, 0),
                    member(3, "cp3", false, true, 14),
                ],
            }),
            load_balancers: vec![LoadBalancerStatus {
                node: "lb1".into(),
                running: true,
                backends: vec![
                    backend("cp1", true),
                    backend("cp2", true),
                    backend("cp3", false),
                ],
                detail: String::new(),
            }],
            certificates: vec![
                certificate("cp2", "apiserver", 300),
                certificate("cp1", "agent", 3),
            ],
            operation: "01k9".into(),
            membership: "promote of cp3 holds the slot".into(),
            waiting_on: vec!["cp3 to be in sync".into()],
        }],
        epoch: 4,
        version: "0.1.0".into(),
        notices: vec![],
    }
}

pub fn snapshots() -> ListSnapshotsResponse {
    let line = |node: &str, connected| SnapshotLine {
        cluster: "prod".into(),
        node: node.into(),
        snapshot: Some(SnapshotInfo {
            id: "01K9SNAP".into(),
            taken_unix_ms: NOW_MS - 3_600_000,
            bytes: 20 * 1024 * 1024,
            // Of "saved".
            sha256: "d81c55f49c5bb0d36bc11e3966ec4efab66f8dfefbbc1761161ca9d230e5466a".into(),
            revision: 4711,
            etcd_version: "3.5.21".into(),
            place: "/var/lib/quorate-agent/snapshots/c1/01K9SNAP.db".into(),
        }),
        connected,
    };
    ListSnapshotsResponse {
        snapshots: vec![line("cp2", true), line("cp3", false)],
    }
}

pub fn check() -> CheckResponse {
    let line =
        |category: &str, node: &str, name: &str, severity: Severity, problem: Option<Problem>| {
            CheckLine {
                category: category.into(),
                node: node.into(),
                finding: Some(Finding {
                    name: name.into(),
                    severity: severity as i32,
                    problem,
                }),
            }
        };
    let clock = Problem::new("clock", "the clock is 3s ahead")
        .because("no time synchronisation runs")
        .next("on cp2: timedatectl set-ntp true");
    CheckResponse {
        lines: vec![
            line("cluster", "prod", "EtcdQuorum", Severity::Ok, None),
            line("node", "cp1", "Agent", Severity::Ok, None),
            line("node", "cp2", "ClockOffset", Severity::Warning, Some(clock)),
            line(
                "node",
                "cp3",
                "Port-6443",
                Severity::Fatal,
                Some(Problem::new("port", "port 6443 is taken").at("cp3")),
            ),
            line(
                "node",
                "cp3",
                "Swap",
                Severity::Ignored,
                Some(Problem::new("swap", "swap is on")),
            ),
        ],
    }
}

pub fn nodes() -> ListNodesResponse {
    ListNodesResponse {
        nodes: vec![
            NodeInfo {
                id: "n1".into(),
                name: "cp1".into(),
                connected: true,
                last_seen_unix_ms: NOW_MS - 4_000,
                peer_address: "192.0.2.1:4000".into(),
                agent_version: "0.1.0".into(),
                host: Some(HostFacts {
                    addresses: vec!["10.0.0.11".into()],
                    os: "Debian GNU/Linux 12 (bookworm)".into(),
                    kernel: "6.1.0".into(),
                    cpus: 2,
                    memory_bytes: 4 << 30,
                    disk_bytes: 40 << 30,
                    disk_free_bytes: 31 << 30,
                    ..HostFacts::default()
                }),
                clock_offset_ms: -1500,
                cluster: "prod".into(),
                roles: "member".into(),
                zone: "a".into(),
                certificate_expires_unix: NOW + 86_400,
                revoked: false,
            },
            NodeInfo {
                id: "n2".into(),
                name: "new".into(),
                peer_address: "192.0.2.2:4000".into(),
                ..NodeInfo::default()
            },
        ],
    }
}

pub fn operation(state: &str) -> OperationInfo {
    OperationInfo {
        id: "01k9".into(),
        cluster: "prod".into(),
        kind: "apply".into(),
        state: state.into(),
        ordered_by: "admin/root".into(),
        started_unix_ms: NOW_MS - 46_000,
        finished_unix_ms: if state == "running" { 0 } else { NOW_MS },
        problem: (state == "failed").then(|| {
            Problem::new("join-failed", "cp3 did not start")
                .at("cp3")
                .next("journalctl -u kubelet")
        }),
        rejected_etcd_calls: 0,
        membership_held_ms: 5_200,
    }
}

pub fn operations() -> ListOperationsResponse {
    ListOperationsResponse {
        operations: vec![operation("running"), operation("failed")],
    }
}
