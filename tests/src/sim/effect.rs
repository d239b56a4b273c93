//! What an order does to the shared cluster.

use super::world::{Machine, Objects, State};
use prost::Message;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::collections::BTreeSet;

/// Its effect, and what of its result is secret.
pub(super) fn carry_out(
    state: &mut State,
    name: &str,
    order: &Order,
    action: &Action,
    result: &mut OrderResult,
) -> Result<Vec<u8>, Problem> {
    state.index += 1;
    let cluster = order.cluster.clone().unwrap_or_default();
    match action {
        Action::Preflight(a) => machine(state, name)?.marks.preflight.clone_from(&a.digest),
        Action::Install(a) => machine(state, name)?.marks.install.clone_from(&a.digest),
        Action::CreateAuthority(a) => {
            let marks = &mut machine(state, name)?.marks;
            (marks.cluster_id, marks.authority) = (cluster.id, a.digest.clone());
        }
        Action::Init(a) => init(state, name, &cluster, a)?,
        Action::ExportJoinMaterial(_) => return Ok(join_material()),
        Action::PrepareMember(a) => {
            certify(state, name, &cluster)?;
            let machine = machine(state, name)?;
            machine.marks.cluster_id = cluster.id;
            machine.marks.prepared.clone_from(&a.digest);
            machine.follows = Some(text(cluster.endpoint.as_ref()));
        }
        Action::AddMember(_)
        | Action::StartMember(_)
        | Action::PromoteMember(_)
        | Action::RemoveMember(_) => membership(state, name, action, result)?,
        Action::FinishMember(a) => {
            machine(state, name)?.marks.finished.clone_from(&a.digest);
            start_proxy(state, name)?;
        }
        Action::JoinWorker(a) => {
            let machine = machine(state, name)?;
            machine.marks.cluster_id = cluster.id;
            machine.marks.worker.clone_from(&a.digest);
            machine.follows = Some(text(cluster.endpoint.as_ref()));
            start_proxy(state, name)?;
        }
        Action::ApplyManifests(a) => machine(state, name)?.marks.manifests.clone_from(&a.digest),
        Action::ConfigureNode(a) => {
            let target = a.target.clone().unwrap_or_default().name;
            let marks = &mut machine(state, name)?.marks;
            marks.configured_nodes.insert(target, a.digest.clone());
        }
        Action::DeleteNode(a) => {
            objects(state)?.proxies.remove(&a.name);
        }
        Action::Reset(_) => reset(machine(state, name)?),
        Action::SetServingNames(_)
        | Action::ProbeEndpoint(_)
        | Action::SetClusterEndpoint(_)
        | Action::SetNodeEndpoint(_)
        | Action::RestartKubeProxy(_) => endpoint(state, name, action, result)?,
        // Nothing in this world ends or is asked for.
        Action::Check(_)
        | Action::RenewCertificates(_)
        | Action::TakeSnapshot(_)
        | Action::SendSnapshot(_)
        | Action::TaintNode(_)
        | Action::UntaintNode(_)
        | Action::ApproveServing(_) => {}
        Action::StopServing(_) => machine(state, name)?.etcd_started = false,
        Action::DrainNode(_) | Action::HandOver(_) => {}
        Action::ConfigureLoadBalancer(_)
        | Action::SignClient(_)
        | Action::RecoverMember(_)
        | Action::StopNode(_)
        | Action::StartNode(_)
        | Action::CheckStorage(_) => {
            return Err(Problem::new("not-simulated", action.kind()));
        }
    }
    Ok(Vec::new())
}

fn membership(
    state: &mut State,
    name: &str,
    action: &Action,
    result: &mut OrderResult,
) -> Result<(), Problem> {
    if let Action::AddMember(a) = action {
        let known = state
            .members
            .iter()
            .find(|it| it.peer_urls.contains(&a.peer_url));
        result.member_id = match known {
            Some(member) => member.id,
            None => add_learner(state, &a.peer_url),
        };
    } else if let Action::StartMember(a) = action {
        machine(state, name)?.etcd_started = true;
        if let Some(member) = state.members.iter_mut().find(|it| it.id == a.member_id) {
            member.name = name.to_owned();
        }
    } else if let Action::PromoteMember(a) = action {
        let member = state.members.iter_mut().find(|it| it.id == a.member_id);
        let started = member.filter(|it| !it.name.is_empty());
        started
            .ok_or_else(|| Problem::new("learner-not-started", "it has not started"))?
            .learner = false;
    } else if let Action::RemoveMember(a) = action {
        state.members.retain(|it| it.id != a.member_id);
    }
    Ok(())
}

fn add_learner(state: &mut State, peer_url: &str) -> u64 {
    let id = state.number();
    state.members.push(EtcdMember {
        id,
        peer_urls: vec![peer_url.to_owned()],
        learner: true,
        ..EtcdMember::default()
    });
    id
}

