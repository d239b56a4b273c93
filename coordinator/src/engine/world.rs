//! A small world for the engine's tests: agents that carry out orders on a pretended etcd, can die, and answer twice if asked twice.

use super::agents::{AgentEvent, AgentState, Agents};
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long an order takes here.
const ORDER: Duration = Duration::from_millis(300);
const REPORT: Duration = Duration::from_millis(500);

#[derive(Default)]
pub struct Node {
    pub alive: bool,
    /// Of its certificate.
    pub identity: String,
    pub marks: Marks,
    pub etcd_started: bool,
    pub balancer: Option<LoadBalancerView>,
    /// When its certificate was issued, and what it covers.
    pub issued_unix: i64,
    pub serving: BTreeSet<String>,
    /// Connections to whatever is watched first: the address that goes.
    pub dials: u32,
    /// What it had applied when the quorum went.
    pub applied: u64,
    watched: Vec<Endpoint>,
    results: BTreeMap<String, OrderResult>,
    heard_ms: u64,
    pub report: Option<Arc<NodeReport>>,
    /// Dies instead of carrying out an order of this kind.
    pub dies_at: Option<&'static str>,
    /// Its agent is silent, and the rest of it lives.
    pub muted: bool,
    pub lease_us: i64,
    pub tainted: bool,
    pub terminating: u32,
    suspects: Vec<String>,
    /// How soon its session was told to report; 0: not yet.
    pub paced_ms: u32,
    pub snapshots: Vec<SnapshotInfo>,
    /// The duty to stop its pods, unless it is too old to know of one.
    isolation: Option<Isolation>,
    pub old: bool,
}

#[derive(Default)]
pub struct State {
    pub nodes: BTreeMap<String, Node>,
    pub members: Vec<EtcdMember>,
    next_id: u64,
    /// Orders that were carried out: node and kind.
    pub done: Vec<(String, String)>,
    /// The most members at any time that were learners or not started.
    pub worst_in_flight: usize,
    pub events: Option<mpsc::Sender<AgentEvent>>,
    /// Nodes whose certificates were taken back.
    pub revoked: Vec<String>,
    /// Kinds of orders that are refused from now on.
    pub refused: BTreeSet<&'static str>,
    /// Control planes tell of Node objects.
    pub kubernetes: bool,
    pub recovered: BTreeSet<String>,
    /// Snapshots that a recovery went back to.
    pub restored: Vec<String>,
    /// Why storage cannot do without a node.
    pub storage: Option<String>,
    /// Members that gave their leadership up.
    handed_over: BTreeSet<u64>,
}

pub struct World {
    me: Weak<World>,
    state: Mutex<State>,
    start: tokio::time::Instant,
}

