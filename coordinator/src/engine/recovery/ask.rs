//! What operators may ask for. Refused, or taken as an operation; nothing waits here.

use super::survey::{Survey, Wanted, survey};
use crate::engine::apply;
use crate::engine::endpoint::refuse as others;
use crate::engine::operation::{self, Asked};
use crate::engine::plan::current_facts;
use crate::engine::records::{ClusterRecord, SlotRecord};
use crate::engine::shared::Shared;
use crate::engine::wants;
use crate::store::{Entry, Key, Revision, Transaction};
use quorate_planner::facts::{Change, ChangeKind, Facts, MemberList};
use quorate_planner::intent::NodeName;
use quorate_planner::recovery::Recovery;
use quorate_planner::shutdown;
use quorate_planner::time::Time;
use quorate_proto::v1::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was asked for, looked at.
struct Considered {
    entry: Entry<ClusterRecord>,
    /// Of the slot, which the recovery takes over.
    slot: Option<Revision>,
    /// None if it is refused.
    recovery: Option<Recovery>,
    applied: Option<u64>,
    snapshot: Option<SnapshotInfo>,
    /// Of the key space, as members told it last.
    last_revision: u64,
    warnings: Vec<String>,
    refusals: Vec<Problem>,
}

pub fn plan(shared: &Shared, request: &RecoveryRequest) -> Result<PlanRecoveryResponse, Problem> {
    let considered = consider(shared, request)?;
    let record = &considered.entry.value;
    let mut answer = PlanRecoveryResponse {
        cluster: record.name.clone(),
        revision: record.revision,
        applied_index: considered.applied.unwrap_or_default(),
        warnings: considered.warnings,
        refusals: considered.refusals,
        snapshot: considered.snapshot,
        last_revision: considered.last_revision,
        kubernetes: record.spec.is_kubeadm(),
        ..PlanRecoveryResponse::default()
    };
    if let Some(recovery) = considered.recovery {
        answer.source = recovery.node.0.clone();
        answer.lost = recovery.gone.iter().map(|it| it.0.clone()).collect();
        let rejoins = |name: &String| *name != recovery.node.0 && !answer.lost.contains(name);
        let names = record.spec.members().map(|it| it.config.name.clone());
        answer.rejoin = names.filter(rejoins).collect();
    }
    Ok(answer)
}

pub async fn begin(
    shared: &Arc<Shared>,
    caller: &str,
    request: &RecoveryRequest,
) -> Result<ApplyResponse, Problem> {
    let considered = consider(shared, request)?;
    let record = considered.entry.value;
    let Some(recovery) = considered.recovery else {
        return Err(apply::first_of(considered.refusals));
    };
    if let Some(operation) = &record.operation
        && record.recovery.as_ref() == Some(&recovery)
    {
        return Ok(ApplyResponse {
            operation: operation.clone(),
            nothing_to_do: false,
        });
    }
    let node = recovery.node.clone();
    let source = record.spec.node(&node.0);
    let source = source.ok_or_else(|| others_than_members(&record.name, &node))?;
    let slot = SlotRecord {
        change: Change {
            kind: ChangeKind::Recover,
            peer_url: source.peer_url(),
            node,
            since: Time(shared.now_ms()),
            started: false,
        },
    };
    let key = Key::slot(&record.name);
    let transaction = match considered.slot {
        None => Transaction::new().absent(key.clone()),
        Some(revision) => Transaction::new().unchanged(key.clone(), revision),
    };
    let detail = format!(
        "{}: from {}, without {:?}",
        record.name, recovery.node, request.without
    );
    let transaction = transaction
        .put(key, &slot)
        .audit(caller, "quorum-given-up", detail);
    let wish = ClusterRecord {
        recovery: Some(recovery),
        // Whoever was on the way out is a survivor like the others, or is gone.
        leaving: None,
        shutdown: None,
        // Nobody else may ever form it.
        formed: true,
        ..record
    };
    let asked = Asked {
        caller,
        kind: "recover",
    };
    let known = Some(considered.entry.revision);
    operation::begin(shared, &asked, wish, known, transaction).await
}

fn others_than_members(cluster: &str, node: &NodeName) -> Problem {
    Problem::new(
        "not-found-node",
        format!("{node} is no member of {cluster}"),
    )
    .next("quorate nodes lists them")
}

