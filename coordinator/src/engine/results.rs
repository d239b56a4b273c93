//! What becomes of results: troubles and pauses, findings, the end of operations.

use super::carry::Carrier;
use super::cluster::ClusterLoop;
use super::observe::Ended;
use super::records::*;
use super::view::{Durable, View};
use crate::store::{Key, Transaction};
use quorate_planner::facts::{MAX_ATTEMPTS, Trouble};
use quorate_planner::intent::NodeName;
use quorate_planner::membership::{JOINER_SILENT_MS, is_membership};
use quorate_planner::step::{SideStep, StepKind};
use quorate_planner::time::Time;
use quorate_proto::v1::{OrderDone, OrderResult, OrderStatus, Problem};

/// Pauses before the second and the third try: most hiccups pass in seconds.
const PAUSE_MS: [u64; MAX_ATTEMPTS as usize] = [2_000, 10_000, 10_000];
/// An agent ends an order at its deadline itself; if nothing comes this long after that, the order counts as lost.
const LOST_AFTER_DEADLINE_MS: u64 = 60_000;
/// An operator's write in between is rare, and the next look sees it.
const SETTLE_TRIES: u32 = 5;
/// A node that is touched holds up the others: longer than an agent on a busy machine is silent, shorter than an order may take.
const TOUCHED_SILENT_MS: u64 = 30_000;
/// What a promotion answers while the learner is not ready: asked again as long as the joiner lives.
const NOT_YET: [&str; 3] = ["learner-not-ready", "learner-not-started", "order-timeout"];

impl ClusterLoop {
    /// `at_ms`: when the result came, which may have waited here since.
    pub(super) async fn finish(
        &mut self,
        node: &str,
        done: OrderDone,
        at_ms: u64,
    ) -> Result<(), Problem> {
        let Some(result) = done.result else {
            return Ok(());
        };
        let mut tries = 0;
        loop {
            let Some(view) = self.durable()? else {
                return Ok(());
            };
            let pending = view
                .pending
                .iter()
                .find(|p| p.order.id == result.id && p.on == node)
                .cloned();
            let Some(pending) = pending else {
                break;
            };
            let ended = Ended {
                at_ms,
                report: done.report,
            };
            self.note_end(node, pending.step, ended);
            tries += 1;
            match self.settle(&view, &pending, &result).await {
                Ok(()) => break,
                // An operator wrote the cluster's record in the same moment.
                Err(problem) if problem.code == "refused-conflict" && tries < SETTLE_TRIES => {}
                Err(problem) => return Err(problem),
            }
        }
        // Also for an order that was given up meanwhile: the agent need not keep its result.
        self.shared.acknowledge(node, &result.id);
        Ok(())
    }

    /// What was reported before tells of a world that is gone.
    fn note_end(&mut self, node: &str, step: StepKind, ended: Ended) {
        let at_ms = ended.at_ms;
        self.ended.insert(node.to_owned(), ended);
        if is_membership(step) {
            self.membership_ended_ms = at_ms;
        }
        if step == StepKind::ApproveServing {
            self.approved_ms = at_ms;
        }
        if matches!(step, StepKind::SetObjects | StepKind::RestartProxies) {
            self.objects_ended_ms = at_ms;
        }
    }

    async fn settle(
        &mut self,
        view: &Durable,
        pending: &OrderRecord,
        result: &OrderResult,
    ) -> Result<(), Problem> {
        let mut transaction = Transaction::new().delete(Key::order(&self.cluster, &result.id));
        let succeeded = result.status() == OrderStatus::Succeeded;
        if pending.step == StepKind::CheckStorage {
            self.storage_said(view, pending, result);
        } else if succeeded {
            self.troubles
                .retain(|t| !(t.kind == pending.step && t.subject.0 == pending.subject));
            transaction = self.succeeded(view, pending, result, transaction);
        } else {
            self.failed(view, pending, result);
        }
        // An operator may begin another operation in the same moment, which ends this one.
        transaction = transaction.unchanged(Key::cluster(&self.cluster), view.stored);
        if let Some(operation) = &view.operation {
            let mut operation = operation.clone();
            operation.troubles = self.troubles.clone();
            operation.rejected_calls += result.rejected_calls;
            transaction = transaction.put(Key::operation(&operation.id), &operation);
        }
        self.commit(transaction).await
    }

