//! What `quorate plan` shows: the planner unrolled on predicted facts, and what it means for quorum and zones.

use super::endpoint::refuse;
use super::observe::{self, Sources};
use super::records::*;
use super::shared::Shared;
use super::tracker::Tracker;
use super::{view, wants};
use crate::spec::{Spec, compare, resolve};
use quorate_planner::facts::Facts;
use quorate_planner::intent::Intent;
use quorate_planner::predict::{self, Stage};
use quorate_planner::progress::describe;
use quorate_planner::quorum;
use quorate_planner::round::{self, Outcome};
use quorate_planner::step::{MembershipStep, SideStep, StepKind};
use quorate_planner::time::Time;
use quorate_proto::v1::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A file, resolved and compared with what is in force.
pub struct Considered {
    pub record: ClusterRecord,
    /// The same wish is in force already.
    pub unchanged: bool,
    pub facts: Facts,
    pub intent: Intent,
    pub now: Time,
    pub refusals: Vec<Problem>,
    pub warnings: Vec<String>,
}

pub fn plan(shared: &Shared, request: &PlanRequest) -> Result<PlanResponse, Problem> {
    let considered = match consider(shared, request)? {
        Ok(considered) => considered,
        Err(refusals) => {
            return Ok(PlanResponse {
                refusals,
                ..PlanResponse::default()
            });
        }
    };
    let Considered {
        record,
        facts,
        intent,
        now,
        refusals,
        warnings,
        ..
    } = &considered;
    let outcome = round::next(facts, intent, *now).outcome;
    let stages = predict::unroll(facts, intent, *now);
    let before = facts.members().iter().filter(|m| !m.learner).count();
    Ok(PlanResponse {
        cluster: record.name.clone(),
        revision: shared.cluster(&record.name)?.map_or(0, |r| r.revision),
        stages: stages
            .iter()
            .map(|stage| wire_stage(stage, record))
            .collect(),
        warnings: warnings.clone(),
        refusals: refusals.clone(),
        quorum: quorum_effects(before, &stages),
        zones: zone_effects(&record.spec),
        nothing_to_do: considered.unchanged && outcome == Outcome::Settled && !record.unproven,
    })
}

pub fn consider(
    shared: &Shared,
    request: &PlanRequest,
) -> Result<Result<Considered, Vec<Problem>>, Problem> {
    let attachments: BTreeMap<String, String> = request.attachments.clone().into_iter().collect();
    let known = shared.agents.all().into_iter().filter_map(|agent| {
        let address = agent
            .report
            .as_ref()?
            .host
            .as_ref()?
            .addresses
            .first()?
            .clone();
        Some((agent.name, address))
    });
    let spec = match resolve::resolve(&request.file, &attachments, &known.collect()) {
        Ok(spec) => spec,
        Err(problems) => return Ok(Err(problems)),
    };
    let existing = shared.cluster(&spec.cluster.name)?;
    if let Some(busy) = existing.as_ref().and_then(refuse::under_way) {
        return Ok(Err(vec![busy]));
    }
    let mut refusals = existing
        .as_ref()
        .map(|old| compare::refusals(&old.spec, &spec))
        .unwrap_or_default();
    let unchanged = existing.as_ref().is_some_and(|old| old.spec == spec);
    let known_nodes: BTreeSet<String> = existing
        .iter()
        .flat_map(|old| old.spec.nodes.iter().map(|node| node.config.name.clone()))
        .collect();
    refusals.extend(taken_nodes(shared, &spec)?);
    let record = match existing {
        Some(old) => ClusterRecord { spec, ..old },
        None => new_record(shared, spec),
    };
    let intent = wants::intent(&record);
    let now = Time(shared.now_ms());
    let facts = current_facts(shared, &record, &intent, now)?;
    refusals.extend(unreachable(&facts, &record.spec, &known_nodes));
    let warnings = warnings(&record.spec, &facts);
    Ok(Ok(Considered {
        record,
        unchanged,
        facts,
        intent,
        now,
        refusals,
        warnings,
    }))
}

fn new_record(shared: &Shared, spec: Spec) -> ClusterRecord {
    ClusterRecord {
        id: shared.new_id().to_string().to_ascii_lowercase(),
        name: spec.cluster.name.clone(),
        revision: 0,
        spec,
        founder: None,
        dirty: BTreeSet::new(),
        operation: None,
        rotation: None,
        renewal: None,
        behind: BTreeSet::new(),
        gone: BTreeSet::new(),
        unproven: false,
        external: false,
        retired: BTreeSet::new(),
        leaving: None,
        recovery: None,
        shutdown: None,
        formed: false,
        out_of_service: BTreeMap::new(),
        isolation: IsolationRecord::default(),
    }
}