impl World {
    pub fn new(names: &[&str]) -> Arc<Self> {
        let world = Arc::new_cyclic(|me| World {
            me: me.clone(),
            state: Mutex::default(),
            start: tokio::time::Instant::now(),
        });
        for name in names {
            world.enroll(name, name);
        }
        let reporter = Arc::downgrade(&world);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(REPORT).await;
                let Some(world) = reporter.upgrade() else {
                    return;
                };
                let names: Vec<String> = world.state().nodes.keys().cloned().collect();
                names.into_iter().for_each(|name| world.look(name));
            }
        });
        world
    }

    /// A machine with nothing on it, under this name.
    pub fn enroll(&self, name: &str, identity: &str) {
        let node = Node {
            alive: true,
            identity: identity.to_owned(),
            ..Node::default()
        };
        self.state().nodes.insert(name.to_owned(), node);
        self.look(name.to_owned());
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the world")
    }

    pub fn now_ms(&self) -> u64 {
        1_000_000 + u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The agent's report of its node as it is now.
    fn look(&self, name: String) {
        let now = self.now_ms();
        let mut state = self.state();
        if let Some(node) = state.nodes.get_mut(&name).filter(|node| node.alive) {
            node.lease_us = i64::try_from(now * 1_000).unwrap_or_default();
        }
        let etcd = etcd_view(&state, &name, now);
        let kube = kube_view(&state, &name);
        let heard = |node: &&mut Node| node.alive && !node.muted;
        let Some(node) = state.nodes.get_mut(&name).filter(heard) else {
            return;
        };
        node.heard_ms = now;
        node.report = Some(Arc::new(NodeReport {
            marks: Some(node.marks.clone()),
            etcd,
            kube,
            load_balancer: node.balancer.clone(),
            endpoint: Some(endpoint_view(node, &name)),
            certificates: vec![certificate(node)],
            snapshots: node.snapshots.clone(),
            isolation: node.isolation.filter(|it| it.fence_ms > 0),
            host: Some(HostFacts::default()),
            ..NodeReport::default()
        }));
        if let Some(events) = &state.events {
            let _ = events.try_send(AgentEvent::Reported(name));
        }
    }

    async fn carry_out(self: Arc<Self>, name: String, order: Order) {
        tokio::time::sleep(ORDER).await;
        let Some((result, sealed)) = self.effect(&name, &order) else {
            return; // died
        };
        self.look(name.clone());
        let events = self.state().events.clone();
        if let Some(events) = events {
            let done = OrderDone {
                result: Some(result),
                sealed,
                ..OrderDone::default()
            };
            let done = AgentEvent::Done(name, Box::new(done), self.now_ms());
            let _ = events.send(done).await;
        }
    }

    fn effect(&self, name: &str, order: &Order) -> Option<(OrderResult, Vec<u8>)> {
        let action = order.action.clone()?;
        let now_unix = i64::try_from(self.now_ms() / 1_000).unwrap_or_default();
        let mut state = self.state();
        let node = state.nodes.get_mut(name)?;
        if node.dies_at == Some(action.kind()) {
            (node.alive, node.dies_at) = (false, None);
        }
        if !node.alive {
            return None;
        }
        if let Some(known) = node.results.get(&order.id) {
            return Some((known.clone(), Vec::new()));
        }
        let mut result = OrderResult {
            id: order.id.clone(),
            status: OrderStatus::Succeeded as i32,
            ..OrderResult::default()
        };
        let mut sealed = Vec::new();
        if matches!(action, Action::ExportJoinMaterial(_)) {
            sealed.push(1);
        }
        if let (Action::CheckStorage(_), Some(why)) = (&action, &state.storage) {
            result.status = OrderStatus::Failed as i32;
            result.problem = Some(Problem::new("storage-unhealthy", why));
            return Some((result, sealed));
        }
        if state.refused.contains(action.kind()) {
            result.status = OrderStatus::Refused as i32;
            result.problem = Some(Problem::new("refused-here", action.kind()));
            return Some((result, sealed));
        }
        let node = state.nodes.get_mut(name)?;
        if let Action::TakeSnapshot(a) = &action {
            result.snapshot = Some(SnapshotInfo {
                id: a.snapshot.clone(),
                ..SnapshotInfo::default()
            });
        }
        on_node(node, &action, order);
        on_certificate(node, &action, order);
        if matches!(
            action,
            Action::PrepareMember(_) | Action::CreateAuthority(_) | Action::RenewCertificates(_)
        ) {
            node.issued_unix = now_unix;
        }
        if let Action::TaintNode(TaintNode { name, .. }) | Action::UntaintNode(UntaintNode { name }) =
            &action
            && let Some(node) = state.nodes.get_mut(name)
        {
            node.tainted = matches!(action, Action::TaintNode(_));
        }
        if let Err(problem) = on_etcd(&mut state, name, &action, order) {
            result.status = OrderStatus::Failed as i32;
            result.problem = Some(problem);
        }
        let unsettled = |m: &&EtcdMember| m.learner || m.name.is_empty();
        let in_flight = state.members.iter().filter(unsettled).count();
        state.worst_in_flight = state.worst_in_flight.max(in_flight);
        state.done.push((name.to_owned(), action.kind().to_owned()));
        if let Some(node) = state.nodes.get_mut(name) {
            node.results.insert(order.id.clone(), result.clone());
        }
        Some((result, sealed))
    }
}

/// The oldest voter that runs, before those that have handed over.
fn leader(state: &State) -> Option<u64> {
    let runs = |m: &&EtcdMember| {
        let node = state.nodes.get(&m.name);
        !m.learner && node.is_some_and(|it| it.alive && it.etcd_started)
    };
    let ids = state.members.iter().filter(runs).map(|m| m.id);
    ids.min_by_key(|id| (state.handed_over.contains(id), *id))
}

