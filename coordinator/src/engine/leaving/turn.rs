//! The end of a removal: the wish changes, the certificate is taken back. Or the way back, while nothing is lost.

use crate::engine::cluster::ClusterLoop;
use crate::engine::records::{ClusterRecord, OperationState};
use crate::engine::view::View;
use crate::store::{Key, Transaction};
use quorate_planner::facts::Facts;
use quorate_planner::leaving::Leaving;
use quorate_proto::v1::Problem;

impl ClusterLoop {
    /// Everything that was to be done is seen to be done, or given up on the operator's word that the machine is gone. Each part may
    /// be done again: a crash in between leaves the word in the record.
    pub(in crate::engine) async fn departed(&mut self, view: &View) -> Result<bool, Problem> {
        let Some(leaving) = view.record.leaving.clone() else {
            return Ok(false);
        };
        let node = leaving.node.0.as_str();
        if !leaving.identity.is_empty() {
            let who = view.operation.as_ref();
            let who = who.map_or("coordinator", |it| it.ordered_by.as_str());
            let agents = self.shared.agents.clone();
            agents.revoke(who, node, &leaving.identity).await?;
        }
        // A machine of the same name must not get what was meant for this one.
        let mut transaction = Transaction::new().delete(Key::finding(&self.cluster, node));
        for pending in view.pending.iter().filter(|it| it.on == node) {
            transaction = transaction.delete(Key::order(&self.cluster, &pending.order.id));
        }
        self.commit(transaction).await?;
        self.troubles
            .retain(|trouble| trouble.subject != leaving.node);
        let record = without(ClusterRecord::clone(&view.record), &leaving);
        self.say(view, node, "has left the cluster");
        if leaving.successor.is_some() {
            // Its place is to be taken; the operation goes on.
            self.write(view, &record, "node-left").await?;
        } else {
            self.end_operation_with(view, record, OperationState::Done, None)
                .await?;
        }
        Ok(true)
    }
}

/// The wish without it. One that another machine of the same name takes over stays in it, as a node that has not joined.
fn without(mut record: ClusterRecord, leaving: &Leaving) -> ClusterRecord {
    let node = &leaving.node.0;
    record.leaving = None;
    record.revision += 1;
    if leaving.successor.as_ref() != Some(&leaving.node) {
        record.spec.nodes.retain(|it| &it.config.name != node);
        if record.founder.as_ref() == Some(node) {
            let heir = record.spec.members().next();
            record.founder = heir.map(|it| it.config.name.clone());
        }
        record.retired.remove(node);
    }
    record.behind.remove(node);
    record.out_of_service.remove(node);
    record.dirty.remove(node);
    record
}

/// After an operation that failed. While it serves as before, it stays in the cluster; otherwise the operator goes on from there.
pub fn turned_back(record: &ClusterRecord, facts: &Facts) -> ClusterRecord {
    let mut record = record.clone();
    let whole = record.leaving.as_ref().is_some_and(|leaving| {
        let spec = record.spec.node(&leaving.node.0);
        let member = spec.filter(|node| node.config.member);
        let listed = member.is_none_or(|node| facts.member(&node.peer_url()).is_some());
        listed && !leaving.stopped && !leaving.reset && !leaving.deleted
    });
    if whole {
        record.leaving = None;
    }
    record
}
