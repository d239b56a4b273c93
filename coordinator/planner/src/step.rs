//! Steps: decisions about the cluster. The coordinator turns each into an order for one node.

use crate::facts::Change;
use crate::intent::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StepKind {
    Preflight,
    Install,
    ConfigureBalancer,
    CreateAuthority,
    Prepare,
    Finish,
    JoinWorker,
    ApplyManifests,
    ConfigureNode,
    DeleteNode,
    Reset,
    Found,
    AddMember,
    StartMember,
    PromoteMember,
    RemoveMember,
    SetNames,
    Probe,
    SetObjects,
    SetCarriers,
    RestartProxies,
    Renew,
    ApproveServing,
    Drain,
    HandOver,
    StopServing,
    TaintNode,
    UntaintNode,
    Recover,
    StopNode,
    StartNode,
    CheckStorage,
}

impl StepKind {
    /// Whether a node does nothing else meanwhile. The others are short calls made for another node.
    pub fn fills_node(self) -> bool {
        match self {
            StepKind::Preflight
            | StepKind::Install
            | StepKind::ConfigureBalancer
            | StepKind::CreateAuthority
            | StepKind::Prepare
            | StepKind::Finish
            | StepKind::JoinWorker
            | StepKind::Reset
            | StepKind::Found
            | StepKind::StartMember
            | StepKind::SetNames
            | StepKind::SetCarriers
            | StepKind::StopServing
            | StepKind::StopNode
            | StepKind::StartNode
            | StepKind::Recover
            | StepKind::Renew => true,
            StepKind::ApplyManifests
            | StepKind::ConfigureNode
            | StepKind::DeleteNode
            | StepKind::AddMember
            | StepKind::PromoteMember
            | StepKind::RemoveMember
            | StepKind::Probe
            | StepKind::SetObjects
            | StepKind::RestartProxies
            | StepKind::Drain
            | StepKind::HandOver
            | StepKind::TaintNode
            | StepKind::UntaintNode
            | StepKind::CheckStorage
            | StepKind::ApproveServing => false,
        }
    }

    /// Whether it changes what a rotation looks at.
    pub fn moves_endpoint(self) -> bool {
        match self {
            StepKind::SetNames
            | StepKind::SetCarriers
            | StepKind::SetObjects
            | StepKind::RestartProxies
            | StepKind::Probe => true,
            StepKind::Preflight
            | StepKind::Install
            | StepKind::ConfigureBalancer
            | StepKind::CreateAuthority
            | StepKind::Prepare
            | StepKind::Finish
            | StepKind::JoinWorker
            | StepKind::Reset
            | StepKind::Found
            | StepKind::StartMember
            | StepKind::ApplyManifests
            | StepKind::ConfigureNode
            | StepKind::DeleteNode
            | StepKind::AddMember
            | StepKind::PromoteMember
            | StepKind::RemoveMember
            | StepKind::Renew
            | StepKind::Drain
            | StepKind::HandOver
            | StepKind::StopServing
            | StepKind::TaintNode
            | StepKind::UntaintNode
            | StepKind::StopNode
            | StepKind::StartNode
            | StepKind::Recover
            | StepKind::CheckStorage
            | StepKind::ApproveServing => false,
        }
    }

    /// Whether a member that serves is changed by it: one member at a time.
    pub fn touches_member(self) -> bool {
        match self {
            StepKind::SetNames
            | StepKind::SetCarriers
            | StepKind::Renew
            | StepKind::StopServing => true,
            StepKind::Preflight
            | StepKind::Install
            | StepKind::ConfigureBalancer
            | StepKind::CreateAuthority
            | StepKind::Prepare
            | StepKind::Finish
            | StepKind::JoinWorker
            | StepKind::Reset
            | StepKind::Found
            | StepKind::StartMember
            | StepKind::ApplyManifests
            | StepKind::ConfigureNode
            | StepKind::DeleteNode
            | StepKind::AddMember
            | StepKind::PromoteMember
            | StepKind::RemoveMember
            | StepKind::Probe
            | StepKind::SetObjects
            | StepKind::RestartProxies
            | StepKind::Drain
            | StepKind::HandOver
            | StepKind::TaintNode
            | StepKind::UntaintNode
            | StepKind::StopNode
            | StepKind::StartNode
            | StepKind::Recover
            | StepKind::CheckStorage
            | StepKind::ApproveServing => false,
        }
    }
}

