//! How far each node is, in one word and one line, for people.

use crate::facts::Facts;
use crate::intent::{Intent, NodeIntent, NodeName};
use crate::leaving::Departure;
use crate::renewal::Renewing;
use crate::rotation::Turn;
use crate::side::{self, Gate};
use crate::step::{Membership, StepKind};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Waiting,
    Preflight,
    Install,
    Prepare,
    Join,
    Finish,
    Reset,
    Endpoint,
    Renew,
    Stop,
    Stopped,
    Start,
    Leave,
    Ready,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub phase: Phase,
    pub detail: String,
    /// Waiting ends by itself if the world gets better (a node comes back, etcd heals, a pause ends).
    pub may_pass: bool,
}

pub fn all(
    facts: &Facts,
    intent: &Intent,
    membership: &Membership,
    now: Time,
) -> BTreeMap<NodeName, Progress> {
    let gate = side::preflight_gate(facts, intent);
    intent
        .nodes
        .iter()
        .map(|node| (node.name.clone(), one(facts, node, membership, gate, now)))
        .collect()
}

/// What a rotation or a renewal waits for, at the nodes that have nothing else to tell.
pub fn tell_endpoint(
    progress: &mut BTreeMap<NodeName, Progress>,
    endpoint: &Turn,
    renewing: &Renewing,
) {
    let waits: Vec<String> = endpoint
        .waits
        .iter()
        .chain(&renewing.waits)
        .map(ToString::to_string)
        .collect();
    for (name, progress) in progress.iter_mut() {
        if endpoint.behind.contains(name) {
            *progress = Progress::waiting("cannot be reached; brought along when it returns");
        } else if progress.phase == Phase::Ready && progress.detail.is_empty() {
            progress.detail = waits.join("; ");
        }
    }
}

/// The node that leaves, unless an order is at work on it or one has failed for good.
pub fn tell_departure(
    progress: &mut BTreeMap<NodeName, Progress>,
    facts: &Facts,
    intent: &Intent,
    departure: &Departure,
    membership: &Membership,
) {
    let Some(leaving) = &intent.leaving else {
        return;
    };
    let busy = facts.running.iter().any(|run| run.subject == leaving.node);
    if busy || facts.failed(&leaving.node).is_some() {
        return;
    }
    let detail = match membership {
        Membership::Wait(reasons) if departure.removes => join(reasons),
        Membership::Wait(_)
        | Membership::Settled
        | Membership::Begin(..)
        | Membership::Continue(_)
        | Membership::Underway(..)
        | Membership::Complete(_)
        | Membership::Abandon(_)
        | Membership::Release(_) => join(&departure.waits),
    };
    let told = Progress::new(Phase::Leave, detail);
    progress.insert(leaving.node.clone(), told);
}

fn one(
    facts: &Facts,
    node: &NodeIntent,
    membership: &Membership,
    gate: Gate,
    now: Time,
) -> Progress {
    let name = &node.name;
    let known = facts.node(name);
    if let Some(run) = facts.running.iter().find(|run| &run.subject == name) {
        return Progress::new(phase_of(run.kind), describe(run.kind));
    }
    if !known.preflight_fatal.is_empty() && !side::joined(facts, node) {
        return Progress::new(Phase::Failed, known.preflight_fatal.join("; "));
    }
    if let Some(trouble) = facts.failed(name) {
        return Progress::new(Phase::Failed, trouble.last_error.clone());
    }
    if !known.enrolled {
        return Progress::waiting("not enrolled");
    }
    if !known.connected {
        return Progress::waiting("its agent is not connected");
    }
    if let Some(trouble) = facts
        .troubles
        .iter()
        .find(|t| &t.subject == name && t.retry_at > now)
    {
        let seconds = trouble.retry_at.since(now).div_ceil(1_000);
        return Progress::waiting(format!(
            "tried again in {seconds} s after: {}",
            trouble.last_error
        ));
    }
    if known.marks.known().is_some_and(|marks| marks.stopped) {
        return Progress::new(Phase::Stopped, "");
    }
    if side::joined(facts, node) && !facts.dirty.contains(name) {
        return Progress::new(Phase::Ready, "");
    }
    if gate == Gate::Shut {
        let mut held = Progress::waiting("another node's preflight has fatal findings");
        held.may_pass = false;
        return held;
    }
    if node.member {
        return member(facts, node, membership);
    }
    Progress::waiting("waits for the cluster's endpoint")
}