/// Facts without the history of an operation: what is there now.
pub fn current_facts(
    shared: &Shared,
    record: &ClusterRecord,
    intent: &Intent,
    now: Time,
) -> Result<Facts, Problem> {
    let agents = shared.agents_of(record);
    let slot = shared.slot(&record.name)?;
    let pending = shared.pending(&record.name)?;
    let pending: Vec<_> = pending.into_iter().map(Arc::new).collect();
    let findings = BTreeMap::new();
    let sources = Sources {
        record,
        intent,
        agents: &agents,
        change: slot.map(|slot| slot.change),
        troubles: &[],
        running: view::running(&pending, &[]),
        findings: &findings,
        fresh_ms: observe::FRESH_AT_REST_MS,
        ended: &BTreeMap::new(),
        membership_ended_ms: 0,
        objects_ended_ms: 0,
        approved_ms: 0,
        proven: &BTreeSet::new(),
        verify: false,
        storage: shared.storage.said(&record.name),
        now,
    };
    let mut facts = observe::facts(&sources, &mut Tracker::default());
    shared.lives.recall(&record.name, &mut facts);
    Ok(facts)
}

pub(super) fn taken_nodes(shared: &Shared, spec: &Spec) -> Result<Vec<Problem>, Problem> {
    let mut taken = Vec::new();
    for other in shared
        .clusters()?
        .iter()
        .filter(|other| other.name != spec.cluster.name)
    {
        for node in &spec.nodes {
            if other.spec.node(&node.config.name).is_some() {
                taken.push(
                    Problem::new(
                        "refused-taken",
                        format!("{} is part of the cluster {}", node.config.name, other.name),
                    )
                    .at("cluster file, nodes")
                    .next("name another machine"),
                );
            }
        }
    }
    Ok(taken)
}

/// New nodes must be there when they are ordered to join: a voter that cannot come up would cost the tolerance it should bring.
fn unreachable(facts: &Facts, spec: &Spec, known: &BTreeSet<String>) -> Vec<Problem> {
    let voters = spec.members().count();
    let mut problems = Vec::new();
    for node in spec
        .nodes
        .iter()
        .filter(|node| !known.contains(&node.config.name))
    {
        let name = &node.config.name;
        let seen = facts.node(&quorate_planner::intent::NodeName(name.clone()));
        if seen.connected {
            continue;
        }
        let what = if seen.enrolled {
            "its agent is not connected"
        } else {
            "it is not enrolled"
        };
        let mut problem = Problem::new(
            "refused-unreachable",
            format!("{name} cannot be reached: {what}"),
        )
        .at(name.clone());
        if node.config.member {
            problem = problem.because(format!(
                "of {voters} voters {} must be healthy; a voter that never comes up only takes tolerance away",
                quorum::quorum(voters)
            ));
        }
        problems.push(problem.next(if seen.enrolled {
            format!("on {name}: systemctl status quorate-agent")
        } else {
            format!("quorate token create --node {name}, and run the line that it prints on {name}")
        }));
    }
    problems
}

fn warnings(spec: &Spec, facts: &Facts) -> Vec<String> {
    let voters = spec.members().count();
    let mut warnings = Vec::new();
    if voters.is_multiple_of(2) {
        let (even, odd) = (
            quorum::tolerance(voters, voters),
            quorum::tolerance(voters - 1, voters - 1),
        );
        warnings.push(format!(
            "an even number of voters: {voters} tolerate {even}, and {} tolerate {odd} with one machine less that can fail; use {} or {}",
            voters - 1,
            voters - 1,
            voters + 1
        ));
    }
    if voters == 1 {
        warnings.push("one voter tolerates no failure; three tolerate one".into());
    }
    for node in &spec.nodes {
        let seen = facts.node(&quorate_planner::intent::NodeName(node.config.name.clone()));
        if seen.enrolled && !seen.connected {
            warnings.push(format!("{} is not connected now", node.config.name));
        }
    }
    for zone in zone_effects(spec).iter().filter(|zone| !zone.quorum_kept) {
        warnings.push(format!(
            "the loss of zone {} would leave {} of {voters} voters: no quorum",
            zone.zone, zone.voters_left
        ));
    }
    warnings
}

pub fn zone_effects(spec: &Spec) -> Vec<ZoneEffect> {
    let voters = spec.members().count();
    let mut lost: BTreeMap<&str, usize> = BTreeMap::new();
    for node in spec.members().filter(|node| !node.config.zone.is_empty()) {
        *lost.entry(&node.config.zone).or_default() += 1;
    }
    lost.into_iter()
        .map(|(zone, lost)| ZoneEffect {
            zone: zone.to_owned(),
            voters_lost: lost as u32,
            voters_left: (voters - lost) as u32,
            quorum_kept: quorum::tolerance(voters, voters - lost) >= 0,
        })
        .collect()
}

pub(super) fn quorum_effects(before: usize, stages: &[Stage]) -> Vec<QuorumEffect> {
    let mut effects = Vec::new();
    if before > 0 {
        effects.push(quorum_effect("now".into(), before));
    }
    for stage in stages {
        if let (Some(voters), Some(step)) = (stage.voters, &stage.membership) {
            let (_, subject) = step.nodes();
            let word = match step {
                MembershipStep::Remove { .. } => "is removed",
                MembershipStep::Recover { .. } => "is the only member",
                MembershipStep::Found { .. }
                | MembershipStep::Add { .. }
                | MembershipStep::Start { .. }
                | MembershipStep::Promote { .. } => "votes",
            };
            effects.push(quorum_effect(format!("{subject} {word}"), voters));
        }
    }
    effects
}