    fn succeeded(
        &mut self,
        view: &Durable,
        pending: &OrderRecord,
        result: &OrderResult,
        mut transaction: Transaction,
    ) -> Transaction {
        match pending.step {
            StepKind::Preflight => {
                let digest = view
                    .intent
                    .node(&NodeName(pending.subject.clone()))
                    .map(|n| n.wants.preflight.0.clone());
                let findings = FindingsRecord {
                    digest: digest.unwrap_or_default(),
                    findings: result.findings.clone(),
                };
                transaction =
                    transaction.put(Key::finding(&self.cluster, &pending.subject), &findings);
            }
            StepKind::StartMember => {
                if let Some(slot) = view
                    .slot
                    .clone()
                    .filter(|s| s.change.node.0 == pending.subject)
                {
                    let mut slot = slot;
                    slot.change.started = true;
                    transaction = transaction.put(Key::slot(&self.cluster), &slot);
                }
            }
            StepKind::Reset
            | StepKind::Drain
            | StepKind::StopServing
            | StepKind::DeleteNode
            | StepKind::UntaintNode
            | StepKind::Recover => {
                transaction = self.noted(view, pending, transaction);
            }
            StepKind::Probe => {
                self.proven.insert(NodeName(pending.subject.clone()));
            }
            StepKind::Install
            | StepKind::ConfigureBalancer
            | StepKind::CreateAuthority
            | StepKind::Prepare
            | StepKind::Finish
            | StepKind::JoinWorker
            | StepKind::ApplyManifests
            | StepKind::ConfigureNode
            | StepKind::Found
            | StepKind::AddMember
            | StepKind::PromoteMember
            | StepKind::RemoveMember
            | StepKind::SetNames
            | StepKind::SetObjects
            | StepKind::SetCarriers
            | StepKind::RestartProxies
            | StepKind::Renew
            | StepKind::TaintNode
            | StepKind::StopNode
            | StepKind::StartNode
            | StepKind::CheckStorage
            | StepKind::HandOver
            | StepKind::ApproveServing => {}
        }
        let seconds = result.duration_ms as f64 / 1000.0;
        self.say(
            view,
            &pending.subject,
            &format!(
                "{} took {seconds:.1} s",
                quorate_planner::progress::describe(pending.step)
            ),
        );
        transaction
    }

    /// What the record says of the node, if that has changed.
    fn noted(
        &self,
        view: &Durable,
        pending: &OrderRecord,
        transaction: Transaction,
    ) -> Transaction {
        let mut record = ClusterRecord::clone(&view.record);
        if pending.step == StepKind::Reset {
            record.dirty.remove(&pending.subject);
        }
        super::leaving::note(&mut record, pending);
        if pending.step == StepKind::UntaintNode {
            return super::dead::put_back(record, &pending.subject, transaction);
        }
        super::recovery::note(&mut record, pending);
        let same = record.dirty == view.record.dirty && record.leaving == view.record.leaving;
        if same && record.recovery == view.record.recovery {
            return transaction;
        }
        transaction.put(Key::cluster(&self.cluster), &record)
    }

    fn failed(&mut self, view: &Durable, pending: &OrderRecord, result: &OrderResult) {
        let problem = result
            .problem
            .clone()
            .unwrap_or_else(|| Problem::new("order-failed", "the order failed"));
        if pending.step == StepKind::PromoteMember && NOT_YET.contains(&problem.code.as_str()) {
            return;
        }
        self.say(
            view,
            &pending.subject,
            &format!(
                "{}: {problem}",
                quorate_planner::progress::describe(pending.step)
            ),
        );
        for line in &result.log_tail {
            self.say(view, &pending.subject, &format!("  | {line}"));
        }
        self.trouble(
            pending.step,
            &NodeName(pending.subject.clone()),
            problem.to_string(),
            view.now,
        );
    }

