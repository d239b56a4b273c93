//! Carries out decisions: writes what is about to happen, then sends the orders.

use super::cluster::{ClusterLoop, LoopEvent};
use super::lower::{self, Ground};
use super::records::*;
use super::shared::stored;
use super::view::View;
use super::wants;
use crate::store::{Key, Transaction};
use quorate_planner::facts::{Change, ChangeKind, Running};
use quorate_planner::intent::NodeName;
use quorate_planner::step::{Membership, MembershipStep, SideStep, StepKind};
use quorate_proto::v1::order::Action;
use quorate_proto::v1::{ExportJoinMaterial, Order, Problem};
use std::time::Duration;

/// Orders that are written by one transaction: enough that a cluster of thousands costs a few writes, small enough for any of them.
const ORDERS_TOGETHER: usize = 128;
/// Nodes whose material is fetched at the same time: all come from one member, whose agent has more to do.
const EXPORTS_AT_ONCE: usize = 16;
/// Minting join material is a file read, or one API call.
const EXPORT_SECONDS: u32 = 30;

pub(super) struct Carrier<'a> {
    pub state: &'a mut ClusterLoop,
    pub view: &'a View,
    /// Orders of this round that are yet to be written and sent.
    orders: Vec<OrderRecord>,
}

impl<'a> Carrier<'a> {
    pub fn new(state: &'a mut ClusterLoop, view: &'a View) -> Self {
        Carrier {
            state,
            view,
            orders: Vec::new(),
        }
    }

    /// What [`Carrier::side`] has collected. Returns whether there was anything.
    pub async fn send_all(&mut self) -> Result<bool, Problem> {
        let orders = std::mem::take(&mut self.orders);
        for some in orders.chunks(ORDERS_TOGETHER) {
            let sent = self
                .state
                .write_and_send(self.view, some, Transaction::new());
            sent.await?;
        }
        Ok(!orders.is_empty())
    }

    pub async fn membership(&mut self, membership: &Membership) -> Result<bool, Problem> {
        match membership {
            Membership::Settled | Membership::Underway(..) | Membership::Wait(_) => Ok(false),
            Membership::Begin(change, step) => self.begin(change, step).await,
            Membership::Continue(step) => {
                let record = self.membership_order(step);
                self.write_and_send(record, Transaction::new()).await
            }
            Membership::Complete(node) => self.complete(node).await,
            Membership::Abandon(node) => self.abandon(node).await,
            Membership::Release(node) => self.release_only(node).await,
        }
    }

    /// The slot and the first order are written together, on condition that nobody holds the slot.
    async fn begin(&mut self, change: &Change, step: &MembershipStep) -> Result<bool, Problem> {
        let cluster = &self.view.record.name;
        let slot = SlotRecord {
            change: change.clone(),
        };
        let transaction = Transaction::new()
            .absent(Key::slot(cluster))
            .put(Key::slot(cluster), &slot)
            .audit(
                &self.ordered_by(),
                "membership-begin",
                format!("{cluster}: {:?} {}", change.kind, change.node),
            );
        let record = self.membership_order(step);
        self.write_and_send(record, transaction).await
    }

    async fn complete(&mut self, node: &NodeName) -> Result<bool, Problem> {
        let transaction = self.release("membership-complete", node);
        self.state.commit(transaction).await?;
        let change = self.view.facts.change.as_ref();
        let line = match change.map(|it| it.kind) {
            Some(ChangeKind::Leave) => "is no member any more",
            Some(
                ChangeKind::Found | ChangeKind::Join | ChangeKind::DropGhost | ChangeKind::Recover,
            )
            | None => "is a member",
        };
        self.state.say(self.view, &node.0, line);
        Ok(true)
    }

    /// The removal was not carried out: its last order has ended, and the member is still on the list.
    async fn release_only(&mut self, node: &NodeName) -> Result<bool, Problem> {
        let transaction = self.release("membership-release", node);
        self.state.commit(transaction).await?;
        self.state.say(self.view, &node.0, "stays a member");
        Ok(true)
    }

