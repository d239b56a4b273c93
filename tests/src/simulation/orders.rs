//! What each order does to its machine, step by step, with room for a death between any two steps.

use super::calls;
use super::checks::SECRET;
use super::machine::{Data, Machine, Options};
use super::world::World;
use quorate_agent::orders::etcd::data::{self, Decision};
use quorate_agent::orders::etcd::environment::{Identity, Start};
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;

/// A unit that was started again this often has failed.
const FORGIVEN: u32 = 3;
const POLL_MS: u64 = 100;

/// Whose death ends the work: the host's always, the agent's where it does the work itself.
#[derive(Clone)]
pub struct Worker {
    pub world: Arc<World>,
    pub name: String,
    pub boot: u64,
    pub life: Option<u64>,
}

/// The work died with its machine or its agent.
pub struct Died;

/// What a step came to: its result, unless the worker died.
pub type Step<T> = Result<Result<T, Problem>, Died>;

impl Worker {
    pub async fn take(&self, low_ms: u64, high_ms: u64) -> Result<(), Died> {
        self.world.sleep(low_ms, high_ms).await;
        self.lives()?;
        self.world.step(&self.name).await;
        self.lives()
    }

    pub fn lives(&self) -> Result<(), Died> {
        let state = self.world.lock();
        let machine = state.machines.get(&self.name).ok_or(Died)?;
        let same = self.life.is_none_or(|life| life == machine.life);
        match machine.alive && machine.boot == self.boot && same {
            true => Ok(()),
            false => Err(Died),
        }
    }

    fn machine<T>(&self, change: impl FnOnce(&mut Machine) -> T) -> Result<T, Died> {
        let mut state = self.world.lock();
        state.machines.get_mut(&self.name).map(change).ok_or(Died)
    }
}

pub async fn carry_out(
    worker: &Worker,
    order: &Order,
    material: Option<JoinMaterial>,
) -> Result<(OrderResult, Option<JoinMaterial>), Died> {
    let began = worker.world.now_ms();
    let limit = Duration::from_secs(order.timeout_seconds.max(1).into());
    let done = match tokio::time::timeout(limit, act(worker, order, material)).await {
        Ok(done) => done?,
        Err(_) => {
            worker.lives()?;
            Err(Problem::new(
                "order-timeout",
                "the order did not finish in time",
            ))
        }
    };
    let (mut result, sealed) = match done {
        Ok((result, sealed)) => (result, sealed),
        Err(problem) => (
            OrderResult {
                status: OrderStatus::Failed as i32,
                problem: Some(problem),
                ..OrderResult::default()
            },
            None,
        ),
    };
    if result.status == OrderStatus::Unspecified as i32 {
        result.status = OrderStatus::Succeeded as i32;
    }
    result.id.clone_from(&order.id);
    result.duration_ms = worker.world.now_ms() - began;
    Ok((result, sealed))
}

type Outcome = (OrderResult, Option<JoinMaterial>);

fn done() -> Result<Result<Outcome, Problem>, Died> {
    Ok(Ok((OrderResult::default(), None)))
}

/// Goes on with the value, or ends the order with its problem.
macro_rules! ok {
    ($step:expr) => {
        match $step {
            Ok(value) => value,
            Err(problem) => return Ok(Err(problem)),
        }
    };
}