    pub(super) fn trouble(&mut self, kind: StepKind, subject: &NodeName, error: String, now: Time) {
        let attempts = match self
            .troubles
            .iter()
            .position(|t| t.kind == kind && &t.subject == subject)
        {
            Some(at) => self.troubles.remove(at).attempts + 1,
            None => 1,
        };
        let pause = PAUSE_MS[(attempts as usize - 1).min(PAUSE_MS.len() - 1)];
        self.troubles.push(Trouble {
            subject: subject.clone(),
            kind,
            attempts,
            last_error: error,
            retry_at: now.plus(pause),
            permanent: false,
        });
    }

    /// The join as a whole counts once, whichever of its orders failed how often.
    pub(super) fn join_failed(&mut self, view: &View, node: &NodeName) {
        let parts = [StepKind::StartMember, StepKind::PromoteMember];
        let last = self
            .troubles
            .iter()
            .rev()
            .find(|t| &t.subject == node && parts.contains(&t.kind));
        let error = last.map_or_else(
            || "it fell silent while it joined".to_owned(),
            |t| t.last_error.clone(),
        );
        self.troubles
            .retain(|t| !(&t.subject == node && parts.contains(&t.kind)));
        self.trouble(StepKind::AddMember, node, error, view.now);
    }

    /// Orders that will bring no result: their node is gone while the membership change has to go on, or they are long overdue.
    pub(super) async fn give_up_lost(&mut self, view: &mut View) -> Result<(), Problem> {
        let lost: Vec<_> = view
            .pending
            .iter()
            .filter(|p| is_lost(view, p))
            .cloned()
            .collect();
        for pending in &lost {
            self.commit(Transaction::new().delete(Key::order(&self.cluster, &pending.order.id)))
                .await?;
            let error = format!("{} gave no result", pending.on);
            self.say(
                view,
                &pending.subject,
                &format!(
                    "{}: {error}",
                    quorate_planner::progress::describe(pending.step)
                ),
            );
            if pending.step != StepKind::PromoteMember {
                self.trouble(
                    pending.step,
                    &NodeName(pending.subject.clone()),
                    error,
                    view.now,
                );
            }
        }
        if !lost.is_empty()
            && let Some(newer) = self.look()?
        {
            *view = newer;
        }
        Ok(())
    }

    pub(super) fn redeliver(&mut self, node: &str) -> Result<(), Problem> {
        for pending in self
            .shared
            .pending(&self.cluster)?
            .iter()
            .filter(|p| p.on == node)
        {
            // Agents refuse orders of an earlier run of the coordinator; the order is still the one on record.
            let mut order = pending.order.clone();
            order.epoch = self.shared.epoch;
            self.send(node, &order, Vec::new());
        }
        Ok(())
    }

    pub(super) async fn exported(
        &mut self,
        step: SideStep,
        result: Result<OrderDone, Problem>,
    ) -> Result<(), Problem> {
        let (_, subject) = step.nodes();
        self.setting_up
            .retain(|run| !(run.kind == step.kind() && &run.subject == subject));
        let Some(view) = self.look()? else {
            return Ok(());
        };
        let sealed = result.and_then(|done| {
            let OrderDone { result, sealed, .. } = done;
            let result = result.unwrap_or_default();
            match result.status() {
                OrderStatus::Succeeded => Ok(sealed),
                OrderStatus::Unspecified
                | OrderStatus::Failed
                | OrderStatus::Refused
                | OrderStatus::Interrupted => Err(result.problem.unwrap_or_default()),
            }
        });
        match sealed {
            Err(problem) => {
                self.say(&view, &subject.0, &format!("no join material: {problem}"));
                self.trouble(step.kind(), subject, problem.to_string(), view.now);
                Ok(())
            }
            Ok(sealed) => {
                let carrier = Carrier::new(self, &view);
                let Some(action) = carrier.ground(|ground| ground.side(&step)) else {
                    return Ok(());
                };
                let record = carrier.record(step.kind(), subject, subject, action);
                let order = std::slice::from_ref(&record);
                self.write_orders(&view, order, Transaction::new()).await?;
                self.send(&record.on, &record.order, sealed);
                Ok(())
            }
        }
    }