fn etcd_view(state: &State, name: &str, now: u64) -> Option<EtcdView> {
    let node = state.nodes.get(name).filter(|n| n.etcd_started)?;
    let me = state.members.iter().find(|m| m.name == name && node.alive);
    let lives = |m: &&EtcdMember| {
        let node = state.nodes.get(&m.name);
        !m.learner && node.is_some_and(|n| n.alive && n.etcd_started)
    };
    let voters = state.members.iter().filter(|m| !m.learner).count();
    let quorum = state.members.iter().filter(lives).count() > voters / 2;
    Some(EtcdView {
        running: true,
        cluster_id: 7,
        member_id: me.map_or(0, |m| m.id),
        leader: leader(state).filter(|_| quorum).unwrap_or_default(),
        term: 3,
        applied_index: if quorum { now } else { node.applied },
        revision: 1_000,
        learner: me.is_some_and(|m| m.learner),
        linearizable: quorum && me.is_some_and(|m| !m.learner),
        members: state.members.iter().filter(|_| quorum).cloned().collect(),
        alarms_known: true,
        peers_known: !node.suspects.is_empty(),
        peers_away: (state.members.iter())
            .filter(|m| state.nodes.get(&m.name).is_none_or(|it| !it.alive))
            .map(|m| m.id)
            .collect(),
        ..EtcdView::default()
    })
}

fn kube_view(state: &State, name: &str) -> Option<KubeView> {
    let me = state.nodes.get(name).filter(|_| state.kubernetes)?;
    if !me.etcd_started {
        return Some(KubeView::default());
    }
    let nodes = state.nodes.iter().map(|(name, node)| KubeNode {
        name: name.clone(),
        ready: node.alive,
        ..KubeNode::default()
    });
    let lives = me.suspects.iter().filter_map(|name| {
        let node = state.nodes.get(name)?;
        Some(NodeLife {
            name: name.clone(),
            lease_unix_us: node.lease_us,
            ready: node.alive,
            tainted: node.tainted,
            terminating: node.terminating,
            to_free: 0,
        })
    });
    Some(KubeView {
        api_ready: true,
        nodes_known: true,
        nodes: nodes.collect(),
        lives: lives.collect(),
        ..KubeView::default()
    })
}

/// Dated back, as certificates are.
fn certificate(node: &Node) -> CertificateInfo {
    let back = i64::try_from(quorate_pki::SKEW.as_secs()).unwrap_or_default();
    CertificateInfo {
        not_before_unix: node.issued_unix - back,
        not_after_unix: node.issued_unix + 365 * 24 * 3600,
        renewable: node.etcd_started,
        ..CertificateInfo::default()
    }
}

fn endpoint_view(node: &Node, name: &str) -> EndpointView {
    let dials = node
        .watched
        .iter()
        .enumerate()
        .map(|(at, endpoint)| DialCount {
            endpoint: Some(endpoint.clone()),
            established: if at == 0 { node.dials } else { 0 },
            programs: Vec::new(),
        });
    EndpointView {
        serving: node.etcd_started.then(|| ServingCertificate {
            names: node.serving.iter().cloned().collect(),
            fingerprint: name.to_owned(),
            ..ServingCertificate::default()
        }),
        dials: dials.collect(),
        ..EndpointView::default()
    }
}

/// As an agent makes its first certificate, and as it changes it.
fn on_certificate(node: &mut Node, action: &Action, order: &Order) {
    let own = order
        .node
        .iter()
        .flat_map(|it| [it.name.clone(), it.address.clone()]);
    if let Action::CreateAuthority(_) | Action::PrepareMember(_) = action {
        let cluster = order.cluster.clone().unwrap_or_default();
        let endpoint = cluster.endpoint.map(|it| it.host);
        node.serving = own.chain(endpoint).chain(cluster.extra_names).collect();
    } else if let Action::SetServingNames(a) = action {
        node.serving.retain(|name| !a.drop.contains(name));
        node.serving.extend(own.chain(a.names.iter().cloned()));
    }
}

