//! From steps to orders: the only place where planner types become wire types.

use super::balancer;
use super::records::ClusterRecord;
use super::shared::Ids;
use super::storage;
use super::wants;
use crate::spec::resolve::{API_PORT, ETCD_CLIENT_PORT, ETCD_PEER_PORT};
use crate::spec::{Spec, SpecNode};
use quorate_planner::endpoint::Address;
use quorate_planner::intent::{Intent, NodeName};
use quorate_planner::step::{MembershipStep, SideStep, StepKind};
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::collections::BTreeMap;

const KUBELET_PORT: u32 = 10250;
/// Add-ons may have to pull up several workloads.
const MANIFEST_WAIT_SECONDS: u32 = 300;
/// Pods have grace periods of half a minute as a rule; a disruption budget that lets nothing go for this long will not soon.
const DRAIN_SECONDS: u32 = 300;

/// What the lowering needs beside the step.
pub struct Ground<'a> {
    pub record: &'a ClusterRecord,
    /// The record's.
    pub intent: &'a Intent,
    pub epoch: u64,
    pub now_ms: u64,
    pub ids: &'a Ids,
    pub operation: &'a str,
    pub artifacts: &'a dyn Fn(&Spec, &SpecNode) -> Vec<ArtifactRef>,
    /// Members that serve now, with their certificates.
    pub servers: Vec<ServingMember>,
    /// When kubelets of silent nodes last renewed their leases, as the decision saw it.
    pub leases: BTreeMap<NodeName, i64>,
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
        // The API server takes up a new pair within a minute at the latest.
        StepKind::SetNames => 150,
        StepKind::Probe => 60,
        // Signatures of bootstrap tokens are made anew by the controller manager.
        StepKind::SetObjects => 120,
        StepKind::SetCarriers => 120,
        StepKind::RestartProxies => 180,
        StepKind::Renew => 300,
        StepKind::ApproveServing => 30,
        // Two writes for each of a node's pods. One that is late is decided anew.
        StepKind::TaintNode => 60,
        StepKind::UntaintNode => 20,
        // kubectl's own limit ends first, and what it has begun is undone.
        StepKind::Drain => DRAIN_SECONDS + 30,
        // A pod's grace period, and the time that the kubelet takes to notice.
        StepKind::StopServing => 120,
        // Three rounds of grace periods at most, and a service of systemd's beside.
        StepKind::StopNode => 300,
        // Its own limit ends first: five minutes at most, for each of three questions of one second as a rule.
        StepKind::CheckStorage => 330,
        // A kubelet comes up within kubeadm's own limit, if at all.
        StepKind::StartNode => 300,
        // Some holds of a second each.
        StepKind::HandOver => 20,
        // The largest database is copied at 20 MiB/s, and etcd reads it.
        StepKind::Recover => 900,
    }
}