    pub(super) async fn end_operation(
        &mut self,
        view: &View,
        state: OperationState,
        problem: Option<Problem>,
    ) -> Result<(), Problem> {
        let record = ClusterRecord::clone(&view.record);
        self.end_operation_with(view, record, state, problem).await
    }

    /// With a change of the record that is written in the same moment.
    pub(super) async fn end_operation_with(
        &mut self,
        view: &View,
        mut record: ClusterRecord,
        state: OperationState,
        problem: Option<Problem>,
    ) -> Result<(), Problem> {
        let Some(operation) = &view.operation else {
            return Ok(());
        };
        let mut operation = operation.clone();
        operation.state = state;
        operation.finished_ms = view.now.0;
        operation.problem = problem;
        operation.troubles = self.troubles.clone();
        record.operation = None;
        if operation.kind == super::apply::KIND && state == OperationState::Done {
            record.unproven = false;
        }
        let transaction = Transaction::new()
            .put(Key::operation(&operation.id), &operation)
            .unchanged(Key::cluster(&record.name), view.stored)
            .put(Key::cluster(&record.name), &record)
            .audit(
                &operation.ordered_by,
                "operation-end",
                format!("{}: {}", operation.id, state.word()),
            );
        self.commit(transaction).await?;
        self.tell_end(&operation);
        self.troubles.clear();
        self.proven.clear();
        Ok(())
    }
}

fn is_lost(view: &View, pending: &OrderRecord) -> bool {
    let overdue = u64::from(pending.order.timeout_seconds) * 1_000 + LOST_AFTER_DEADLINE_MS;
    let age = view.now.0.saturating_sub(pending.sent_ms);
    let node = view.facts.node(&NodeName(pending.on.clone()));
    let silent = !node.connected && view.now.since(node.heard) >= JOINER_SILENT_MS;
    match pending.step {
        // Harmless when it runs late: a member that was removed is never let in again.
        StepKind::StartMember => silent || age > overdue,
        // Runs on a member for another node. It may still be carried out there until its own deadline.
        StepKind::AddMember
        | StepKind::PromoteMember
        | StepKind::RemoveMember
        | StepKind::Probe
        | StepKind::SetObjects
        | StepKind::RestartProxies
        | StepKind::Drain
        | StepKind::DeleteNode
        | StepKind::TaintNode
        | StepKind::UntaintNode
        | StepKind::CheckStorage
        | StepKind::ApproveServing => {
            (silent && age > u64::from(pending.order.timeout_seconds) * 1_000) || age > overdue
        }
        StepKind::Preflight
        | StepKind::Install
        | StepKind::ConfigureBalancer
        | StepKind::CreateAuthority
        | StepKind::Prepare
        | StepKind::Finish
        | StepKind::JoinWorker
        | StepKind::ApplyManifests
        | StepKind::ConfigureNode
        | StepKind::Reset
        // Until its result is known nobody may be added.
        | StepKind::Recover
        | StepKind::Found => node.connected && age > overdue,
        // Safe to run twice and at any time; a node that has died is not waited for.
        StepKind::SetNames
        | StepKind::SetCarriers
        | StepKind::Renew
        | StepKind::HandOver
        | StepKind::StopServing
        | StepKind::StopNode
        | StepKind::StartNode => {
            let gone = !node.connected && view.now.since(node.heard) >= TOUCHED_SILENT_MS;
            gone || age > overdue
        }
    }
}
