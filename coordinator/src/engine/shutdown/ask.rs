//! What operators may ask for. Refused, or taken as an operation. A stop is preceded by a snapshot, which is waited for.

use crate::engine::endpoint::refuse as others;
use crate::engine::operation::{self, Asked};
use crate::engine::plan::{action_word, current_facts};
use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use crate::engine::{apply, snapshots, storage, wants};
use crate::store::{Entry, Key, Transaction};
use quorate_planner::facts::{Facts, MemberList, Observed};
use quorate_planner::intent::{Intent, NodeIntent};
use quorate_planner::progress::describe;
use quorate_planner::shutdown::{self, Shutdown, Wanted};
use quorate_planner::step::StepKind;
use quorate_planner::time::Time;
use quorate_proto::v1::*;
use std::sync::Arc;

/// Kinds of operations.
pub const STOP: &str = "cluster-stop";
pub const START: &str = "cluster-start";

/// What was asked for, looked at.
struct Considered {
    entry: Entry<ClusterRecord>,
    intent: Intent,
    facts: Facts,
    wanted: Wanted,
    nothing_to_do: bool,
    refusals: Vec<Problem>,
}

pub fn plan(shared: &Shared, request: &PowerRequest) -> Result<PlanPowerResponse, Problem> {
    let considered = consider(shared, request)?;
    let record = &considered.entry.value;
    let stages = shutdown::order(&considered.intent, considered.wanted);
    Ok(PlanPowerResponse {
        cluster: record.name.clone(),
        revision: record.revision,
        on: request.on,
        stages: stages
            .into_iter()
            .map(|group| stage(&group, &considered))
            .filter(|stage| !stage.steps.is_empty())
            .collect(),
        warnings: warnings(shared, &considered, request),
        refusals: considered.refusals,
        nothing_to_do: considered.nothing_to_do,
    })
}

pub async fn begin(
    shared: &Arc<Shared>,
    caller: &str,
    request: &PowerRequest,
) -> Result<ApplyResponse, Problem> {
    let considered = consider(shared, request)?;
    if !considered.refusals.is_empty() {
        return Err(apply::first_of(considered.refusals));
    }
    let record = considered.entry.value;
    let same = record.shutdown.as_ref().map(|it| it.wanted) == Some(considered.wanted);
    if let Some(operation) = record.operation.as_ref().filter(|_| same) {
        return Ok(ApplyResponse {
            operation: operation.clone(),
            nothing_to_do: false,
        });
    }
    if considered.nothing_to_do {
        return Ok(ApplyResponse {
            operation: String::new(),
            nothing_to_do: true,
        });
    }
    if !request.on && record.shutdown.is_none() {
        let against = storage::against_stopping(shared, &record, &considered.facts).await;
        against.map_or(Ok(()), Err)?;
    }
    let saves = !request.on && !request.without_snapshot && record.shutdown.is_none();
    if saves && snapshots::possible(shared, &record) {
        let request = CreateSnapshotRequest {
            cluster: record.name.clone(),
        };
        let saved = snapshots::create(shared, caller, &request).await;
        saved.map_err(not_saved)?;
    }
    let wish = ClusterRecord {
        shutdown: Some(Shutdown {
            wanted: considered.wanted,
            since: Time(shared.now_ms()),
        }),
        ..record
    };
    let kind = if request.on { START } else { STOP };
    let asked = Asked { caller, kind };
    // Nobody joins or leaves in between.
    let transaction = Transaction::new().absent(Key::slot(&wish.name));
    let known = Some(considered.entry.revision);
    operation::begin(shared, &asked, wish, known, transaction).await
}

fn not_saved(problem: Problem) -> Problem {
    Problem::new(
        "refused-no-snapshot",
        "etcd could not be saved, so that nothing was stopped",
    )
    .at(problem.r#where)
    .because(problem.what)
    .next("correct it, or stop without a snapshot: --no-snapshot")
}

fn consider(shared: &Shared, request: &PowerRequest) -> Result<Considered, Problem> {
    let wanted = if request.on {
        Wanted::Running
    } else {
        Wanted::Stopped
    };
    let entry = others::known(shared, &request.cluster)?;
    // The way there can be turned round at any time; that is the one change that a stopped cluster takes.
    let entry = match (&entry.value.shutdown, wanted) {
        (Some(_), _) | (None, Wanted::Running) => entry,
        (None, Wanted::Stopped) => others::free(shared, &request.cluster)?,
    };
    let record = &entry.value;
    let intent = wants::intent(record);
    let facts = current_facts(shared, record, &intent, Time(shared.now_ms()))?;
    let nothing_to_do = match (&record.shutdown, wanted) {
        (None, Wanted::Running) => true,
        (None, Wanted::Stopped) => false,
        (Some(shutdown), wanted) => shutdown.wanted == wanted && record.operation.is_none(),
    };
    let refusals = match (&record.shutdown, wanted) {
        (None, Wanted::Stopped) => unformed(record).into_iter().collect(),
        (_, Wanted::Running) | (Some(_), Wanted::Stopped) => Vec::new(),
    };
    Ok(Considered {
        entry,
        intent,
        facts,
        wanted,
        nothing_to_do,
        refusals,
    })
}

/// A start could form nothing.
fn unformed(record: &ClusterRecord) -> Option<Problem> {
    record.founder.is_none().then(|| {
        Problem::new(
            "refused-unformed",
            format!("{} is not formed yet", record.name),
        )
        .at(record.name.clone())
        .next("quorate apply -f FILE")
    })
}

fn stage(group: &[&NodeIntent], considered: &Considered) -> PlanStage {
    let kind = match considered.wanted {
        Wanted::Stopped => StepKind::StopNode,
        Wanted::Running => StepKind::StartNode,
    };
    let stopped = |node: &NodeIntent| {
        let down = shutdown::is_down(&considered.facts, node);
        down == Observed::Known(considered.wanted == Wanted::Stopped)
    };
    let steps = group.iter().filter(|node| !stopped(node)).map(|node| {
        let away = !considered.facts.node(&node.name).connected;
        let suffix = if away { ", when it can be reached" } else { "" };
        PlanStep {
            node: node.name.0.clone(),
            action: action_word(kind).to_owned(),
            detail: format!("{}{suffix}", describe(kind)),
            membership_change: false,
        }
    });
    PlanStage {
        steps: steps.collect(),
    }
}

fn warnings(shared: &Shared, considered: &Considered, request: &PowerRequest) -> Vec<String> {
    let record = &considered.entry.value;
    if considered.nothing_to_do || considered.wanted == Wanted::Running {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    if record.shutdown.is_none() {
        warnings.push(match () {
            () if request.without_snapshot => "etcd is not saved before".to_owned(),
            () if snapshots::possible(shared, record) => {
                "etcd is saved first, on members' disks".to_owned()
            }
            () => {
                "no member answers with a quorum behind it: etcd cannot be saved before".to_owned()
            }
        });
    }
    if record.spec.storage.is_some() && record.shutdown.is_none() {
        warnings.push("storage is asked first, and may refuse".to_owned());
    }
    if record.spec.is_kubeadm() {
        warnings.push(
            "pods are not moved or deleted: their processes are told to end, and have 30 s"
                .to_owned(),
        );
    }
    if matches!(considered.facts.etcd.list, MemberList::Known(_)) {
        warnings.push(
            "the cluster serves nobody until it is started again; a reboot does not start it"
                .to_owned(),
        );
    }
    warnings
}
