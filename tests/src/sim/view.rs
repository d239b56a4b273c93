//! What an agent sees of its machine and of the shared cluster.

use super::certificates;
use super::effect::{fingerprint, text};
use super::world::{Machine, Objects, Role, State};
use quorate_agent::journal::now_ms;
use quorate_proto::v1::*;

/// One cluster of etcd, one term: nothing here elects anew.
const ETCD_CLUSTER: u64 = 7;
const TERM: u64 = 3;
pub(super) const VERSION: &str = "v1.33.13";

pub(super) fn report(state: &State, name: &str, sequence: u64, pace: &Pace) -> NodeReport {
    let Some(machine) = state.machines.get(name) else {
        return NodeReport::default();
    };
    let member = machine.role == Role::Member;
    NodeReport {
        isolation: None,
        sequence,
        unix_ms: now_ms(),
        host: Some(host(machine)),
        marks: Some(machine.marks.clone()),
        etcd: etcd(state, machine),
        kube: kube(state, machine),
        load_balancer: None,
        endpoint: Some(EndpointView {
            carriers: carriers(machine),
            serving: serving(state, machine),
            problem: None,
            dials: pace.watch.iter().map(|it| dials(machine, it)).collect(),
            objects: state
                .objects
                .as_ref()
                .filter(|_| member && api_ready(state, machine))
                .map(objects),
        }),
        certificates: certificates::of(machine),
        snapshots: Vec::new(),
    }
}

fn host(machine: &Machine) -> HostFacts {
    HostFacts {
        hostname: machine.name.clone(),
        machine_id: format!("{:032x}", machine.address.len()),
        boot_id: "1b4e28ba-2fa1-11d2-883f-0016d3cca427".to_owned(),
        addresses: vec![machine.address.clone()],
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        kernel: "6.1.0-28-amd64".to_owned(),
        architecture: "x86_64".to_owned(),
        cpus: 4,
        memory_bytes: 8 << 30,
        disk_bytes: 64 << 30,
        disk_free_bytes: 40 << 30,
        versions: ["containerd", "kubeadm", "kubectl", "kubelet"]
            .map(|it| (it.to_owned(), VERSION.to_owned()))
            .into(),
        uptime_seconds: 100_000,
    }
}

/// The voter's own name for itself is what makes it started.
fn voter<'a>(state: &'a State, machine: &Machine) -> Option<&'a EtcdMember> {
    let mut members = state.members.iter();
    members.find(|it| it.name == machine.name && !it.learner && machine.etcd_started)
}

fn api_ready(state: &State, machine: &Machine) -> bool {
    voter(state, machine).is_some()
}

fn etcd(state: &State, machine: &Machine) -> Option<EtcdView> {
    if !machine.etcd_started {
        return None;
    }
    let me = state.members.iter().find(|it| it.name == machine.name);
    let voter = voter(state, machine).is_some();
    Some(EtcdView {
        running: true,
        cluster_id: ETCD_CLUSTER,
        member_id: me.map_or(0, |it| it.id),
        leader: state.members.first().map_or(0, |it| it.id),
        term: TERM,
        raft_index: state.index,
        applied_index: state.index,
        db_size: 20 << 20,
        db_size_in_use: 10 << 20,
        learner: me.is_some_and(|it| it.learner),
        version: "3.5.21".to_owned(),
        linearizable: voter,
        members: state.members.clone(),
        alarms_known: true,
        ..EtcdView::default()
    })
}

fn kube(state: &State, machine: &Machine) -> Option<KubeView> {
    if machine.marks.cluster_id.is_empty() {
        return None;
    }
    let ready = api_ready(state, machine);
    Some(KubeView {
        api_ready: ready,
        kubelet_healthy: machine.follows.is_some(),
        nodes: if ready { nodes(state) } else { Vec::new() },
        nodes_known: ready,
        api_version: if ready {
            VERSION.to_owned()
        } else {
            String::new()
        },
        ..KubeView::default()
    })
}

fn nodes(state: &State) -> Vec<KubeNode> {
    let joined = state.machines.values().filter(|it| it.proxy.is_some());
    joined
        .map(|it| KubeNode {
            name: it.name.clone(),
            ready: true,
            kubelet_version: VERSION.to_owned(),
            addresses: vec![it.address.clone()],
            ..KubeNode::default()
        })
        .collect()
}

fn carriers(machine: &Machine) -> Vec<Carrier> {
    let Some(follows) = &machine.follows else {
        return Vec::new();
    };
    let carrier = |file: &str, kind: CarrierKind, value: &str| Carrier {
        place: format!("/etc/kubernetes/{file}"),
        value: value.to_owned(),
        kind: kind as i32,
    };
    let own = format!("{}:6443", machine.address);
    match machine.role {
        Role::Worker => vec![carrier("kubelet.conf", CarrierKind::Follows, follows)],
        Role::Member => vec![
            carrier("admin.conf", CarrierKind::Follows, follows),
            carrier("kubelet.conf", CarrierKind::Local, &own),
            carrier("controller-manager.conf", CarrierKind::Local, &own),
            carrier("scheduler.conf", CarrierKind::Local, &own),
        ],
    }
}

fn serving(state: &State, machine: &Machine) -> Option<ServingCertificate> {
    let (number, names) = machine.serving.as_ref()?;
    api_ready(state, machine).then(|| ServingCertificate {
        names: names.iter().cloned().collect(),
        fingerprint: fingerprint(*number),
        serial: format!("{number:032x}"),
        ..ServingCertificate::default()
    })
}

/// A worker's kubelet and every node's kube-proxy keep a connection each.
fn dials(machine: &Machine, endpoint: &Endpoint) -> DialCount {
    let watched = text(Some(endpoint));
    let kubelet = machine
        .follows
        .as_ref()
        .filter(|_| machine.role == Role::Worker);
    let kubelet = kubelet.filter(|it| **it == watched).map(|_| "kubelet");
    let proxy = machine.proxy.as_ref().filter(|it| **it == watched);
    let programs = kubelet.into_iter().chain(proxy.map(|_| "kube-proxy"));
    let programs: Vec<String> = programs.map(str::to_owned).collect();
    DialCount {
        endpoint: Some(endpoint.clone()),
        established: u32::try_from(programs.len()).unwrap_or(u32::MAX),
        programs,
    }
}

fn objects(objects: &Objects) -> ClusterObjects {
    ClusterObjects {
        kubeadm_endpoint: objects.endpoint.clone(),
        kubeadm_names: objects.names.iter().cloned().collect(),
        info_endpoint: objects.endpoint.clone(),
        info_signed: true,
        proxy_endpoint: objects.proxy.clone(),
        proxies: objects.proxies.clone().into_iter().collect(),
        ..ClusterObjects::default()
    }
}