async fn act(worker: &Worker, order: &Order, material: Option<JoinMaterial>) -> Step<Outcome> {
    let Some(action) = &order.action else {
        return Ok(Err(Problem::new("order-malformed", "no action")));
    };
    worker.take(5, 60).await?;
    let hiccup = {
        let mut state = worker.world.lock();
        let rate = state.hiccup_per_mille;
        !state.faults_over && state.random.chance(rate)
    };
    if hiccup {
        worker.world.fault("order fails", action.kind());
        return Ok(Err(Problem::new("tool-failed", "a tool had a bad day")));
    }
    let cluster = order.cluster.clone().unwrap_or_default();
    match action {
        Action::Preflight(it) => {
            worker.take(100, 800).await?;
            worker.machine(|m| m.marks.preflight.clone_from(&it.digest))?;
        }
        Action::Install(it) => {
            worker.take(300, 3_000).await?;
            worker.machine(|m| m.marks.install.clone_from(&it.digest))?;
        }
        Action::CreateAuthority(it) => {
            ok!(claim(worker, &cluster)?);
            worker.take(10, 100).await?;
            let now = unix(worker);
            worker.machine(|m| {
                m.authority = true;
                certify(m, order, now);
            })?;
            worker.take(1, 5).await?;
            worker.machine(|m| m.marks.authority.clone_from(&it.digest))?;
        }
        Action::ExportJoinMaterial(_) => {
            if !worker.machine(|m| m.authority)? {
                return Ok(Err(Problem::new("no-authority", "nothing to hand out")));
            }
            worker.take(1, 30).await?;
            let material = JoinMaterial {
                token: SECRET.to_owned(),
                files: [("ca.key".to_owned(), SECRET.as_bytes().to_vec())].into(),
                ..JoinMaterial::default()
            };
            return Ok(Ok((OrderResult::default(), Some(material))));
        }
        Action::PrepareMember(it) => {
            ok!(claim(worker, &cluster)?);
            worker.take(50, 400).await?;
            if !worker.machine(|m| m.authority)? {
                if material.is_none_or(|it| it.token != SECRET) {
                    return Ok(Err(Problem::new("order-malformed", "no sealed part")));
                }
                worker.machine(|m| m.authority = true)?;
                worker.take(1, 20).await?;
            }
            let now = unix(worker);
            worker.machine(|m| certify(m, order, now))?;
            worker.take(1, 20).await?;
            worker.machine(|m| m.marks.prepared.clone_from(&it.digest))?;
        }
        Action::Init(it) => {
            ok!(require(worker, &cluster)?);
            ok!(start(worker, order, Start::New, &[]).await?);
            ok!(serves(worker).await?);
            worker.take(1, 20).await?;
            worker.machine(|m| m.marks.init.clone_from(&it.digest))?;
        }
        Action::StartMember(it) => {
            ok!(require(worker, &cluster)?);
            let start_as = Start::Join(it.member_id);
            ok!(start(worker, order, start_as, &it.initial_cluster).await?);
        }
        Action::FinishMember(it) => {
            ok!(require(worker, &cluster)?);
            ok!(serves(worker).await?);
            worker.take(10, 200).await?;
            worker.machine(|m| m.marks.finished.clone_from(&it.digest))?;
        }
        Action::AddMember(it) => return calls::add(worker, order, it).await,
        Action::PromoteMember(it) => return calls::promote(worker, order, it).await,
        Action::RemoveMember(it) => return calls::remove(worker, order, it).await,
        Action::HandOver(it) => {
            worker.take(1, 50).await?;
            if calls::own_member(worker) == Some(it.leader) {
                ok!(calls::give_up_leadership(worker));
            }
        }
        Action::StopServing(_) => {
            ok!(require(worker, &cluster)?);
            ok!(calls::give_up_leadership(worker));
            worker.take(1, 50).await?;
            stop(worker)?;
        }
        Action::Reset(_) => reset(worker).await?,
        Action::ConfigureLoadBalancer(it) => {
            worker.take(10, 200).await?;
            let view = balancer(it);
            worker.machine(|m| m.balancer = Some(view))?;
        }
        Action::SetServingNames(it) => {
            worker.take(20, 300).await?;
            let own = own_names(order);
            worker.machine(|m| {
                m.serving
                    .retain(|name| !it.drop.contains(name) || own.contains(name));
                m.serving.extend(own.iter().chain(&it.names).cloned());
            })?;
        }
        Action::RenewCertificates(_) => {
            worker.take(20, 300).await?;
            let now = unix(worker);
            worker.machine(|m| m.issued_unix = now)?;
        }
        Action::ProbeEndpoint(it) => {
            worker.take(10, 200).await?;
            ok!(probe(worker, it));
        }
        Action::JoinWorker(_)
        | Action::ApplyManifests(_)
        | Action::ConfigureNode(_)
        | Action::DeleteNode(_)
        | Action::DrainNode(_)
        | Action::RecoverMember(_)
        | Action::TaintNode(_)
        | Action::UntaintNode(_)
        | Action::StopNode(_)
        | Action::StartNode(_)
        | Action::CheckStorage(_)
        | Action::TakeSnapshot(_)
        | Action::SendSnapshot(_)
        | Action::SignClient(_)
        | Action::Check(_)
        | Action::SetClusterEndpoint(_)
        | Action::SetNodeEndpoint(_)
        | Action::RestartKubeProxy(_)
        | Action::ApproveServing(_) => {
            let problem = Problem::new("order-misdirected", "not of an etcd cluster");
            return Ok(Err(problem));
        }
    }
    done()
}