fn on_node(node: &mut Node, action: &Action, order: &Order) {
    let cluster_id = order.cluster.as_ref().map(|c| c.id.clone());
    let cluster_id = cluster_id.unwrap_or_default();
    let marks = &mut node.marks;
    match action {
        Action::Preflight(a) => marks.preflight = a.digest.clone(),
        Action::Install(a) => marks.install = a.digest.clone(),
        Action::CreateAuthority(a) => {
            (marks.cluster_id, marks.authority) = (cluster_id, a.digest.clone());
        }
        Action::PrepareMember(a) => {
            (marks.cluster_id, marks.prepared) = (cluster_id, a.digest.clone());
        }
        Action::FinishMember(a) => marks.finished = a.digest.clone(),
        Action::Init(a) => {
            marks.init = a.digest.clone();
            node.etcd_started = true;
        }
        Action::StartMember(_) => node.etcd_started = true,
        Action::StopServing(_) => node.etcd_started = false,
        Action::StopNode(_) => power(node, &cluster_id, false),
        Action::StartNode(_) => power(node, "", true),
        Action::JoinWorker(a) => {
            (marks.cluster_id, marks.worker) = (cluster_id, a.digest.clone());
        }
        Action::RecoverMember(_) => node.etcd_started = true,
        Action::Reset(_) => {
            node.etcd_started = false;
            node.marks = Marks {
                preflight: marks.preflight.clone(),
                install: marks.install.clone(),
                ..Marks::default()
            };
        }
        Action::ConfigureLoadBalancer(a) => node.balancer = Some(balancer(a)),
        Action::ExportJoinMaterial(_)
        | Action::AddMember(_)
        | Action::PromoteMember(_)
        | Action::RemoveMember(_)
        | Action::ApplyManifests(_)
        | Action::ConfigureNode(_)
        | Action::DeleteNode(_)
        | Action::SignClient(_)
        | Action::Check(_)
        | Action::SetServingNames(_)
        | Action::ProbeEndpoint(_)
        | Action::SetClusterEndpoint(_)
        | Action::SetNodeEndpoint(_)
        | Action::RestartKubeProxy(_)
        | Action::RenewCertificates(_)
        | Action::DrainNode(_)
        | Action::HandOver(_)
        | Action::TakeSnapshot(_)
        | Action::SendSnapshot(_)
        | Action::TaintNode(_)
        | Action::UntaintNode(_)
        | Action::CheckStorage(_)
        | Action::ApproveServing(_) => {}
    }
}

/// As the agent: the mark last, which says whose services are kept down.
fn power(node: &mut Node, stopped: &str, on: bool) {
    if !node.marks.init.is_empty() || !node.marks.prepared.is_empty() {
        node.etcd_started = on;
    }
    if let Some(balancer) = &mut node.balancer {
        balancer.running = on;
    }
    node.marks.stopped = stopped.to_owned();
}

fn on_etcd(state: &mut State, name: &str, action: &Action, order: &Order) -> Result<(), Problem> {
    match action {
        Action::Init(_) => {
            state.next_id = 1;
            state.members = vec![EtcdMember {
                id: 1,
                name: name.to_owned(),
                peer_urls: vec![peer_url(order)],
                ..EtcdMember::default()
            }];
        }
        Action::AddMember(a) => {
            let there = |m: &EtcdMember| m.peer_urls.contains(&a.peer_url);
            if !state.members.iter().any(there) {
                state.next_id += 1;
                state.members.push(EtcdMember {
                    id: state.next_id,
                    peer_urls: vec![a.peer_url.clone()],
                    learner: true,
                    ..EtcdMember::default()
                });
            }
        }
        Action::StartMember(a) => {
            if let Some(member) = state.members.iter_mut().find(|m| m.id == a.member_id) {
                member.name = name.to_owned();
            }
        }
        Action::PromoteMember(a) => {
            let member = state.members.iter_mut().find(|m| m.id == a.member_id);
            match member.filter(|m| !m.name.is_empty()) {
                Some(member) => member.learner = false,
                None => return Err(Problem::new("learner-not-ready", "not started")),
            }
        }
        Action::RemoveMember(a) => {
            remove(state, name, a)?;
        }
        Action::Preflight(_)
        | Action::Install(_)
        | Action::CreateAuthority(_)
        | Action::ExportJoinMaterial(_)
        | Action::PrepareMember(_)
        | Action::FinishMember(_)
        | Action::JoinWorker(_)
        | Action::ConfigureLoadBalancer(_)
        | Action::ApplyManifests(_)
        | Action::ConfigureNode(_)
        | Action::DeleteNode(_)
        | Action::Reset(_)
        | Action::SignClient(_)
        | Action::Check(_)
        | Action::SetServingNames(_)
        | Action::ProbeEndpoint(_)
        | Action::SetClusterEndpoint(_)
        | Action::SetNodeEndpoint(_)
        | Action::RestartKubeProxy(_)
        | Action::RenewCertificates(_)
        | Action::DrainNode(_)
        | Action::StopServing(_)
        | Action::TakeSnapshot(_)
        | Action::SendSnapshot(_)
        | Action::TaintNode(_)
        | Action::UntaintNode(_)
        | Action::CheckStorage(_)
        | Action::StopNode(_)
        | Action::StartNode(_)
        | Action::ApproveServing(_) => {}
        Action::RecoverMember(a) => recover(state, name, a),
        Action::HandOver(a) => drop(state.handed_over.insert(a.leader)),
    }
    Ok(())
}