impl Ground<'_> {
    pub fn order(&self, on: &str, seconds: u32, action: Action) -> Order {
        let mut cluster = self.record.spec.cluster.clone();
        cluster.id = self.record.id.clone();
        Order {
            id: (self.ids)().to_string(),
            operation: self.operation.to_owned(),
            generation: self.record.revision,
            epoch: self.epoch,
            timeout_seconds: seconds,
            cluster: Some(cluster),
            node: self.record.spec.node(on).map(|node| node.config.clone()),
            action: Some(action),
        }
    }

    fn target(&self) -> Address {
        match &self.record.rotation {
            Some(rotation) => rotation.target.clone(),
            None => wants::address(self.record.spec.cluster.endpoint.as_ref()),
        }
    }

    fn other(&self) -> Option<&Address> {
        self.record.rotation.as_ref()?.other.as_ref()
    }

    /// None: the node is not in the file any more.
    pub fn side(&self, step: &SideStep) -> Option<Action> {
        let spec = &self.record.spec;
        let name = |node: &NodeName| node.0.clone();
        let digest = |node: &NodeName| wants::digest(&(&self.record.id, &node.0)).0;
        let intent = self.intent;
        Some(match step {
            SideStep::Preflight { node } => {
                self.preflight(spec.node(&node.0)?, &intent.node(node)?.wants.preflight.0)
            }
            SideStep::Install { node } => {
                self.install(spec.node(&node.0)?, &intent.node(node)?.wants.install.0)
            }
            SideStep::ConfigureBalancer { node, members } => {
                Action::ConfigureLoadBalancer(balancer::action(self.record, &node.0, members))
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
            SideStep::Reset { node } => {
                let leaves = intent.is_leaving(node);
                let reason = if leaves {
                    "it leaves the cluster"
                } else {
                    "its join was given up"
                };
                Action::Reset(Reset {
                    reason: reason.into(),
                    load_balancer: leaves && spec.node(&node.0)?.config.load_balancer,
                })
            }
            SideStep::TaintNode { node, .. } => Action::TaintNode(TaintNode {
                name: name(node),
                lease_unix_us: self.leases.get(node).copied()?,
            }),
            SideStep::UntaintNode { node, .. } => {
                Action::UntaintNode(UntaintNode { name: name(node) })
            }
            SideStep::Drain { node, .. } => Action::DrainNode(DrainNode {
                name: name(node),
                within_seconds: DRAIN_SECONDS,
            }),
            SideStep::HandOver { leader, heir, .. } => Action::HandOver(HandOver {
                leader: *leader,
                heir: *heir,
            }),
            SideStep::StopServing { .. } => match &self.record.recovery {
                None => Action::StopServing(StopServing {
                    reason: "it leaves the cluster".into(),
                    for_good: false,
                }),
                Some(recovery) => Action::StopServing(StopServing {
                    reason: format!("the cluster is recovered from {}", recovery.node),
                    for_good: true,
                }),
            },
            SideStep::StopNode { .. } => Action::StopNode(StopNode {
                reason: "the cluster is to stand still".into(),
            }),
            SideStep::StartNode { .. } => Action::StartNode(StartNode {}),
            SideStep::CheckStorage { node, .. } => {
                Action::CheckStorage(storage::action(spec.storage.as_ref()?, &node.0))
            }
            SideStep::SetNames { .. } => Action::SetServingNames(SetServingNames {
                names: intent.endpoint.wanted_names().into_iter().collect(),
                drop: intent.endpoint.unwanted_names().into_iter().collect(),
            }),
            SideStep::Probe { node } => Action::ProbeEndpoint(ProbeEndpoint {
                endpoint: Some(wants::endpoint(&self.target())),
                servers: if spec.node(&node.0)?.config.member {
                    self.servers.clone()
                } else {
                    Vec::new()
                },
                names_pending: false,
            }),
            SideStep::SetObjects { .. } => Action::SetClusterEndpoint(SetClusterEndpoint {
                endpoint: spec.cluster.endpoint.clone(),
                names: intent.endpoint.wanted_names().into_iter().collect(),
                drop: intent.endpoint.unwanted_names().into_iter().collect(),
            }),
            SideStep::SetCarriers { .. } => Action::SetNodeEndpoint(SetNodeEndpoint {
                endpoint: spec.cluster.endpoint.clone(),
                from: self.other().map(wants::endpoint),
            }),
            SideStep::RestartProxies { nodes, .. } => Action::RestartKubeProxy(RestartKubeProxy {
                endpoint: spec.cluster.endpoint.clone(),
                nodes: nodes.iter().map(name).collect(),
            }),
            SideStep::ApproveServing { .. } => Action::ApproveServing(ApproveServing {
                nodes: spec.nodes.iter().map(|node| node.config.clone()).collect(),
            }),
            SideStep::Renew { .. } => Action::RenewCertificates(RenewCertificates {
                not_before_unix: intent.endpoint.renewal.as_ref()?.since_unix,
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
            MembershipStep::Recover { .. } => {
                let recovery = self.record.recovery.as_ref();
                Action::RecoverMember(RecoverMember {
                    recovery: recovery.map(|it| it.id.clone()).unwrap_or_default(),
                    snapshot: recovery
                        .and_then(|it| it.snapshot.clone())
                        .unwrap_or_default(),
                })
            }
            MembershipStep::Remove {
                member,
                peer_url,
                voter,
                ..
            } => Action::RemoveMember(RemoveMember {
                member_id: *member,
                peer_url: peer_url.clone(),
                learner_only: voter.is_none(),
                expected_voters: voter
                    .as_ref()
                    .map(|it| it.expected_voters.clone())
                    .unwrap_or_default(),
                dead: voter.as_ref().is_some_and(|it| it.dead),
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
            reach: reach(spec, node)
                .into_iter()
                // Whoever goes need not be reached, and may be dead.
                .filter(|peer| !self.intent.is_leaving(&NodeName(peer.node.clone())))
                .collect(),
            wanted_packages: self.packages(node),
            coordinator_unix_ms: self.now_ms as i64,
            first_member: !self.record.formed && founder.as_deref() == Some(&node.config.name),
            artifacts: (self.artifacts)(spec, node),
        })
    }

    /// Kubernetes' own too, where they come as packages and not as bare programs.
    fn packages(&self, node: &SpecNode) -> Vec<String> {
        let spec = &self.record.spec;
        let mut packages = wants::packages(spec, node);
        let packaged = |name: &str| {
            let artifacts = (self.artifacts)(spec, node);
            artifacts.iter().any(|artifact| artifact.package == name)
        };
        let kubernetes = spec.is_kubeadm() && (node.config.member || node.config.worker);
        if kubernetes && (spec.apt.is_some() || packaged(wants::PROGRAMS[0])) {
            packages.extend(wants::PROGRAMS);
        }
        packages.into_iter().map(str::to_owned).collect()
    }

    fn install(&self, node: &SpecNode, digest: &str) -> Action {
        let spec = &self.record.spec;
        let container = node.config.member || node.config.worker;
        let artifacts = (self.artifacts)(spec, node);
        let mut containerd = spec.containerd.clone().filter(|_| container);
        if let Some(containerd) = containerd.as_mut().filter(|it| it.sandbox_image.is_empty()) {
            containerd.sandbox_image = pause_image(&artifacts).unwrap_or_default();
        }
        Action::Install(Install {
            digest: digest.to_owned(),
            packages: self.packages(node),
            artifacts,
            apt: spec.apt.clone(),
            hold: spec.hold,
            containerd,
        })
    }
}

/// Without a registry containerd's own default cannot be had, while the one that came with Kubernetes' images is there.
fn pause_image(artifacts: &[ArtifactRef]) -> Option<String> {
    let images = artifacts.iter().flat_map(|artifact| &artifact.images);
    images
        .into_iter()
        .find(|image| image.contains("/pause:"))
        .cloned()
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