fn unix(worker: &Worker) -> i64 {
    i64::try_from(worker.world.now_ms() / 1_000).unwrap_or_default()
}

fn own_names(order: &Order) -> Vec<String> {
    let node = order.node.clone().unwrap_or_default();
    vec![node.name, node.address]
}

fn certify(machine: &mut Machine, order: &Order, now: i64) {
    machine.issued_unix = now;
    let cluster = order.cluster.clone().unwrap_or_default();
    let endpoint = cluster.endpoint.map(|it| it.host);
    let names = own_names(order).into_iter().chain(endpoint);
    machine.serving.extend(names.chain(cluster.extra_names));
}

fn claim(worker: &Worker, cluster: &ClusterConfig) -> Step<()> {
    worker.machine(|m| {
        if m.marks.cluster_id.is_empty() || m.marks.cluster_id == cluster.id {
            m.marks.cluster_id.clone_from(&cluster.id);
            return Ok(());
        }
        Err(Problem::new("node-occupied", "of another cluster"))
    })
}

fn require(worker: &Worker, cluster: &ClusterConfig) -> Step<()> {
    worker.machine(|m| match m.marks.cluster_id == cluster.id {
        true => Ok(()),
        false => Err(Problem::new("not-prepared", "an earlier step is missing")),
    })
}

/// The agent's own rule on the data it finds, then the unit, then until etcd answers.
async fn start(
    worker: &Worker,
    order: &Order,
    start: Start,
    members: &[MemberAddress],
) -> Step<()> {
    let cluster = order.cluster.clone().unwrap_or_default().id;
    let decision = worker.machine(|m| {
        let owner = m.options.as_ref().map(|it| &it.owner);
        data::decide(m.data.is_some(), owner, &cluster, start)
    })?;
    match decision {
        Decision::Use => {}
        Decision::Discard => {
            worker.machine(|m| {
                m.process = None;
                m.data = None;
            })?;
            worker.world.refresh();
        }
        Decision::Refuse(why) => {
            return Ok(Err(Problem::new("etcd-data-in-the-way", why)));
        }
    }
    worker.take(5, 50).await?;
    let new = start == Start::New;
    let now = worker.world.now_ms();
    worker.machine(|m| {
        let options = Options {
            owner: Identity {
                cluster,
                member: start.identity(),
            },
            peer_urls: members.iter().map(|it| it.peer_url.clone()).collect(),
            new,
        };
        let same = m
            .options
            .as_ref()
            .is_some_and(|it| it.owner == options.owner && it.peer_urls == options.peer_urls);
        if !same {
            m.process = None;
            m.options = Some(options);
        }
        m.restarts = 0;
        if m.process.is_none() {
            m.next_start = now;
        }
        m.stopped = false;
    })?;
    worker.world.refresh();
    let effect = worker.machine(|m| format!("{:?}", m.data))?;
    if let Some(data) = worker.machine(|m| m.data)? {
        started(worker, order, data, effect);
    }
    loop {
        worker.take(POLL_MS, POLL_MS).await?;
        worker.world.refresh();
        let (runs, restarts) = worker.machine(|m| (m.process.is_some(), m.restarts))?;
        if runs {
            return Ok(Ok(()));
        }
        if restarts > FORGIVEN {
            let problem = Problem::new("etcd-does-not-start", "etcd.service has failed");
            return Ok(Err(problem));
        }
    }
}

