//! Takes a changed record as a new operation, on condition that nobody else changed it meanwhile.

use super::cluster;
use super::records::{ClusterRecord, OperationRecord, OperationState};
use super::shared::{Shared, stored};
use crate::store::{Key, Revision, Transaction};
use quorate_proto::v1::{ApplyResponse, Problem};
use std::sync::Arc;

/// What is asked for, by whom.
pub struct Asked<'a> {
    pub caller: &'a str,
    pub kind: &'a str,
}

/// `known`: the record's revision in the store; none if it is new. An older operation of the cluster is superseded.
pub async fn begin(
    shared: &Arc<Shared>,
    asked: &Asked<'_>,
    mut record: ClusterRecord,
    known: Option<Revision>,
    transaction: Transaction,
) -> Result<ApplyResponse, Problem> {
    let key = Key::cluster(&record.name);
    let operation = new(shared, asked, &record);
    let mut transaction = match known {
        None => transaction.absent(key.clone()),
        Some(revision) => transaction.unchanged(key.clone(), revision),
    };
    let older = match record.operation.take() {
        Some(id) => shared.operation(&id)?,
        None => None,
    };
    let older = older.map(|older| OperationRecord {
        state: OperationState::Superseded,
        finished_ms: operation.started_ms,
        ..older
    });
    if let Some(older) = &older {
        transaction = transaction.put(Key::operation(&older.id), older);
    }
    record.revision += 1;
    record.operation = Some(operation.id.clone());
    let detail = format!(
        "{} revision {}: operation {}",
        record.name, record.revision, operation.id
    );
    let transaction = transaction
        .put(key, &record)
        .put(Key::operation(&operation.id), &operation)
        .audit(asked.caller, asked.kind, detail);
    shared.store.commit(transaction).await.map_err(stored)?;
    if let Some(older) = older {
        shared.end_watch(&older.id);
    }
    cluster::start(shared, &record.name);
    Ok(ApplyResponse {
        operation: operation.id,
        nothing_to_do: false,
    })
}

fn new(shared: &Shared, asked: &Asked<'_>, record: &ClusterRecord) -> OperationRecord {
    OperationRecord {
        id: shared.new_id().to_string().to_ascii_lowercase(),
        cluster: record.name.clone(),
        kind: asked.kind.to_owned(),
        state: OperationState::Running,
        ordered_by: asked.caller.to_owned(),
        started_ms: shared.now_ms(),
        finished_ms: 0,
        problem: None,
        troubles: Vec::new(),
        rejected_calls: 0,
        membership_held_ms: 0,
    }
}
