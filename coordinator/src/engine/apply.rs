//! `quorate apply`: takes a wish durably, as one operation, on condition that nobody else changed the cluster meanwhile.

use super::cluster;
use super::plan::{self, Considered};
use super::records::*;
use super::shared::{Shared, stored};
use crate::store::{Key, Prefix, Transaction};
use quorate_planner::round::{self, Outcome};
use quorate_proto::v1::{ApplyRequest, ApplyResponse, Problem};
use std::sync::Arc;

pub async fn apply(
    shared: &Arc<Shared>,
    caller: &str,
    request: ApplyRequest,
) -> Result<ApplyResponse, Problem> {
    let plan = request.plan.unwrap_or_default();
    let considered = match plan::consider(shared, &plan)? {
        Ok(considered) => considered,
        Err(problems) => return Err(first_of(problems)),
    };
    if !considered.refusals.is_empty() {
        return Err(first_of(considered.refusals));
    }
    let entry = shared
        .store
        .entry::<ClusterRecord>(&Key::cluster(&considered.record.name))
        .map_err(stored)?;
    let revision = entry.as_ref().map_or(0, |e| e.value.revision);
    if considered.unchanged {
        if let Some(operation) = entry.as_ref().and_then(|e| e.value.operation.clone()) {
            return Ok(ApplyResponse {
                operation,
                nothing_to_do: false,
            });
        }
        let outcome = round::next(&considered.facts, &considered.intent, considered.now).outcome;
        if outcome == Outcome::Settled {
            return Ok(ApplyResponse {
                operation: String::new(),
                nothing_to_do: true,
            });
        }
    }
    if request.expected_revision != revision {
        return Err(Problem::new(
            "refused-conflict",
            format!(
                "the cluster is at revision {revision}, the plan was made at {}",
                request.expected_revision
            ),
        )
        .at(considered.record.name)
        .because("somebody else applied a file meanwhile")
        .next("quorate plan -f FILE, look at it, and apply again"));
    }
    start(shared, caller, considered, entry.map(|e| e.revision)).await
}

async fn start(
    shared: &Arc<Shared>,
    caller: &str,
    considered: Considered,
    stored_revision: Option<crate::store::Revision>,
) -> Result<ApplyResponse, Problem> {
    let mut record = considered.record;
    let key = Key::cluster(&record.name);
    let operation = OperationRecord {
        id: ulid::Ulid::new().to_string().to_ascii_lowercase(),
        cluster: record.name.clone(),
        kind: "apply".into(),
        state: OperationState::Running,
        ordered_by: caller.to_owned(),
        started_ms: considered.now.0,
        finished_ms: 0,
        problem: None,
        troubles: Vec::new(),
        rejected_calls: 0,
        membership_held_ms: 0,
    };
    let mut transaction = match stored_revision {
        None => Transaction::new().absent(key.clone()),
        Some(revision) => Transaction::new().unchanged(key.clone(), revision),
    };
    let older = record.operation.take();
    if let Some(mut older) = older
        .as_deref()
        .map(|id| shared.operation(id))
        .transpose()?
        .flatten()
    {
        older.state = OperationState::Superseded;
        older.finished_ms = considered.now.0;
        transaction = transaction.put(Key::operation(&older.id), &older);
    }
    record.revision += 1;
    record.operation = Some(operation.id.clone());
    let transaction = transaction
        .put(key, &record)
        .put(Key::operation(&operation.id), &operation)
        // What earlier tries found is looked at anew.
        .delete_all(Prefix::under(crate::store::Kind::Finding, &[&record.name]))
        .audit(
            caller,
            "apply",
            format!(
                "{} revision {}: operation {}",
                record.name, record.revision, operation.id
            ),
        );
    shared.store.commit(transaction).await.map_err(stored)?;
    if let Some(older) = older {
        shared.end_watch(&older);
    }
    cluster::start(shared, &record.name);
    Ok(ApplyResponse {
        operation: operation.id,
        nothing_to_do: false,
    })
}

/// One problem that carries all of them.
fn first_of(mut problems: Vec<Problem>) -> Problem {
    if problems.len() == 1 {
        return problems.remove(0);
    }
    let lines: Vec<String> = problems
        .iter()
        .map(|p| format!("- {}: {}", p.r#where, p.what))
        .collect();
    let code = problems.first().map(|p| p.code.clone()).unwrap_or_default();
    Problem::new(&code, format!("{} things are wrong", problems.len()))
        .at("cluster file")
        .because(lines.join("\n         "))
        .next("quorate plan -f FILE shows each with its next step")
}