    async fn abandon(&mut self, node: &NodeName) -> Result<bool, Problem> {
        let mut record = ClusterRecord::clone(&self.view.record);
        record.dirty.insert(node.0.clone());
        let ghost = self
            .view
            .facts
            .change
            .as_ref()
            .is_some_and(|c| c.kind == ChangeKind::DropGhost);
        if !ghost {
            self.state.join_failed(self.view, node);
        }
        let transaction = self
            .release("membership-abandon", node)
            .unchanged(Key::cluster(&record.name), self.view.stored)
            .put(Key::cluster(&record.name), &record);
        self.state.commit(transaction).await?;
        self.state.say(
            self.view,
            &node.0,
            "its join was given up; nothing of it is left in etcd",
        );
        Ok(true)
    }

    fn release(&self, what: &str, node: &NodeName) -> Transaction {
        let cluster = &self.view.record.name;
        let transaction = Transaction::new()
            .unchanged(Key::cluster(cluster), self.view.stored)
            .delete(Key::slot(cluster))
            .audit(&self.ordered_by(), what, format!("{cluster}: {node}"));
        let held = self
            .view
            .facts
            .change
            .as_ref()
            .map_or(0, |c| self.view.now.since(c.since));
        match &self.view.operation {
            Some(operation) => {
                let mut operation = operation.clone();
                operation.membership_held_ms += held;
                operation.troubles = self.state.troubles.clone();
                transaction.put(Key::operation(&operation.id), &operation)
            }
            None => transaction,
        }
    }

    fn membership_order(&self, step: &MembershipStep) -> OrderRecord {
        let (on, subject) = step.nodes();
        let action = self.ground(|ground| ground.membership(step, self.view.facts.members()));
        self.record(step.kind(), on, subject, action)
    }

    pub async fn side(&mut self, step: &SideStep) -> Result<bool, Problem> {
        match step {
            SideStep::Prepare { node, from } => self.export(step, node, from, true),
            SideStep::JoinWorker { node, via } => self.export(step, node, via, false),
            SideStep::CreateAuthority { node } => {
                let mut record = ClusterRecord::clone(&self.view.record);
                let named = record.founder.get_or_insert_with(|| node.0.clone()).clone();
                if named != node.0 {
                    return Ok(false);
                }
                let transaction = Transaction::new()
                    .unchanged(Key::cluster(&record.name), self.view.stored)
                    .put(Key::cluster(&record.name), &record)
                    .audit(
                        &self.ordered_by(),
                        "found",
                        format!("{}: on {node}", record.name),
                    );
                match self.order(step) {
                    Some(order) => self.write_and_send(order, transaction).await,
                    None => Ok(false),
                }
            }
            SideStep::TaintNode { node, .. } => {
                let transaction = super::dead::taken_out(self.view, node);
                match self.order(step) {
                    Some(order) => self.write_and_send(order, transaction).await,
                    None => Ok(false),
                }
            }
            SideStep::Preflight { .. }
            | SideStep::Install { .. }
            | SideStep::ConfigureBalancer { .. }
            | SideStep::Finish { .. }
            | SideStep::ApplyManifests { .. }
            | SideStep::ConfigureNode { .. }
            | SideStep::DeleteNode { .. }
            | SideStep::Reset { .. }
            | SideStep::SetNames { .. }
            | SideStep::Probe { .. }
            | SideStep::SetObjects { .. }
            | SideStep::SetCarriers { .. }
            | SideStep::RestartProxies { .. }
            | SideStep::Renew { .. }
            | SideStep::Drain { .. }
            | SideStep::HandOver { .. }
            | SideStep::StopServing { .. }
            | SideStep::UntaintNode { .. }
            | SideStep::StopNode { .. }
            | SideStep::StartNode { .. }
            | SideStep::CheckStorage { .. }
            | SideStep::ApproveServing { .. } => {
                let order = self.order(step);
                self.orders.extend(order);
                Ok(false)
            }
        }
    }

    fn order(&self, step: &SideStep) -> Option<OrderRecord> {
        let (on, subject) = step.nodes();
        let action = self.ground(|ground| ground.side(step))?;
        Some(self.record(step.kind(), on, subject, action))
    }