/// As etcd and the agent before it: never below a quorum of those that run, never by the member itself.
fn remove(state: &mut State, via: &str, order: &RemoveMember) -> Result<(), Problem> {
    let Some(target) = state.members.iter().find(|m| m.id == order.member_id) else {
        return Ok(());
    };
    assert!(target.peer_urls.contains(&order.peer_url));
    if !target.learner {
        assert!(!order.learner_only && target.name != via);
        let voters = || state.members.iter().filter(|m| !m.learner);
        let listed: BTreeSet<u64> = voters().map(|m| m.id).collect();
        assert_eq!(listed, order.expected_voters.iter().copied().collect());
        let lives = |m: &&EtcdMember| {
            let node = state.nodes.get(&m.name);
            m.id != order.member_id && node.is_some_and(|it| it.alive && it.etcd_started)
        };
        assert!(
            voters().filter(lives).count() > (listed.len() - 1) / 2,
            "no quorum"
        );
    }
    state.members.retain(|m| m.id != order.member_id);
    Ok(())
}

/// As the agent: once for each recovery. Whoever else runs then would form the old quorum again, or has joined already.
fn recover(state: &mut State, name: &str, order: &RecoverMember) {
    if !state.recovered.insert(order.recovery.clone()) {
        return;
    }
    if !order.snapshot.is_empty() {
        state.restored.push(order.snapshot.clone());
    }
    let runs = |(other, node): (&String, &Node)| node.alive && node.etcd_started && other != name;
    assert!(!state.nodes.iter().any(runs), "another member runs");
    state.members.retain(|m| m.name == name && !m.learner);
    assert_eq!(state.members.len(), 1, "{name} was a member");
}

fn peer_url(order: &Order) -> String {
    let address = order.node.as_ref().map(|n| n.address.clone());
    format!("https://{}:2380", address.unwrap_or_default())
}

fn balancer(action: &ConfigureLoadBalancer) -> LoadBalancerView {
    let backends = action.frontends.iter().flat_map(|frontend| {
        frontend.backends.iter().map(|backend| BackendState {
            frontend: frontend.name.clone(),
            name: backend.name.clone(),
            up: true,
            detail: String::new(),
        })
    });
    LoadBalancerView {
        running: true,
        digest: action.digest.clone(),
        backends: backends.collect(),
        problem: None,
        frontends: Vec::new(),
    }
}

#[tonic::async_trait]
impl Agents for World {
    fn all(&self) -> Vec<AgentState> {
        let names: Vec<String> = self.state().nodes.keys().cloned().collect();
        names.iter().filter_map(|name| self.get(name)).collect()
    }

    fn get(&self, name: &str) -> Option<AgentState> {
        let state = self.state();
        let node = state.nodes.get(name)?;
        Some(AgentState {
            node_id: node.identity.clone(),
            name: name.to_owned(),
            connected: node.alive && !node.muted,
            heard_ms: node.heard_ms,
            reported_ms: node.heard_ms,
            report: node.report.clone(),
            ..AgentState::default()
        })
    }

    fn send(&self, name: &str, message: CoordinatorMessage) -> Result<(), Problem> {
        if !self.state().nodes.get(name).is_some_and(|node| node.alive) {
            return Err(Problem::new("agent-away", "dead"));
        }
        if let Some(coordinator_message::Message::Pace(pace)) = &message.message
            && let Some(node) = self.state().nodes.get_mut(name)
        {
            node.paced_ms = pace.report_ms;
            node.watched.clone_from(&pace.watch);
            node.suspects.clone_from(&pace.suspects);
            if !node.old {
                node.isolation.clone_from(&pace.isolation);
            }
        }
        let Some(coordinator_message::Message::Delivery(delivery)) = message.message else {
            return Ok(());
        };
        if let (Some(order), Some(world)) = (delivery.order, self.me.upgrade()) {
            tokio::spawn(world.carry_out(name.to_owned(), order));
        }
        Ok(())
    }

    async fn revoke(&self, _who: &str, name: &str, node_id: &str) -> Result<(), Problem> {
        let mut state = self.state();
        if state
            .nodes
            .get(name)
            .is_some_and(|it| it.identity == node_id)
        {
            let node = state.nodes.remove(name);
            state.revoked.push(name.to_owned());
            drop(node);
        }
        Ok(())
    }
}
