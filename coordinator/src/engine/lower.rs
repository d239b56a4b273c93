//! From steps to orders: the only place where planner types become wire types.

use super::records::ClusterRecord;
use super::wants;
use crate::spec::file::Target;
use crate::spec::resolve::{API_PORT, ETCD_CLIENT_PORT, ETCD_PEER_PORT};
use crate::spec::{Spec, SpecNode};
use quorate_planner::intent::NodeName;
use quorate_planner::step::{MembershipStep, SideStep, StepKind};
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::collections::BTreeSet;

/// Name of the front end of the API (or of etcd's client port) in the load balancer.
pub const API_FRONTEND: &str = "api";
const KUBELET_PORT: u32 = 10250;
/// Add-ons may have to pull up several workloads.
const MANIFEST_WAIT_SECONDS: u32 = 300;

/// What the lowering needs beside the step.
pub struct Ground<'a> {
    pub record: &'a ClusterRecord,
    pub epoch: u64,
    pub now_ms: u64,
    pub operation: &'a str,
    pub artifacts: &'a dyn Fn(&Spec, &SpecNode) -> Vec<ArtifactRef>,
}

/// How long each kind may take, in seconds. Promotion is short on purpose: it is asked again as long as the joiner lives, and
/// meanwhile a dead joiner can be noticed.
pub fn timeout_seconds(kind: StepKind) -> u32 {
    match kind {
        StepKind::Preflight => 90,
        StepKind::Install => 1_800,
        StepKind::CreateAuthority => 60,
        StepKind::Found => 480,
        StepKind::Prepare => 300,
        StepKind::AddMember => 20,
        StepKind::StartMember => 60,
        StepKind::PromoteMember => 5,
        StepKind::RemoveMember => 20,
        StepKind::Finish => 360,
        StepKind::JoinWorker => 480,
        StepKind::ConfigureBalancer => 60,
        StepKind::ApplyManifests => MANIFEST_WAIT_SECONDS + 60,
        StepKind::ConfigureNode => 60,
        StepKind::DeleteNode => 60,
        StepKind::Reset => 300,
    }
}

impl Ground<'_> {
    pub fn order(&self, on: &str, seconds: u32, action: Action) -> Order {
        let mut cluster = self.record.spec.cluster.clone();
        cluster.id = self.record.id.clone();
        Order {
            id: ulid::Ulid::new().to_string(),
            operation: self.operation.to_owned(),
            generation: self.record.revision,
            epoch: self.epoch,
            timeout_seconds: seconds,
            cluster: Some(cluster),
            node: self.record.spec.node(on).map(|node| node.config.clone()),
            action: Some(action),
        }
    }

    /// None: the node is not in the file any more.
    pub fn side(&self, step: &SideStep) -> Option<Action> {
        let spec = &self.record.spec;
        let name = |node: &NodeName| node.0.clone();
        let digest = |node: &NodeName| wants::digest(&(&self.record.id, &node.0)).0;
        let intent = wants::intent(spec);
        Some(match step {
            SideStep::Preflight { node } => {
                self.preflight(spec.node(&node.0)?, &intent.node(node)?.wants.preflight.0)
            }
            SideStep::Install { node } => {
                self.install(spec.node(&node.0)?, &intent.node(node)?.wants.install.0)
            }
            SideStep::ConfigureBalancer { node, members } => {
                Action::ConfigureLoadBalancer(balancer_action(spec, &node.0, members))
            }
            SideStep::CreateAuthority { node } => Action::CreateAuthority(CreateAuthority {
                digest: digest(node),
            }),
            SideStep::Prepare { node, .. } => Action::PrepareMember(PrepareMember {
                digest: digest(node),
            }),
            SideStep::Finish { node } => Action::FinishMember(FinishMember {
                digest: digest(node),
            }),
            SideStep::JoinWorker { node, .. } => Action::JoinWorker(JoinWorker {
                digest: digest(node),
            }),
            SideStep::ApplyManifests { .. } => Action::ApplyManifests(ApplyManifests {
                digest: intent.manifests.clone()?.0,
                manifests: spec.manifests.clone(),
                wait_seconds: MANIFEST_WAIT_SECONDS,
            }),
            SideStep::ConfigureNode { node, .. } => Action::ConfigureNode(ConfigureNode {
                digest: intent.node(node)?.wants.configure.clone()?.0,
                target: Some(spec.node(&node.0)?.config.clone()),
            }),
            SideStep::DeleteNode { node, .. } => {
                Action::DeleteNode(DeleteNode { name: name(node) })
            }
            SideStep::Reset { .. } => Action::Reset(Reset {
                reason: "its join was given up".into(),
            }),
        })
    }

    pub fn membership(
        &self,
        step: &MembershipStep,
        members: &[quorate_planner::facts::Member],
    ) -> Action {
        match step {
            MembershipStep::Found { node } => Action::Init(Init {
                digest: wants::digest(&(&self.record.id, &node.0)).0,
            }),
            MembershipStep::Add {
                node,
                peer_url,
                expected_voters,
                ..
            } => Action::AddMember(AddMember {
                name: node.0.clone(),
                peer_url: peer_url.clone(),
                expected_voters: expected_voters.clone(),
            }),
            MembershipStep::Start { node, member } => Action::StartMember(StartMember {
                member_id: *member,
                initial_cluster: initial_cluster(node, *member, members),
            }),
            MembershipStep::Promote {
                member, peer_url, ..
            } => Action::PromoteMember(PromoteMember {
                member_id: *member,
                peer_url: peer_url.clone(),
            }),
            MembershipStep::Remove {
                member, peer_url, ..
            } => Action::RemoveMember(RemoveMember {
                member_id: *member,
                peer_url: peer_url.clone(),
                learner_only: true,
            }),
        }
    }

    fn preflight(&self, node: &SpecNode, digest: &str) -> Action {
        let spec = &self.record.spec;
        let founder = self
            .record
            .founder
            .clone()
            .or_else(|| spec.members().next().map(|n| n.config.name.clone()));
        Action::Preflight(Preflight {
            digest: digest.to_owned(),
            reach: reach(spec, node),
            wanted_packages: wants::packages(spec, node)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            coordinator_unix_ms: self.now_ms as i64,
            first_member: founder.as_deref() == Some(&node.config.name),
            artifacts: (self.artifacts)(spec, node),
        })
    }

    fn install(&self, node: &SpecNode, digest: &str) -> Action {
        let spec = &self.record.spec;
        let container = node.config.member || node.config.worker;
        Action::Install(Install {
            digest: digest.to_owned(),
            packages: wants::packages(spec, node)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            artifacts: (self.artifacts)(spec, node),
            apt: spec.apt.clone(),
            hold: spec.hold,
            containerd: spec.containerd.clone().filter(|_| container),
        })
    }
}