fn consider(shared: &Shared, request: &RecoveryRequest) -> Result<Considered, Problem> {
    let entry = others::known(shared, &request.cluster)?;
    // Before anything is looked at, so that a change in between is noticed.
    let slot = shared.store.revision_of(&Key::slot(&request.cluster));
    let record = &entry.value;
    let intent = wants::intent(record);
    let now = Time(shared.now_ms());
    let facts = current_facts(shared, record, &intent, now)?;
    let without: BTreeSet<NodeName> = request.without.iter().cloned().map(NodeName).collect();
    if let Some(recovery) = resumed(record, request, &facts, &without) {
        return Ok(Considered {
            slot,
            recovery: Some(recovery),
            applied: None,
            snapshot: None,
            last_revision: 0,
            warnings: vec!["a recovery that has begun is gone on with".to_owned()],
            refusals: Vec::new(),
            entry,
        });
    }
    let mut refusals: Vec<Problem> = in_the_way(record, &facts).into_iter().collect();
    let survey = survey(shared, record, &facts, &without);
    let wanted = Wanted {
        member: &request.from_member,
        snapshot: &request.snapshot,
    };
    if refusals.is_empty() {
        refusals = survey.refusals(&wanted);
    }
    let source = survey.source(&wanted);
    let source = source.filter(|_| refusals.is_empty());
    let snapshot = source.and_then(|it| it.snapshot(wanted.snapshot).cloned());
    let recovery = source.map(|source| Recovery {
        id: ulid::Ulid::new().to_string(),
        node: NodeName(source.name.clone()),
        snapshot: snapshot.as_ref().map(|it| it.id.clone()),
        gone: gone(&facts, &without),
        stopped: BTreeSet::new(),
        made: false,
    });
    let applied = source.and_then(|it| it.applied);
    let last_revision = survey.last_revision();
    let warnings = match (&recovery, &snapshot) {
        (Some(recovery), Some(snapshot)) => {
            let mut warnings = back_to(&survey, snapshot);
            warnings.extend(given_up(&survey, recovery));
            warnings
        }
        (Some(recovery), None) => {
            let mut warnings = vec![unapplied(recovery, applied)];
            warnings.extend(given_up(&survey, recovery));
            warnings
        }
        (None, _) => Vec::new(),
    };
    Ok(Considered {
        slot,
        recovery,
        applied,
        snapshot,
        last_revision,
        warnings,
        refusals,
        entry,
    })
}

/// A machine that still answers is reset and joins anew; only one that does not is taken out.
fn gone(facts: &Facts, without: &BTreeSet<NodeName>) -> BTreeSet<NodeName> {
    let away = without.iter().filter(|it| !facts.node(it).connected);
    away.cloned().collect()
}

/// The recovery under way. More machines may be said to be gone later; another source is another recovery, unless the cluster of one
/// was made.
fn resumed(
    record: &ClusterRecord,
    request: &RecoveryRequest,
    facts: &Facts,
    without: &BTreeSet<NodeName>,
) -> Option<Recovery> {
    let recovery = record.recovery.clone()?;
    let named = request.from_member.is_empty() || request.from_member == recovery.node.0;
    let same = request.snapshot.is_empty() || recovery.snapshot.as_ref() == Some(&request.snapshot);
    let given_up = without.contains(&recovery.node);
    if !recovery.made && (!named || !same || given_up) {
        return None;
    }
    let mut more = gone(facts, without);
    more.remove(&recovery.node);
    more.retain(|it| record.spec.node(&it.0).is_some());
    Some(Recovery {
        gone: recovery.gone.union(&more).cloned().collect(),
        ..recovery
    })
}

/// Whatever needs a quorum to go on is given up with it: a join, a removal. A change of the endpoint is turned round first.
fn in_the_way(record: &ClusterRecord, facts: &Facts) -> Option<Problem> {
    let name = &record.name;
    let founding = facts.change.as_ref().map(|it| it.kind) == Some(ChangeKind::Found);
    if founding || record.founder.is_none() {
        return Some(
            Problem::new("refused-unformed", format!("{name} is not formed yet"))
                .at(name.clone())
                .next("quorate apply -f FILE"),
        );
    }
    // A start that never comes to a quorum is given up with it.
    let stopped = record.shutdown.clone();
    others::under_way(&ClusterRecord {
        leaving: None,
        recovery: None,
        shutdown: stopped.filter(|it| it.wanted == shutdown::Wanted::Stopped),
        ..record.clone()
    })
}

fn unapplied(recovery: &Recovery, applied: Option<u64>) -> String {
    let node = &recovery.node;
    match applied {
        Some(applied) => {
            format!("writes that {node} has not applied (those after index {applied}) are lost")
        }
        None => format!("{node} does not tell what it has applied; writes that it lacks are lost"),
    }
}

/// What a snapshot does not hold.
fn back_to(survey: &Survey<'_>, snapshot: &SnapshotInfo) -> Vec<String> {
    let (of, last) = (snapshot.revision, survey.last_revision());
    let lost = match last {
        0 => "how many these are is not known: no member has told its revision since this coordinator started".to_owned(),
        last if last <= of => "as far as is known there are none".to_owned(),
        last => format!("{} revisions, of {last} that are known of", last - of),
    };
    let mut warnings = vec![format!("all writes after revision {of} are lost: {lost}")];
    if let MemberList::Known(_) = survey.facts.etcd.list {
        warnings.push(
            "the cluster has its quorum and serves: it goes back although nothing forces it to"
                .to_owned(),
        );
    }
    warnings
}

fn given_up(survey: &Survey<'_>, recovery: &Recovery) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(change) = &survey.facts.change
        && survey.record.recovery.is_none()
    {
        warnings.push(format!(
            "the membership change of {} is given up",
            change.node
        ));
    }
    if let Some(leaving) = &survey.record.leaving {
        warnings.push(format!("the removal of {} is given up", leaving.node));
    }
    for gone in &recovery.gone {
        warnings.push(format!(
            "{gone} must never run again as it was: with others like it, it would serve the old cluster beside the new one"
        ));
    }
    warnings
}