/// Steps that touch no membership: as many at once as there are nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum SideStep {
    Preflight {
        node: NodeName,
    },
    Install {
        node: NodeName,
    },
    ConfigureBalancer {
        node: NodeName,
        members: BTreeSet<NodeName>,
    },
    CreateAuthority {
        node: NodeName,
    },
    /// Everything of a control-plane join outside the membership change; the authorities come from `from`.
    Prepare {
        node: NodeName,
        from: NodeName,
    },
    Finish {
        node: NodeName,
    },
    JoinWorker {
        node: NodeName,
        via: NodeName,
    },
    ApplyManifests {
        via: NodeName,
    },
    ConfigureNode {
        node: NodeName,
        via: NodeName,
    },
    DeleteNode {
        node: NodeName,
        via: NodeName,
    },
    Reset {
        node: NodeName,
    },
    /// The names that the member's serving certificate covers.
    SetNames {
        node: NodeName,
    },
    /// Proves from this node that the rotation's target leads to this cluster.
    Probe {
        node: NodeName,
    },
    /// The cluster's own objects that carry the endpoint.
    SetObjects {
        via: NodeName,
    },
    /// The node's own files that carry the endpoint.
    SetCarriers {
        node: NodeName,
    },
    RestartProxies {
        via: NodeName,
        nodes: BTreeSet<NodeName>,
    },
    Renew {
        node: NodeName,
    },
    /// Approves kubelets' requests for serving certificates where they match their nodes.
    ApproveServing {
        via: NodeName,
    },
    /// Moves the pods of a node that leaves to others.
    Drain {
        node: NodeName,
        via: NodeName,
    },
    /// Declares a dead node out of service: its pods and volumes are freed.
    TaintNode {
        node: NodeName,
        via: NodeName,
    },
    /// It is back, and rid of what it had run.
    UntaintNode {
        node: NodeName,
        via: NodeName,
    },
    /// Holds this voter's clients while the leadership passes from the member that leaves to another one. Each voter gets one of these.
    HandOver {
        node: NodeName,
        leader: u64,
        heir: u64,
    },
    /// Ends a member's service ahead of its removal, in a way that clients follow.
    StopServing {
        node: NodeName,
    },
    /// Ends all that the node runs of the cluster, which is to stand still.
    StopNode {
        node: NodeName,
    },
    StartNode {
        node: NodeName,
    },
    /// Asks storage with a quorum of its own whether the node may go.
    CheckStorage {
        node: NodeName,
        via: NodeName,
    },
}

impl SideStep {
    pub fn kind(&self) -> StepKind {
        match self {
            SideStep::Preflight { .. } => StepKind::Preflight,
            SideStep::Install { .. } => StepKind::Install,
            SideStep::ConfigureBalancer { .. } => StepKind::ConfigureBalancer,
            SideStep::CreateAuthority { .. } => StepKind::CreateAuthority,
            SideStep::Prepare { .. } => StepKind::Prepare,
            SideStep::Finish { .. } => StepKind::Finish,
            SideStep::JoinWorker { .. } => StepKind::JoinWorker,
            SideStep::ApplyManifests { .. } => StepKind::ApplyManifests,
            SideStep::ConfigureNode { .. } => StepKind::ConfigureNode,
            SideStep::DeleteNode { .. } => StepKind::DeleteNode,
            SideStep::Reset { .. } => StepKind::Reset,
            SideStep::SetNames { .. } => StepKind::SetNames,
            SideStep::Probe { .. } => StepKind::Probe,
            SideStep::SetObjects { .. } => StepKind::SetObjects,
            SideStep::SetCarriers { .. } => StepKind::SetCarriers,
            SideStep::RestartProxies { .. } => StepKind::RestartProxies,
            SideStep::Renew { .. } => StepKind::Renew,
            SideStep::ApproveServing { .. } => StepKind::ApproveServing,
            SideStep::Drain { .. } => StepKind::Drain,
            SideStep::HandOver { .. } => StepKind::HandOver,
            SideStep::StopServing { .. } => StepKind::StopServing,
            SideStep::TaintNode { .. } => StepKind::TaintNode,
            SideStep::UntaintNode { .. } => StepKind::UntaintNode,
            SideStep::StopNode { .. } => StepKind::StopNode,
            SideStep::StartNode { .. } => StepKind::StartNode,
            SideStep::CheckStorage { .. } => StepKind::CheckStorage,
        }
    }

