//! What is known, from observation. Unknown is a value, and no rule takes it for good.

use crate::intent::{Digest, NodeName};
use crate::step::StepKind;
use crate::storage;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Observed<T> {
    #[default]
    Unknown,
    Known(T),
}

impl<T> Observed<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Observed::Unknown => None,
            Observed::Known(value) => Some(value),
        }
    }

    pub fn is(&self, expected: &T) -> bool
    where
        T: PartialEq,
    {
        self.known() == Some(expected)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub nodes: BTreeMap<NodeName, NodeFacts>,
    pub etcd: EtcdFacts,
    /// Where the authorities were made, once that was ordered: no other node may ever form this cluster.
    pub founder: Option<NodeName>,
    /// The one membership change that holds the slot.
    pub change: Option<Change>,
    /// Nodes whose join was given up after it had begun: to be reset before anything else happens there.
    pub dirty: BTreeSet<NodeName>,
    pub running: Vec<Running>,
    pub troubles: Vec<Trouble>,
    /// What the cluster's own objects hold, as a member read them last.
    pub objects: Observed<ObjectFacts>,
    /// Nodes that were away when the endpoint moved: nobody is led to them until they have caught up. Kept durably.
    pub behind: BTreeSet<NodeName>,
    /// Whether a load balancer of somebody else's is to be proven before the operation ends.
    pub verify: bool,
    /// Nodes from which the endpoint, or the rotation's target, was proven to lead to this cluster.
    pub proven: BTreeSet<NodeName>,
    /// Since when nobody has been seen dialing the address that goes; none while somebody does.
    pub quiet_since: Option<Time>,
    /// Who dials it.
    pub dialers: Vec<String>,
    /// The cluster has members besides its founder's first one, or had: nobody may form it or make its authorities again.
    pub formed: bool,
    /// Since when no load balancer has had the node that leaves; none while one has it, or that is not known.
    pub out_since: Option<Time>,
    pub out_of_service: BTreeMap<NodeName, OutOfService>,
    /// What storage said last of a node that is to go. In memory: after a restart it is asked again.
    pub storage: Option<storage::Answer>,
    /// Nodes that stop their own pods, on the terms in force, when nobody can see them.
    pub armed: BTreeSet<NodeName>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    pub enrolled: bool,
    /// Has a live session that was heard of lately.
    pub connected: bool,
    /// When it was last heard of.
    pub heard: Time,
    pub marks: Observed<Marks>,
    /// Fatal findings of the preflight for the present wish.
    pub preflight_fatal: Vec<String>,
    pub etcd_running: Observed<bool>,
    /// Since when its agent has seen no etcd run there; none while one does, or while that is unknown.
    pub etcd_down_since: Option<Time>,
    pub api_ready: Observed<bool>,
    pub node_ready: Observed<bool>,
    pub balancer: Observed<BalancerFacts>,
    pub endpoint: Observed<EndpointFacts>,
    /// When the oldest of its certificates that can be renewed was issued; none if it has none.
    pub oldest_issue_unix: Observed<Option<i64>>,
    pub life: Life,
}

/// Whether the node lives, as three witnesses tell that do not depend on each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Life {
    /// Since when its agent has been silent; none while it is heard.
    pub silent_since: Observed<Option<Time>>,
    pub lease: Observed<Lease>,
    /// Since when no other etcd member has had a connection to its own; none while one has.
    pub peer_away_since: Observed<Option<Time>>,
    pub object: Observed<NodeObject>,
}

/// Of its kubelet. Its time is by the node's own clock, and only compared with itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lease {
    pub renewed_us: i64,
    /// Since when it has been seen not to change, by the coordinator's clock.
    pub unchanged_since: Time,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeObject {
    pub ready: bool,
    pub tainted: bool,
    /// Pods that are to go and are still there.
    pub terminating: u32,
    /// Pods that the taint sends away and that nobody has ended by force yet.
    pub to_free: u32,
}