fn member(facts: &Facts, node: &NodeIntent, membership: &Membership) -> Progress {
    if let Some(change) = facts
        .change
        .as_ref()
        .filter(|change| change.node == node.name)
    {
        let detail = match membership {
            Membership::Wait(reasons) if !reasons.is_empty() => join(reasons),
            Membership::Wait(_)
            | Membership::Settled
            | Membership::Begin(..)
            | Membership::Continue(_)
            | Membership::Underway(..)
            | Membership::Complete(_)
            | Membership::Abandon(_)
            | Membership::Release(_) => format!("{:?}", change.kind).to_lowercase(),
        };
        return Progress::new(Phase::Join, detail);
    }
    match membership {
        Membership::Wait(reasons) if !reasons.is_empty() => Progress::waiting(join(reasons)),
        Membership::Wait(_)
        | Membership::Settled
        | Membership::Begin(..)
        | Membership::Continue(_)
        | Membership::Complete(_)
        | Membership::Abandon(_)
        | Membership::Release(_) => Progress::waiting("waits for its turn"),
        Membership::Underway(StepKind::RemoveMember, other) => {
            Progress::waiting(format!("{other} leaves first"))
        }
        Membership::Underway(_, other) => Progress::waiting(format!("{other} joins first")),
    }
}

fn join(reasons: &[crate::waiting::WaitingOn]) -> String {
    reasons
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl Progress {
    fn new(phase: Phase, detail: impl Into<String>) -> Self {
        Progress {
            phase,
            detail: detail.into(),
            may_pass: true,
        }
    }

    fn waiting(detail: impl Into<String>) -> Self {
        Progress::new(Phase::Waiting, detail)
    }
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Preflight => "preflight",
            Phase::Install => "install",
            Phase::Prepare => "prepare",
            Phase::Join => "join",
            Phase::Finish => "finish",
            Phase::Reset => "reset",
            Phase::Endpoint => "endpoint",
            Phase::Renew => "renew",
            Phase::Stop => "stop",
            Phase::Stopped => "stopped",
            Phase::Start => "start",
            Phase::Leave => "leave",
            Phase::Ready => "ready",
            Phase::Failed => "failed",
        }
    }
}

fn phase_of(kind: StepKind) -> Phase {
    match kind {
        StepKind::Preflight => Phase::Preflight,
        StepKind::Install => Phase::Install,
        StepKind::CreateAuthority | StepKind::Prepare => Phase::Prepare,
        StepKind::Found
        | StepKind::AddMember
        | StepKind::StartMember
        | StepKind::PromoteMember
        | StepKind::Recover
        | StepKind::JoinWorker => Phase::Join,
        StepKind::Finish
        | StepKind::ConfigureNode
        | StepKind::ApproveServing
        | StepKind::ApplyManifests
        | StepKind::ConfigureBalancer => Phase::Finish,
        StepKind::SetNames
        | StepKind::Probe
        | StepKind::SetObjects
        | StepKind::SetCarriers
        | StepKind::RestartProxies => Phase::Endpoint,
        StepKind::Renew => Phase::Renew,
        StepKind::Reset => Phase::Reset,
        StepKind::RemoveMember
        | StepKind::DeleteNode
        | StepKind::Drain
        | StepKind::HandOver
        | StepKind::StopServing
        | StepKind::TaintNode
        | StepKind::UntaintNode => Phase::Leave,
        StepKind::CheckStorage => Phase::Leave,
        StepKind::StopNode => Phase::Stop,
        StepKind::StartNode => Phase::Start,
    }
}

pub fn describe(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Preflight => "examining the machine",
        StepKind::Install => "installing packages, binaries and images",
        StepKind::ConfigureBalancer => "configuring the load balancer",
        StepKind::CreateAuthority => "making the cluster's certificate authorities",
        StepKind::Prepare => "preparing certificates and services ahead of the join",
        StepKind::Finish => "waiting until the member serves",
        StepKind::JoinWorker => "joining as a worker",
        StepKind::ApplyManifests => "applying add-on manifests",
        StepKind::ConfigureNode => "setting labels and taints",
        StepKind::DeleteNode => "deleting the Node object",
        StepKind::Reset => "resetting the machine",
        StepKind::Found => "forming the cluster of one",
        StepKind::AddMember => "adding it to etcd as a learner",
        StepKind::StartMember => "starting its etcd",
        StepKind::PromoteMember => "catching up, then promoting it to voter",
        StepKind::SetNames => "setting the names of its serving certificate",
        StepKind::Probe => "proving that the endpoint leads to this cluster",
        StepKind::SetObjects => "writing the endpoint into the cluster's objects",
        StepKind::SetCarriers => "writing the endpoint into its kubeconfigs",
        StepKind::RestartProxies => "restarting kube-proxy with the endpoint",
        StepKind::Renew => "renewing its certificates",
        StepKind::ApproveServing => "approving kubelets' serving certificates",
        StepKind::RemoveMember => "removing it from etcd",
        StepKind::Drain => "moving its pods to other nodes",
        StepKind::HandOver => "handing etcd's leadership over",
        StepKind::StopServing => "sending its clients elsewhere",
        StepKind::TaintNode => "declaring the dead node out of service",
        StepKind::UntaintNode => "putting the node back into service",
        StepKind::CheckStorage => "asking storage whether it can do without the node",
        StepKind::StopNode => "stopping what it runs of the cluster",
        StepKind::StartNode => "starting what it runs of the cluster",
        StepKind::Recover => "making a cluster of one from its data",
    }
}