/// The members that etcd lists, under the names they gave, and the joiner under its own.
fn initial_cluster(
    node: &NodeName,
    joiner: u64,
    members: &[quorate_planner::facts::Member],
) -> Vec<MemberAddress> {
    members
        .iter()
        .map(|member| MemberAddress {
            name: match &member.name {
                Some(name) if member.id != joiner => name.clone(),
                Some(_) | None => node.0.clone(),
            },
            peer_url: member.peer_url.clone(),
        })
        .collect()
}

/// Ports of every other member that this node has to reach. Before these run a refused connection is as good as an answer.
fn reach(spec: &Spec, node: &SpecNode) -> Vec<PeerPort> {
    let config = &node.config;
    let mut reach = Vec::new();
    let mut add = |peer: &NodeConfig, port: u32, purpose: &str| {
        reach.push(PeerPort {
            node: peer.name.clone(),
            address: peer.address.clone(),
            port,
            purpose: purpose.to_owned(),
            required: false,
        });
    };
    for peer in spec
        .nodes
        .iter()
        .map(|n| &n.config)
        .filter(|p| p.name != config.name)
    {
        if config.member && peer.member {
            add(peer, ETCD_PEER_PORT.into(), "etcd peer");
            add(peer, ETCD_CLIENT_PORT.into(), "etcd client");
        }
        let api = if spec.is_kubeadm() {
            API_PORT
        } else {
            ETCD_CLIENT_PORT
        };
        if peer.member && (config.worker || config.load_balancer) {
            add(peer, api.into(), "API");
        }
        if spec.is_kubeadm() && config.member && (peer.member || peer.worker) {
            add(peer, KUBELET_PORT, "kubelet");
        }
    }
    reach
}

/// The whole configuration of one load balancer, with these members behind the API's front end.
pub fn balancer_action(
    spec: &Spec,
    _node: &str,
    members: &BTreeSet<NodeName>,
) -> ConfigureLoadBalancer {
    let api_port = u32::from(spec.api_port());
    let backend = |node: &SpecNode, port: u32| Backend {
        name: node.config.name.clone(),
        address: node.config.address.clone(),
        port,
    };
    let api = Frontend {
        name: API_FRONTEND.into(),
        port: spec
            .cluster
            .endpoint
            .as_ref()
            .map(|e| e.port)
            .unwrap_or(api_port),
        backends: spec
            .members()
            .filter(|node| members.contains(&NodeName(node.config.name.clone())))
            .map(|node| backend(node, api_port))
            .collect(),
        check: if spec.is_kubeadm() {
            HealthCheck::Readyz
        } else {
            HealthCheck::Etcd
        } as i32,
    };
    let extra = spec.frontends.iter().map(|frontend| Frontend {
        name: frontend.name.clone(),
        port: frontend.port.into(),
        backends: spec
            .nodes
            .iter()
            .filter(|node| match frontend.to {
                Target::ControlPlanes => node.config.member,
                Target::Workers => node.config.worker,
                Target::All => node.config.member || node.config.worker,
            })
            .map(|node| backend(node, frontend.backend_port.into()))
            .collect(),
        check: HealthCheck::Tcp as i32,
    });
    let mut action = ConfigureLoadBalancer {
        digest: String::new(),
        frontends: std::iter::once(api).chain(extra).collect(),
        stats_port: spec.stats_port.into(),
    };
    action.digest = wants::digest(&action).0;
    action
}
