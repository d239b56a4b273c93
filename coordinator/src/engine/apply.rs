//! `quorate apply`: takes a wish durably, as one operation, on condition that nobody else changed the cluster meanwhile.

use super::operation::{self, Asked};
use super::plan::{self, Considered};
use super::records::*;
use super::shared::{Shared, stored};
use super::storage;
use crate::store::{Key, Prefix, Transaction};
use quorate_planner::intent::Balancing;
use quorate_planner::round::{self, Outcome};
use quorate_proto::v1::{ApplyRequest, ApplyResponse, Problem};
use std::sync::Arc;

pub const KIND: &str = "apply";

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
    let wanted = considered.record.spec.storage.as_ref();
    let before = entry.as_ref().and_then(|it| it.value.spec.storage.as_ref());
    if let Some(problem) = storage::denied(caller, before, wanted) {
        return Err(problem);
    }
    let revision = entry.as_ref().map_or(0, |e| e.value.revision);
    if considered.unchanged {
        if let Some(operation) = entry.as_ref().and_then(|e| e.value.operation.clone()) {
            return Ok(ApplyResponse {
                operation,
                nothing_to_do: false,
            });
        }
        let outcome = round::next(&considered.facts, &considered.intent, considered.now).outcome;
        if outcome == Outcome::Settled && !considered.record.unproven {
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
    known: Option<crate::store::Revision>,
) -> Result<ApplyResponse, Problem> {
    // What earlier tries found is looked at anew.
    let findings = Prefix::under(crate::store::Kind::Finding, &[&considered.record.name]);
    let asked = Asked { caller, kind: KIND };
    let transaction = Transaction::new().delete_all(findings);
    let mut record = considered.record;
    record.unproven = considered.intent.balancing == Balancing::External;
    operation::begin(shared, &asked, record, known, transaction).await
}

/// One problem that carries all of them.
pub(super) fn first_of(mut problems: Vec<Problem>) -> Problem {
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
