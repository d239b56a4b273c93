//! Why nothing is done now, in words an operator can act on.

use crate::intent::NodeName;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitingOn {
    NotEnrolled(NodeName),
    Offline(NodeName),
    MemberListUnknown,
    MemberListConflict(String),
    MemberNotStarted {
        peer_url: String,
    },
    LearnerPresent {
        peer_url: String,
    },
    MemberHealthUnknown {
        name: String,
    },
    MemberNotServing {
        name: String,
    },
    NoLeader {
        name: String,
    },
    LeadersDisagree,
    TermsDisagree,
    Alarm {
        alarm: String,
    },
    Lagging {
        name: String,
        entries: u64,
    },
    DatabaseNearQuota {
        name: String,
        bytes: u64,
    },
    NotStableYet {
        remaining_ms: u64,
    },
    TargetUnsafe {
        voters: usize,
        healthy: usize,
        needed: usize,
    },
    AlreadyVoter {
        peer_url: String,
    },
    NotPrepared(NodeName),
    ApiNotReady(NodeName),
    NoMemberToAsk,
    VoterUnhealthy {
        node: NodeName,
    },
    RetryLater {
        node: NodeName,
        remaining_ms: u64,
        last_error: String,
    },
    BalancerNotReady,
    Previous {
        what: String,
    },
    /// Joins wait while the endpoint moves.
    Rotating,
    TooFewMembers {
        present: usize,
        needed: usize,
    },
    BalancerBehind(NodeName),
    ServingUnknown(NodeName),
    ObjectsUnknown,
    OneAtATime(NodeName),
    Away(NodeName),
    StillDialed {
        address: String,
        by: Vec<String>,
    },
    Soaking {
        remaining_ms: u64,
    },
    /// A removal of a voter.
    WouldLoseQuorum {
        voters: usize,
        healthy: usize,
        needed: usize,
    },
    LastVoter,
    /// Members still follow a leader that is gone.
    LeaderGone,
    Gone(NodeName),
    Draining {
        node: NodeName,
        remaining_ms: u64,
    },
    Successor(NodeName),
    Leaving(NodeName),
    /// Whether a node that has fallen silent is dead is not known, for want of this witness.
    WitnessSilent {
        node: NodeName,
        witness: Witness,
    },
    /// A witness says that it lives.
    WitnessAgainst {
        node: NodeName,
        witness: Witness,
    },
    /// It answers, and has not taken on the duty to stop its pods.
    NotArmed(NodeName),
    /// It may run its pods although nobody sees it.
    NotFenced(NodeName),
    NotDeadYet {
        node: NodeName,
        remaining_ms: u64,
    },
    TooManySilent {
        silent: usize,
        nodes: usize,
    },
    TooFewHealthy {
        role: Role,
        healthy: usize,
        needed: usize,
    },
    /// Storage with a quorum of its own holds a node back.
    StorageUnhealthy {
        node: NodeName,
        detail: String,
    },
    StorageUnanswered {
        node: NodeName,
        detail: String,
    },
    StorageAsked(NodeName),
    /// Of a cluster that is stopped.
    StoppedOnReturn(NodeName),
    NodeNotReady(NodeName),
    /// An order is at work there.
    Underway(NodeName),
    /// Back, and not rid of what it had run.
    NotClean {
        node: NodeName,
        pods: u32,
    },
}

/// Who tells whether a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Witness {
    Agent,
    /// Its lease, as control planes read it.
    Kubelet,
    /// Its etcd member, as the other members see it.
    Etcd,
}

