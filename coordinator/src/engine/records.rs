//! What the engine keeps durably. Everything else is observed anew after a restart.

use crate::spec::Spec;
use quorate_planner::endpoint::{Renewal, Rotation};
use quorate_planner::facts::{Change, OutOfService, Trouble};
use quorate_planner::leaving::Leaving;
use quorate_planner::recovery::Recovery;
use quorate_planner::shutdown::Shutdown;
use quorate_planner::step::StepKind;
use quorate_proto::v1::{Finding, Order, Problem};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterRecord {
    pub id: String,
    pub name: String,
    /// Grows with each change of the wish; orders carry it as their generation.
    pub revision: u64,
    pub spec: Spec,
    /// The only node that may ever form this cluster.
    pub founder: Option<String>,
    /// Nodes whose join was given up: to be reset before they are used again.
    pub dirty: BTreeSet<String>,
    /// The operation under way.
    pub operation: Option<String>,
    /// A change of the endpoint, of the names or of certificates that has begun and not ended.
    #[serde(default)]
    pub rotation: Option<Rotation>,
    #[serde(default)]
    pub renewal: Option<Renewal>,
    /// Nodes that were away when the endpoint moved and have not caught up.
    #[serde(default)]
    pub behind: BTreeSet<String>,
    /// Names that were dropped without them.
    #[serde(default)]
    pub gone: BTreeSet<String>,
    /// A load balancer of somebody else's that no apply has proven yet.
    #[serde(default)]
    pub unproven: bool,
    /// The endpoint is a load balancer of somebody else's, whatever the file's mode is.
    #[serde(default)]
    pub external: bool,
    /// Load balancers that serve the API no more, since the endpoint left them.
    #[serde(default)]
    pub retired: BTreeSet<String>,
    /// The node that is to go, on an operator's word.
    #[serde(default)]
    pub leaving: Option<Leaving>,
    /// The quorum is lost for good, on an operator's word, and a survivor is to form a cluster of one.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// The cluster stands still, or is being started again, on an operator's word.
    #[serde(default)]
    pub shutdown: Option<Shutdown>,
    /// A node has left or been replaced, or the cluster was recovered: the founder may be another machine by now, and nobody forms the
    /// cluster again.
    #[serde(default)]
    pub formed: bool,
    /// Dead nodes, from before they are declared out of service until that is taken back.
    #[serde(default)]
    pub out_of_service: BTreeMap<String, OutOfService>,
    #[serde(default)]
    pub isolation: IsolationRecord,
}

/// The terms on which nodes stop their own pods when nobody can see them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationRecord {
    /// 0: they do not.
    pub fence_ms: u64,
    /// Grows with each change of the terms; 0: there never were any.
    pub generation: u64,
    /// Who has taken them on, by its own word.
    pub armed: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    Running,
    Done,
    Failed,
    /// A later apply of the same cluster took over.
    Superseded,
}

impl OperationState {
    pub fn word(self) -> &'static str {
        match self {
            OperationState::Running => "running",
            OperationState::Done => "done",
            OperationState::Failed => "failed",
            OperationState::Superseded => "superseded",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationRecord {
    pub id: String,
    pub cluster: String,
    pub kind: String,
    pub state: OperationState,
    pub ordered_by: String,
    pub started_ms: u64,
    pub finished_ms: u64,
    pub problem: Option<Problem>,
    pub troubles: Vec<Trouble>,
    pub rejected_calls: u32,
    pub membership_held_ms: u64,
}

/// An order that was sent and has no result yet. Written before it is sent, deleted with its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderRecord {
    pub order: Order,
    pub step: StepKind,
    pub on: String,
    pub subject: String,
    pub sent_ms: u64,
}

/// The one membership change of a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SlotRecord {
    pub change: Change,
}

/// What a node's last preflight found, for the wish with this digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindingsRecord {
    pub digest: String,
    pub findings: Vec<Finding>,
}

impl FindingsRecord {
    pub fn fatal(&self) -> Vec<String> {
        self.findings
            .iter()
            .filter(|f| f.severity() == quorate_proto::v1::Severity::Fatal)
            .map(|f| {
                let what = f
                    .problem
                    .as_ref()
                    .map(|p| p.what.clone())
                    .unwrap_or_default();
                format!("{}: {what}", f.name)
            })
            .collect()
    }
}