/// A node that was declared out of service. Kept durably from before the taint is set until it is off again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutOfService {
    pub since: Time,
    /// Its kubelet's lease at that time: a later one shows that it is back.
    pub lease_us: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointFacts {
    /// What the member presents in a handshake; none while it does not answer.
    pub serving: Option<ServingFacts>,
    pub carriers: Vec<CarrierFacts>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServingFacts {
    pub names: BTreeSet<String>,
    pub fingerprint: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CarrierFacts {
    pub place: String,
    pub value: String,
    /// Whether it is to hold the cluster's endpoint.
    pub follows: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectFacts {
    pub kubeadm: String,
    pub names: BTreeSet<String>,
    pub info: String,
    pub info_signed: bool,
    /// Empty: there is no kube-proxy.
    pub proxy: String,
    /// The address that each node's kube-proxy was started for.
    pub proxies: BTreeMap<NodeName, String>,
    /// Nodes whose kubelets ask for serving certificates and were not looked at lately.
    pub serving_requests: BTreeSet<NodeName>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    pub preflight: Digest,
    pub install: Digest,
    /// For this cluster; a mark of another cluster counts as absent here and is preflight's business.
    pub authority: bool,
    pub founded: bool,
    pub prepared: bool,
    pub finished: bool,
    pub worker: bool,
    pub manifests: Digest,
    pub configured: BTreeMap<NodeName, Digest>,
    /// What it runs of this cluster was stopped in order, and is kept down.
    pub stopped: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BalancerFacts {
    pub running: bool,
    /// Members in the API front end.
    pub members: BTreeSet<NodeName>,
    pub up: BTreeSet<NodeName>,
    /// Whether the rest of the configuration is as wished.
    pub current: bool,
    /// It is to serve the API no more, so that it has no members.
    pub retired: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct EtcdFacts {
    pub list: MemberList,
    /// Since when every observation found the same members, all healthy.
    pub stable_since: Option<Time>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum MemberList {
    /// No member could be asked, or none answered with a linearizable list.
    #[default]
    Unknown,
    /// Members gave different lists or belong to different clusters.
    Conflict(String),
    Known(Vec<Member>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: u64,
    /// None: not started yet.
    pub name: Option<String>,
    pub peer_url: String,
    pub learner: bool,
    /// Since when it has been in the list, as far as was observed.
    pub seen_since: Time,
    pub health: Observed<MemberHealth>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MemberHealth {
    /// A linearizable read through it succeeded.
    pub serving: bool,
    pub leader: u64,
    pub term: u64,
    pub applied: u64,
    pub db_size: u64,
    pub alarms: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    Found,
    Join,
    /// A learner that no living join owns.
    DropGhost,
    /// A member that is removed on the operator's word.
    Leave,
    /// A cluster without a quorum is made anew from one survivor, on the operator's word.
    Recover,
}

/// The slot. Kept durably from before the first order of the change until its end was observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub kind: ChangeKind,
    pub node: NodeName,
    pub peer_url: String,
    pub since: Time,
    /// The joiner's etcd was told to start; only spares a second order, decides nothing.
    pub started: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Where it runs.
    pub on: NodeName,
    pub kind: StepKind,
    /// Whom it is about.
    pub subject: NodeName,
}

/// What failed before, in this operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    pub subject: NodeName,
    pub kind: StepKind,
    pub attempts: u32,
    pub last_error: String,
    pub retry_at: Time,
    /// Trying again cannot help.
    pub permanent: bool,
}

/// A step is tried this often: a tool's hiccup passes, a wrong configuration does not.
pub const MAX_ATTEMPTS: u32 = 3;
/// A look changes nothing, and what it found may mend itself: a member that is slow for a minute is out of the load balancer for
/// that long. Two minutes of tries.
pub const MAX_PROBES: u32 = 12;

/// Of a node that nothing was heard of.
static UNKNOWN: LazyLock<NodeFacts> = LazyLock::new(NodeFacts::default);

impl Facts {
    pub fn node(&self, name: &NodeName) -> &NodeFacts {
        self.nodes.get(name).unwrap_or(&UNKNOWN)
    }

    pub fn members(&self) -> &[Member] {
        match &self.etcd.list {
            MemberList::Known(members) => members,
            MemberList::Unknown | MemberList::Conflict(_) => &[],
        }
    }

    pub fn member(&self, peer_url: &str) -> Option<&Member> {
        self.members().iter().find(|m| m.peer_url == peer_url)
    }

    pub fn is_running(&self, kind: StepKind, subject: &NodeName) -> bool {
        self.running
            .iter()
            .any(|run| run.kind == kind && &run.subject == subject)
    }

    pub fn busy(&self, node: &NodeName) -> bool {
        self.running
            .iter()
            .any(|run| &run.on == node && run.kind.fills_node())
    }

    pub fn trouble(&self, kind: StepKind, subject: &NodeName) -> Option<&Trouble> {
        self.troubles
            .iter()
            .find(|t| t.kind == kind && &t.subject == subject)
    }

    /// A step of this node that will not be tried again.
    pub fn failed(&self, subject: &NodeName) -> Option<&Trouble> {
        self.troubles
            .iter()
            .find(|t| &t.subject == subject && t.given_up())
    }
}

impl Trouble {
    pub fn given_up(&self) -> bool {
        let most = match self.kind {
            StepKind::Probe => MAX_PROBES,
            StepKind::Preflight
            | StepKind::Install
            | StepKind::ConfigureBalancer
            | StepKind::CreateAuthority
            | StepKind::Prepare
            | StepKind::Finish
            | StepKind::JoinWorker
            | StepKind::ApplyManifests
            | StepKind::ConfigureNode
            | StepKind::DeleteNode
            | StepKind::Reset
            | StepKind::Found
            | StepKind::AddMember
            | StepKind::StartMember
            | StepKind::PromoteMember
            | StepKind::RemoveMember
            | StepKind::SetNames
            | StepKind::SetObjects
            | StepKind::SetCarriers
            | StepKind::RestartProxies
            | StepKind::Renew
            | StepKind::Drain
            | StepKind::HandOver
            | StepKind::StopServing
            | StepKind::Recover
            | StepKind::ApproveServing => MAX_ATTEMPTS,
            // Wanted for as long as the node is dead, or back: there is no operation that could fail of it.
            StepKind::TaintNode | StepKind::UntaintNode => u32::MAX,
            // Wanted for as long as the cluster is to stand still, or to run: half of it is neither.
            StepKind::StopNode | StepKind::StartNode => u32::MAX,
            // A no is an answer, and whoever does not answer is asked again.
            StepKind::CheckStorage => u32::MAX,
        };
        self.permanent || self.attempts >= most
    }
}

impl Member {
    pub fn started(&self) -> bool {
        self.name.as_deref().is_some_and(|name| !name.is_empty())
    }
}
