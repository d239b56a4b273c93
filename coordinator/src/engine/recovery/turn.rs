//! The end of a recovery: whoever is gone leaves the wish, and whoever lives joins the cluster of one as a new node would.

use crate::engine::cluster::ClusterLoop;
use crate::engine::records::ClusterRecord;
use crate::engine::view::View;
use crate::store::{Key, Transaction};
use quorate_planner::intent::NodeName;
use quorate_planner::recovery::Recovery;
use quorate_proto::v1::Problem;

impl ClusterLoop {
    /// The cluster of one is seen to serve. Each part may be done again: a crash in between leaves the word in the record.
    pub(in crate::engine) async fn recovered(&mut self, view: &View) -> Result<bool, Problem> {
        let Some(recovery) = view.record.recovery.clone() else {
            return Ok(false);
        };
        let who = view.operation.as_ref();
        let who = who.map_or("coordinator", |it| it.ordered_by.as_str());
        let agents = self.shared.agents.clone();
        for gone in &recovery.gone {
            if let Some(agent) = agents.get(&gone.0).filter(|agent| !agent.revoked) {
                agents.revoke(who, &gone.0, &agent.node_id).await?;
            }
        }
        let record = after(ClusterRecord::clone(&view.record), &recovery);
        let key = Key::cluster(&self.cluster);
        let mut transaction = Transaction::new()
            .unchanged(key.clone(), view.stored)
            .put(key, &record)
            .delete(Key::slot(&self.cluster))
            .audit(
                who,
                "recovered",
                format!("{}: from {}", record.name, recovery.node),
            );
        let of_gone = |name: &str| recovery.gone.contains(&NodeName(name.to_owned()));
        for pending in view.pending.iter().filter(|it| of_gone(&it.on)) {
            transaction = transaction.delete(Key::order(&self.cluster, &pending.order.id));
        }
        for gone in &recovery.gone {
            transaction = transaction.delete(Key::finding(&self.cluster, &gone.0));
        }
        self.commit(transaction).await?;
        // What failed before was of a cluster that is no more.
        self.troubles.clear();
        self.say(view, &recovery.node.0, "is the only member; others join it");
        Ok(true)
    }
}

fn after(mut record: ClusterRecord, recovery: &Recovery) -> ClusterRecord {
    let gone = |name: &String| recovery.gone.contains(&NodeName(name.clone()));
    record.recovery = None;
    record.revision += 1;
    record.founder = Some(recovery.node.0.clone());
    record.spec.nodes.retain(|it| !gone(&it.config.name));
    record.retired.retain(|it| !gone(it));
    record.behind.retain(|it| !gone(it));
    let others = record.spec.members().map(|it| it.config.name.clone());
    let others: Vec<String> = others.filter(|it| *it != recovery.node.0).collect();
    record
        .dirty
        .retain(|it| !gone(it) && *it != recovery.node.0);
    record.dirty.extend(others);
    record
}