fn started(worker: &Worker, order: &Order, data: Data, effect: String) {
    let mut state = worker.world.lock();
    let removed = state
        .cluster(data.cluster)
        .is_some_and(|it| it.removed.contains(&data.member));
    if !removed {
        state.checks.effect(&order.id, effect);
    }
}

/// A linearizable read through this machine's own member.
async fn serves(worker: &Worker) -> Step<()> {
    loop {
        worker.take(POLL_MS, POLL_MS).await?;
        worker.world.refresh();
        let now = worker.world.now_ms();
        let state = worker.world.lock();
        let served = state.sight(&worker.name, now).is_some_and(|(id, sight)| {
            let cluster = state.cluster(id);
            cluster.is_some_and(|it| it.serves(&sight).is_ok())
        });
        if served {
            return Ok(Ok(()));
        }
        let restarts = state.machines.get(&worker.name).map_or(0, |m| m.restarts);
        if restarts > FORGIVEN {
            let problem = Problem::new("etcd-does-not-start", "etcd.service has failed");
            return Ok(Err(problem));
        }
    }
}

/// `systemctl stop etcd`
fn stop(worker: &Worker) -> Result<(), Died> {
    let now = worker.world.now_ms();
    {
        let mut state = worker.world.lock();
        let voters = state.voters(now);
        let machine = state.machines.get(&worker.name).ok_or(Died)?;
        if let Some(process) = machine.process.clone() {
            state.checks.stop(process.member, &voters);
        }
    }
    worker.machine(|m| {
        m.process = None;
        m.stopped = true;
        m.next_start = u64::MAX;
    })?;
    worker.world.refresh();
    Ok(())
}

async fn reset(worker: &Worker) -> Result<(), Died> {
    let is_voter = {
        let state = worker.world.lock();
        let data = state.machines.get(&worker.name).and_then(|m| m.data);
        data.is_some_and(|data| {
            let cluster = state.cluster(data.cluster);
            let member = cluster.and_then(|it| it.member(data.member));
            member.is_some_and(|it| !it.learner)
        })
    };
    worker.world.lock().checks.reset(&worker.name, is_voter);
    worker.take(10, 200).await?;
    worker.machine(|m| {
        m.process = None;
        m.options = None;
        m.stopped = false;
    })?;
    worker.world.refresh();
    worker.take(5, 50).await?;
    worker.machine(|m| m.data = None)?;
    worker.take(1, 20).await?;
    worker.machine(|m| {
        m.authority = false;
        m.serving.clear();
    })?;
    worker.take(1, 20).await?;
    worker.machine(|m| {
        m.marks = Marks {
            preflight: std::mem::take(&mut m.marks.preflight),
            install: std::mem::take(&mut m.marks.install),
            load_balancer: std::mem::take(&mut m.marks.load_balancer),
            ..Marks::default()
        };
    })?;
    Ok(())
}

fn probe(worker: &Worker, it: &ProbeEndpoint) -> Result<(), Problem> {
    let host = it.endpoint.clone().unwrap_or_default().host;
    let state = worker.world.lock();
    for server in &it.servers {
        let names = state.machines.get(&server.name).map(|m| &m.serving);
        if !names.is_some_and(|names| it.names_pending || names.contains(&host)) {
            let problem = Problem::new("endpoint-unproven", "another certificate answers");
            return Err(problem.at(&server.name));
        }
    }
    Ok(())
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
        ..LoadBalancerView::default()
    }
}