impl Witness {
    fn unknown(self) -> &'static str {
        match self {
            Witness::Agent => "its agent is not enrolled",
            Witness::Kubelet => "no control plane tells of its lease",
            Witness::Etcd => "no etcd member tells of its connection to it",
        }
    }

    fn against(self) -> &'static str {
        match self {
            Witness::Agent => "its agent answers",
            Witness::Kubelet => "its kubelet renews its lease",
            Witness::Etcd => "an etcd member is connected to it",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    ControlPlane,
    Worker,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::ControlPlane => "control planes",
            Role::Worker => "workers",
        }
    }
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use WaitingOn::*;
        match self {
            NotEnrolled(node) => write!(f, "{node} is not enrolled"),
            Offline(node) => write!(f, "{node}'s agent is not connected"),
            MemberListUnknown => write!(f, "no etcd member gives a linearizable member list"),
            MemberListConflict(detail) => write!(f, "etcd members disagree: {detail}"),
            MemberNotStarted { peer_url } => write!(f, "etcd member {peer_url} has not started"),
            LearnerPresent { peer_url } => write!(f, "a learner is present: {peer_url}"),
            MemberHealthUnknown { name } => write!(f, "health of etcd member {name} is unknown"),
            MemberNotServing { name } => write!(f, "etcd member {name} does not serve"),
            NoLeader { name } => write!(f, "etcd member {name} sees no leader"),
            LeadersDisagree => write!(f, "etcd members see different leaders"),
            TermsDisagree => write!(f, "etcd members are in different terms"),
            Alarm { alarm } => write!(f, "etcd raised an alarm: {alarm}"),
            Lagging { name, entries } => write!(f, "etcd member {name} lags {entries} entries"),
            DatabaseNearQuota { name, bytes } => {
                write!(
                    f,
                    "the database of {name} is near its quota ({bytes} bytes)"
                )
            }
            NotStableYet { remaining_ms } => {
                write!(
                    f,
                    "etcd has to be stable for another {:.1} s",
                    *remaining_ms as f64 / 1000.0
                )
            }
            TargetUnsafe {
                voters,
                healthy,
                needed,
            } => write!(
                f,
                "with {voters} voters {needed} must be healthy even if the newcomer dies; {healthy} are"
            ),
            AlreadyVoter { peer_url } => write!(f, "{peer_url} is a voter already"),
            NotPrepared(node) => write!(f, "{node} is not prepared yet"),
            ApiNotReady(node) => write!(f, "the API server of {node} is not ready"),
            NoMemberToAsk => write!(f, "no healthy etcd member has a connected agent"),
            VoterUnhealthy { node } => write!(f, "{node} became a voter but is not healthy"),
            RetryLater {
                node,
                remaining_ms,
                last_error,
            } => write!(
                f,
                "{node} is tried again in {:.0} s after: {last_error}",
                *remaining_ms as f64 / 1000.0
            ),
            BalancerNotReady => write!(f, "no load balancer forwards to a ready member"),
            Previous { what } => write!(f, "{what}"),
            Rotating => write!(f, "the endpoint is being moved; joins go on after it"),
            TooFewMembers { present, needed } => write!(
                f,
                "{present} members can be reached; {needed} are needed before anything moves"
            ),
            BalancerBehind(node) => {
                write!(
                    f,
                    "the load balancer on {node} has not the wanted configuration yet"
                )
            }
            ServingUnknown(node) => write!(f, "what {node} serves and holds is not known now"),
            ObjectsUnknown => write!(f, "no API server tells what the cluster's objects hold"),
            OneAtATime(node) => write!(f, "{node} is being changed; one member at a time"),
            Away(node) => write!(
                f,
                "{node} cannot be reached; it is brought along when it returns, or left out by: quorate endpoint drop --without-absent"
            ),
            StillDialed { address, by } if by.is_empty() => {
                write!(f, "it is not known yet that nobody dials {address}")
            }
            StillDialed { address, by } => {
                write!(f, "{address} is still dialed: {}", by.join(", "))
            }
            WouldLoseQuorum {
                voters,
                healthy,
                needed,
            } => write!(
                f,
                "of the {voters} voters that would stay {needed} must be healthy; {healthy} are"
            ),
            LastVoter => write!(
                f,
                "it is the last voter; without it the cluster's data is gone"
            ),
            LeaderGone => write!(f, "the other members have not elected a new leader yet"),
            Gone(node) => write!(
                f,
                "{node} cannot be reached; if it will not come back: quorate node remove {node} --dead"
            ),
            Draining { node, remaining_ms } => write!(
                f,
                "connections through the load balancers to {node} have another {:.0} s to end",
                *remaining_ms as f64 / 1000.0
            ),
            Successor(node) => write!(f, "{node} joins first"),
            WitnessSilent { node, witness } => write!(
                f,
                "{node} has fallen silent; whether it is dead is not known: {}",
                witness.unknown()
            ),
            WitnessAgainst { node, witness } => {
                write!(
                    f,
                    "{node}'s agent is silent, but the node is not dead: {}",
                    witness.against()
                )
            }
            NotArmed(node) => write!(
                f,
                "{node} has not said yet that it stops its pods when nobody can see it"
            ),
            NotFenced(node) => write!(
                f,
                "{node} is silent, and never said that it stops its pods by itself (deadNodes.policy): its pods are not moved; once it is certain to be without power: quorate node remove {node} --dead"
            ),
            NotDeadYet { node, remaining_ms } => write!(
                f,
                "{node} counts as dead in {:.0} s if nothing is seen of it",
                (*remaining_ms as f64 / 1000.0).ceil()
            ),
            TooManySilent { silent, nodes } => write!(
                f,
                "{silent} of {nodes} nodes are silent: no minority, so nothing is done about dead nodes"
            ),
            TooFewHealthy {
                role,
                healthy,
                needed,
            } => write!(
                f,
                "nothing is done about dead nodes: {healthy} healthy {}, {needed} are needed",
                role.word()
            ),
            NotClean { node, pods } => write!(
                f,
                "{node} is back; {pods} pods of before have to end there first"
            ),
            StorageUnhealthy { node, detail } => {
                write!(f, "storage cannot do without {node}: {detail}")
            }
            StorageUnanswered { node, detail } => write!(
                f,
                "storage does not say whether it can do without {node}: {detail}"
            ),
            StorageAsked(node) => write!(f, "storage is asked whether it can do without {node}"),
            StoppedOnReturn(node) => write!(
                f,
                "{node} cannot be reached; if it runs, it is stopped when it can be"
            ),
            NodeNotReady(node) => write!(f, "the Node {node} is not Ready"),
            Underway(node) => write!(f, "{node} is at work"),
            Leaving(node) => write!(f, "{node} is being removed; joins go on after it"),
            Soaking { remaining_ms } => write!(
                f,
                "nobody may dial the old address for another {:.0} s",
                *remaining_ms as f64 / 1000.0
            ),
        }
    }
}