fn quorum_effect(change: String, voters: usize) -> QuorumEffect {
    let (quorum, tolerance) = predict::effect(voters);
    QuorumEffect {
        change,
        voters: voters as u32,
        quorum: quorum as u32,
        tolerance: tolerance.max(0) as u32,
    }
}

pub(super) fn wire_stage(stage: &Stage, record: &ClusterRecord) -> PlanStage {
    let mut steps: Vec<PlanStep> = stage
        .side
        .iter()
        .map(|step| wire_side(step, record))
        .collect();
    if let Some(step) = &stage.membership {
        let (on, subject) = step.nodes();
        let through = if on == subject {
            String::new()
        } else {
            format!(" through {on}")
        };
        steps.push(PlanStep {
            node: subject.0.clone(),
            action: action_word(step.kind()).to_owned(),
            detail: format!("{}{through}", describe(step.kind())),
            membership_change: match step {
                MembershipStep::Found { .. }
                | MembershipStep::Add { .. }
                | MembershipStep::Promote { .. }
                | MembershipStep::Recover { .. }
                | MembershipStep::Remove { .. } => true,
                MembershipStep::Start { .. } => false,
            },
        });
    }
    PlanStage { steps }
}

fn wire_side(step: &SideStep, record: &ClusterRecord) -> PlanStep {
    let (_, subject) = step.nodes();
    let detail = match step {
        SideStep::Install { node } => {
            let packages = record
                .spec
                .node(&node.0)
                .map(|n| wants::packages(&record.spec, n).join(", "));
            format!(
                "{}: {}",
                describe(step.kind()),
                packages.unwrap_or_default()
            )
        }
        SideStep::ConfigureBalancer { members, .. } => {
            let members: Vec<&str> = members.iter().map(|m| m.0.as_str()).collect();
            format!(
                "{}: {}",
                describe(step.kind()),
                if members.is_empty() {
                    "no member yet".into()
                } else {
                    members.join(", ")
                }
            )
        }
        SideStep::Preflight { .. }
        | SideStep::CreateAuthority { .. }
        | SideStep::Prepare { .. }
        | SideStep::Finish { .. }
        | SideStep::JoinWorker { .. }
        | SideStep::ApplyManifests { .. }
        | SideStep::ConfigureNode { .. }
        | SideStep::DeleteNode { .. }
        | SideStep::Reset { .. }
        | SideStep::SetNames { .. }
        | SideStep::Probe { .. }
        | SideStep::SetObjects { .. }
        | SideStep::SetCarriers { .. }
        | SideStep::Renew { .. }
        | SideStep::Drain { .. }
        | SideStep::HandOver { .. }
        | SideStep::StopServing { .. }
        | SideStep::TaintNode { .. }
        | SideStep::UntaintNode { .. }
        | SideStep::StopNode { .. }
        | SideStep::StartNode { .. }
        | SideStep::CheckStorage { .. }
        | SideStep::ApproveServing { .. } => describe(step.kind()).to_owned(),
        SideStep::RestartProxies { nodes, .. } => {
            let nodes: Vec<&str> = nodes.iter().map(|node| node.0.as_str()).collect();
            format!("{}: {}", describe(step.kind()), nodes.join(", "))
        }
    };
    PlanStep {
        node: subject.0.clone(),
        action: action_word(step.kind()).to_owned(),
        detail,
        membership_change: false,
    }
}

pub(super) fn action_word(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Preflight => "preflight",
        StepKind::Install => "install",
        StepKind::ConfigureBalancer => "load-balancer",
        StepKind::CreateAuthority => "authority",
        StepKind::Prepare => "prepare",
        StepKind::Finish => "finish",
        StepKind::JoinWorker => "join",
        StepKind::ApplyManifests => "add-ons",
        StepKind::ConfigureNode => "labels",
        StepKind::DeleteNode => "delete-node",
        StepKind::Reset => "reset",
        StepKind::Found => "init",
        StepKind::AddMember => "add-learner",
        StepKind::StartMember => "start",
        StepKind::PromoteMember => "promote",
        StepKind::RemoveMember => "remove",
        StepKind::SetNames => "certificate",
        StepKind::Probe => "prove",
        StepKind::SetObjects => "objects",
        StepKind::SetCarriers => "kubeconfigs",
        StepKind::RestartProxies => "kube-proxy",
        StepKind::Renew => "renew",
        StepKind::ApproveServing => "approve",
        StepKind::Drain => "drain",
        StepKind::HandOver => "hand-over",
        StepKind::StopServing => "stop",
        StepKind::TaintNode => "out-of-service",
        StepKind::UntaintNode => "in-service",
        StepKind::StopNode => "stop",
        StepKind::StartNode => "start",
        StepKind::CheckStorage => "storage",
        StepKind::Recover => "recover",
    }
}