fn endpoint(
    state: &mut State,
    name: &str,
    action: &Action,
    result: &mut OrderResult,
) -> Result<(), Problem> {
    if let Action::SetServingNames(a) = action {
        let number = state.number();
        let machine = machine(state, name)?;
        let own = [machine.name.clone(), machine.address.clone()];
        let (serial, names) = machine.serving.get_or_insert_default();
        *serial = number;
        names.retain(|it| !a.drop.contains(it));
        names.extend(own.into_iter().chain(a.names.iter().cloned()));
    } else if let Action::ProbeEndpoint(a) = action {
        probe(state, a)?;
        result.servers_seen = a.servers.iter().map(|it| it.name.clone()).collect();
    } else if let Action::SetClusterEndpoint(a) = action {
        let endpoint = text(a.endpoint.as_ref());
        let objects = objects(state)?;
        objects.names.retain(|it| !a.drop.contains(it));
        objects.names.extend(a.names.iter().cloned());
        objects.proxy.clone_from(&endpoint);
        objects.endpoint = endpoint;
    } else if let Action::SetNodeEndpoint(a) = action {
        machine(state, name)?.follows = Some(text(a.endpoint.as_ref()));
    } else if let Action::RestartKubeProxy(a) = action {
        objects(state)?.template = text(a.endpoint.as_ref());
        for node in &a.nodes {
            start_proxy(state, node)?;
        }
    }
    Ok(())
}

/// As a call through the new address would find it: every certificate is the one that was reported, and good for the name.
fn probe(state: &State, order: &ProbeEndpoint) -> Result<(), Problem> {
    let host = order.endpoint.clone().unwrap_or_default().host;
    for server in &order.servers {
        let serving = state
            .machines
            .get(&server.name)
            .and_then(|it| it.serving.as_ref());
        let proven = serving.is_some_and(|(number, names)| {
            fingerprint(*number) == server.fingerprint
                && (order.names_pending || names.contains(&host))
        });
        if !proven {
            return Err(
                Problem::new("endpoint-unproven", "another certificate answers").at(&server.name),
            );
        }
    }
    Ok(())
}

fn init(
    state: &mut State,
    name: &str,
    cluster: &ClusterConfig,
    order: &Init,
) -> Result<(), Problem> {
    certify(state, name, cluster)?;
    let endpoint = text(cluster.endpoint.as_ref());
    let machine = machine(state, name)?;
    machine.marks.init.clone_from(&order.digest);
    machine.etcd_started = true;
    machine.follows = Some(endpoint.clone());
    let peer_url = format!("https://{}:2380", machine.address);
    let id = state.number();
    state.members = vec![EtcdMember {
        id,
        name: name.to_owned(),
        peer_urls: vec![peer_url],
        ..EtcdMember::default()
    }];
    state.objects = Some(Objects {
        names: names_of(cluster).collect(),
        proxy: endpoint.clone(),
        endpoint,
        template: String::new(),
        proxies: Default::default(),
    });
    start_proxy(state, name)
}

/// A first certificate: the node's own names, and the cluster's.
fn certify(state: &mut State, name: &str, cluster: &ClusterConfig) -> Result<(), Problem> {
    let number = state.number();
    let machine = machine(state, name)?;
    let own = [machine.name.clone(), machine.address.clone()];
    let names: BTreeSet<String> = own.into_iter().chain(names_of(cluster)).collect();
    machine.serving = Some((number, names));
    Ok(())
}

fn names_of(cluster: &ClusterConfig) -> impl Iterator<Item = String> {
    let endpoint = cluster.endpoint.iter().map(|it| it.host.clone());
    endpoint.chain(cluster.extra_names.clone())
}

/// A pod is made for what the template says, and dials what the configuration says.
fn start_proxy(state: &mut State, node: &str) -> Result<(), Problem> {
    let objects = objects(state)?;
    let (dials, made_for) = (objects.proxy.clone(), objects.template.clone());
    objects.proxies.insert(node.to_owned(), made_for);
    machine(state, node)?.proxy = Some(dials);
    Ok(())
}

fn reset(machine: &mut Machine) {
    machine.marks = Marks {
        preflight: machine.marks.preflight.clone(),
        install: machine.marks.install.clone(),
        ..Marks::default()
    };
    machine.etcd_started = false;
    (machine.serving, machine.follows, machine.proxy) = (None, None, None);
}

/// As long as a worker's: nothing reads it.
fn join_material() -> Vec<u8> {
    let material = JoinMaterial {
        token: "abcdef.0123456789abcdef".to_owned(),
        ca_hashes: vec![format!("sha256:{}", "0".repeat(64))],
        ..JoinMaterial::default()
    };
    material.encode_to_vec()
}

fn machine<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Machine, Problem> {
    let machine = state.machines.get_mut(name);
    machine.ok_or_else(|| Problem::new("not-simulated", "no such machine").at(name))
}

fn objects(state: &mut State) -> Result<&mut Objects, Problem> {
    let objects = state.objects.as_mut();
    objects.ok_or_else(|| Problem::new("api-not-ready", "no cluster was formed"))
}

pub(super) fn text(endpoint: Option<&Endpoint>) -> String {
    let endpoint = endpoint.cloned().unwrap_or_default();
    format!("{}:{}", endpoint.host, endpoint.port)
}

pub(super) fn fingerprint(number: u64) -> String {
    format!("{number:064x}")
}
