//! What watchers of an operation are told.

use super::cluster::ClusterLoop;
use super::records::OperationRecord;
use super::view::{Durable, View};
use quorate_planner::progress::Progress;
use quorate_planner::round::Round;
use quorate_proto::v1::{NodeProgress, OperationEvent, OperationInfo, OrderProgress, Problem};
use std::collections::BTreeMap;

pub fn info(operation: &OperationRecord) -> OperationInfo {
    OperationInfo {
        id: operation.id.clone(),
        cluster: operation.cluster.clone(),
        kind: operation.kind.clone(),
        state: operation.state.word().to_owned(),
        ordered_by: operation.ordered_by.clone(),
        started_unix_ms: operation.started_ms as i64,
        finished_unix_ms: operation.finished_ms as i64,
        problem: operation.problem.clone(),
        rejected_etcd_calls: operation.rejected_calls,
        membership_held_ms: operation.membership_held_ms,
    }
}

pub fn progress(
    nodes: &BTreeMap<quorate_planner::intent::NodeName, Progress>,
) -> Vec<NodeProgress> {
    nodes
        .iter()
        .map(|(name, progress)| NodeProgress {
            node: name.0.clone(),
            phase: progress.phase.word().to_owned(),
            detail: progress.detail.clone(),
            problem: None,
        })
        .collect()
}

impl ClusterLoop {
    /// The state of all nodes, whenever one's changed.
    pub(super) fn tell_round(&mut self, view: &View, round: &Round) {
        let Some(operation) = &view.operation else {
            return;
        };
        let now: BTreeMap<String, (String, String)> = round
            .progress
            .iter()
            .map(|(name, p)| {
                (
                    name.0.clone(),
                    (p.phase.word().to_owned(), p.detail.clone()),
                )
            })
            .collect();
        if now != self.told {
            self.told = now;
            let event = OperationEvent {
                operation: Some(info(operation)),
                nodes: progress(&round.progress),
                ..OperationEvent::default()
            };
            self.shared.publish(&operation.id, event);
        }
    }

    /// A line about one node: to watchers, and to the daemon's log.
    pub(super) fn say(&self, view: &Durable, node: &str, line: &str) {
        tracing::info!(cluster = %self.cluster, %node, "{line}");
        if let Some(operation) = &view.operation {
            let event = OperationEvent {
                operation: Some(info(operation)),
                line: line.to_owned(),
                line_node: node.to_owned(),
                ..OperationEvent::default()
            };
            self.shared.publish(&operation.id, event);
        }
    }

    pub(super) fn tell_progress(
        &mut self,
        node: &str,
        progress: OrderProgress,
    ) -> Result<(), Problem> {
        let Some(view) = self.durable()? else {
            return Ok(());
        };
        if let Some(operation) = &view.operation {
            let event = OperationEvent {
                operation: Some(info(operation)),
                line: progress.line,
                line_node: node.to_owned(),
                ..OperationEvent::default()
            };
            self.shared.publish(&operation.id, event);
        }
        Ok(())
    }

    pub(super) fn tell_end(&mut self, operation: &OperationRecord) {
        tracing::info!(operation = %operation.id, "{}", operation.state.word());
        let mut nodes = Vec::new();
        if let Ok(Some(view)) = self.look() {
            let round = quorate_planner::round::next(&view.facts, &view.intent, view.now);
            nodes = progress(&round.progress);
        }
        let event = OperationEvent {
            operation: Some(info(operation)),
            nodes,
            ..OperationEvent::default()
        };
        self.shared.publish(&operation.id, event);
        self.shared.end_watch(&operation.id);
        self.told.clear();
    }
}
