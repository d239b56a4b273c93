//! What an agent sees of its machine.

use super::machine::Machine;
use super::world::{State, World};
use quorate_proto::v1::*;

const YEAR: i64 = 365 * 24 * 3_600;

pub fn report(world: &World, name: &str, sequence: u64, pace: &Pace) -> NodeReport {
    world.refresh();
    let now = world.now_ms();
    let mut state = world.lock();
    let etcd = etcd(&state, name, now);
    let Some(machine) = state.machines.get_mut(name) else {
        return NodeReport::default();
    };
    machine.watched.clone_from(&pace.watch);
    NodeReport {
        isolation: None,
        sequence,
        unix_ms: i64::try_from(now).unwrap_or_default(),
        host: Some(HostFacts::default()),
        marks: Some(machine.marks.clone()),
        etcd,
        kube: None,
        load_balancer: machine.balancer.clone(),
        endpoint: Some(endpoint(machine)),
        certificates: vec![certificate(machine)],
        snapshots: Vec::new(),
    }
}

fn etcd(state: &State, name: &str, now: u64) -> Option<EtcdView> {
    let machine = state.machines.get(name)?;
    // An etcd that was configured and does not run is a view too: it says so.
    machine.options.as_ref()?;
    let Some((id, sight)) = state.sight(name, now) else {
        return Some(EtcdView::default());
    };
    let cluster = state.cluster(id)?;
    let served = cluster.serves(&sight).is_ok();
    let sees_leader = cluster
        .leader
        .filter(|leader| sight.connected.iter().any(|(seen, _)| seen == leader));
    let learner = cluster.member(sight.member).is_some_and(|it| it.learner);
    let members = cluster.members.iter().filter(|_| served);
    Some(EtcdView {
        running: true,
        cluster_id: cluster.id,
        member_id: sight.member,
        leader: sees_leader.unwrap_or_default(),
        term: cluster.term,
        raft_index: cluster.index,
        applied_index: cluster.index,
        db_size: 1 << 20,
        learner,
        linearizable: served,
        members: members
            .map(|member| EtcdMember {
                id: member.id,
                name: member.name.clone(),
                peer_urls: vec![member.peer_url.clone()],
                client_urls: Vec::new(),
                learner: member.learner,
            })
            .collect(),
        alarms_known: true,
        ..EtcdView::default()
    })
}

/// Dated back, as certificates are.
fn certificate(machine: &Machine) -> CertificateInfo {
    let back = i64::try_from(quorate_pki::SKEW.as_secs()).unwrap_or_default();
    CertificateInfo {
        not_before_unix: machine.issued_unix - back,
        not_after_unix: machine.issued_unix + YEAR,
        renewable: machine.process.is_some(),
        ..CertificateInfo::default()
    }
}

fn endpoint(machine: &Machine) -> EndpointView {
    let dials = machine.watched.iter().map(|endpoint| DialCount {
        endpoint: Some(endpoint.clone()),
        ..DialCount::default()
    });
    EndpointView {
        serving: machine.process.as_ref().map(|_| ServingCertificate {
            names: machine.serving.iter().cloned().collect(),
            fingerprint: machine.name.clone(),
            ..ServingCertificate::default()
        }),
        dials: dials.collect(),
        ..EndpointView::default()
    }
}