    /// Where it runs, and whom it is about.
    pub fn nodes(&self) -> (&NodeName, &NodeName) {
        match self {
            SideStep::Preflight { node }
            | SideStep::Install { node }
            | SideStep::ConfigureBalancer { node, .. }
            | SideStep::CreateAuthority { node }
            | SideStep::Prepare { node, .. }
            | SideStep::Finish { node }
            | SideStep::JoinWorker { node, .. }
            | SideStep::Reset { node }
            | SideStep::SetNames { node }
            | SideStep::Probe { node }
            | SideStep::SetCarriers { node }
            | SideStep::HandOver { node, .. }
            | SideStep::StopServing { node }
            | SideStep::StopNode { node }
            | SideStep::StartNode { node }
            | SideStep::Renew { node } => (node, node),
            SideStep::ConfigureNode { node, via }
            | SideStep::DeleteNode { node, via }
            | SideStep::TaintNode { node, via }
            | SideStep::UntaintNode { node, via }
            | SideStep::CheckStorage { node, via }
            | SideStep::Drain { node, via } => (via, node),
            SideStep::ApplyManifests { via }
            | SideStep::SetObjects { via }
            | SideStep::RestartProxies { via, .. }
            | SideStep::ApproveServing { via } => (via, via),
        }
    }
}

/// Steps of the one membership change.
#[derive(Clone, Debug, PartialEq)]
pub enum MembershipStep {
    /// Forms a cluster of one.
    Found {
        node: NodeName,
    },
    Add {
        node: NodeName,
        via: NodeName,
        peer_url: String,
        expected_voters: Vec<u64>,
    },
    Start {
        node: NodeName,
        member: u64,
    },
    Promote {
        node: NodeName,
        via: NodeName,
        member: u64,
        peer_url: String,
    },
    Remove {
        node: NodeName,
        via: NodeName,
        member: u64,
        peer_url: String,
        /// A voter, on the operator's word that stands in the record. Otherwise only a learner may be removed.
        voter: Option<VoterRemoval>,
    },
    /// Makes a cluster of one from what the node holds: the quorum is lost for good.
    Recover {
        node: NodeName,
    },
}

/// What the decision to remove a voter was made on; the agent compares it with what it finds.
#[derive(Clone, Debug, PartialEq)]
pub struct VoterRemoval {
    pub expected_voters: Vec<u64>,
    /// It must not answer any more.
    pub dead: bool,
}

impl MembershipStep {
    pub fn kind(&self) -> StepKind {
        match self {
            MembershipStep::Found { .. } => StepKind::Found,
            MembershipStep::Add { .. } => StepKind::AddMember,
            MembershipStep::Start { .. } => StepKind::StartMember,
            MembershipStep::Promote { .. } => StepKind::PromoteMember,
            MembershipStep::Remove { .. } => StepKind::RemoveMember,
            MembershipStep::Recover { .. } => StepKind::Recover,
        }
    }

    pub fn nodes(&self) -> (&NodeName, &NodeName) {
        match self {
            MembershipStep::Found { node }
            | MembershipStep::Recover { node }
            | MembershipStep::Start { node, .. } => (node, node),
            MembershipStep::Add { node, via, .. }
            | MembershipStep::Promote { node, via, .. }
            | MembershipStep::Remove { node, via, .. } => (via, node),
        }
    }
}

/// Exactly one of these a round: at most one membership change in flight is what this type says.
#[derive(Clone, Debug, PartialEq)]
pub enum Membership {
    /// The members are those of the file.
    Settled,
    /// Take the slot durably, then carry out its first step.
    Begin(Change, MembershipStep),
    /// The next step of the change that holds the slot.
    Continue(MembershipStep),
    /// An order of the change is under way.
    Underway(StepKind, NodeName),
    /// Nothing may be done now; every reason.
    Wait(Vec<crate::waiting::WaitingOn>),
    /// Give the slot back: observed to be complete.
    Complete(NodeName),
    /// Give the slot back: nothing of the join is left in etcd. The node is to be reset.
    Abandon(NodeName),
    /// Give the slot back: the removal cannot be carried out, and the member is still there.
    Release(NodeName),
}