    /// First the material from a member, in memory only; the order itself follows when it has come.
    fn export(
        &mut self,
        step: &SideStep,
        node: &NodeName,
        from: &NodeName,
        member: bool,
    ) -> Result<bool, Problem> {
        if self.state.setting_up.len() >= EXPORTS_AT_ONCE {
            return Ok(false); // the next one that has come makes room
        }
        let action = Action::ExportJoinMaterial(ExportJoinMaterial {
            for_node: node.0.clone(),
            member,
        });
        let order = self.ground(|ground| ground.order(&from.0, EXPORT_SECONDS, action));
        self.state.setting_up.push(Running {
            on: node.clone(),
            kind: step.kind(),
            subject: node.clone(),
        });
        let shared = self.state.shared.clone();
        let inbox = self.state.inbox.clone();
        let (step, from) = (step.clone(), from.0.clone());
        let tasks = shared.clone();
        tasks.spawn(async move {
            let patience = Duration::from_secs(u64::from(EXPORT_SECONDS) + 5);
            let result = shared.ask(&from, order, patience).await;
            let _ = inbox.send(LoopEvent::Exported(step, result)).await;
        });
        Ok(true)
    }

    pub fn record(
        &self,
        step: StepKind,
        on: &NodeName,
        subject: &NodeName,
        action: Action,
    ) -> OrderRecord {
        let order = self.ground(|ground| ground.order(&on.0, lower::timeout_seconds(step), action));
        OrderRecord {
            order,
            step,
            on: on.0.clone(),
            subject: subject.0.clone(),
            sent_ms: self.view.now.0,
        }
    }

    async fn write_and_send(
        &mut self,
        record: OrderRecord,
        transaction: Transaction,
    ) -> Result<bool, Problem> {
        self.state
            .write_and_send(self.view, &[record], transaction)
            .await?;
        Ok(true)
    }

    pub fn ground<T>(&self, make: impl FnOnce(&Ground<'_>) -> T) -> T {
        let artifacts = &self.state.shared.artifacts;
        let choose = |spec: &crate::spec::Spec, node: &crate::spec::SpecNode| {
            let kubernetes = spec.is_kubeadm() && (node.config.member || node.config.worker);
            let binaries: &[&str] = if kubernetes { &wants::PROGRAMS } else { &[] };
            // From packages or as bare programs, whichever was added.
            let mut packages = wants::packages(spec, node);
            packages.extend(binaries);
            artifacts.choose(&packages, binaries, kubernetes)
        };
        make(&Ground {
            record: &self.view.record,
            intent: &self.view.intent,
            epoch: self.state.shared.epoch,
            now_ms: self.view.now.0,
            ids: &self.state.shared.ids,
            operation: self.view.operation.as_ref().map_or("", |o| o.id.as_str()),
            artifacts: &choose,
            servers: super::endpoint::observe::servers(&self.view.facts),
            leases: super::dead::leases(&self.view.facts),
        })
    }

    fn ordered_by(&self) -> String {
        self.view
            .operation
            .as_ref()
            .map_or_else(|| "coordinator".to_owned(), |o| o.ordered_by.clone())
    }
}

impl ClusterLoop {
    /// Durable before they are sent: after a crash they are delivered again under the same ids.
    pub(super) async fn write_and_send(
        &mut self,
        view: &View,
        orders: &[OrderRecord],
        transaction: Transaction,
    ) -> Result<(), Problem> {
        self.write_orders(view, orders, transaction).await?;
        for record in orders {
            self.send(&record.on, &record.order, Vec::new());
        }
        Ok(())
    }

    pub(super) async fn write_orders(
        &mut self,
        view: &View,
        orders: &[OrderRecord],
        transaction: Transaction,
    ) -> Result<(), Problem> {
        let transaction = orders.iter().fold(transaction, |transaction, record| {
            transaction.put(Key::order(&self.cluster, &record.order.id), record)
        });
        self.commit(transaction).await?;
        for record in orders {
            self.say(
                view,
                &record.subject,
                quorate_planner::progress::describe(record.step),
            );
        }
        Ok(())
    }

    pub(super) fn send(&self, node: &str, order: &Order, sealed: Vec<u8>) {
        if let Err(problem) = self.shared.deliver(node, order.clone(), sealed) {
            tracing::info!(%node, order = %order.id, "delivered when the agent is back: {}", problem.what);
        }
    }

    pub(super) async fn commit(&self, transaction: Transaction) -> Result<(), Problem> {
        self.shared
            .store
            .commit(transaction)
            .await
            .map(|_| ())
            .map_err(stored)
    }
}
