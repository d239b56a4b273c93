//! Enters the stages of a rotation durably, ends renewals, and begins by itself what is due.

use crate::engine::balancer;
use crate::engine::cluster::ClusterLoop;
use crate::engine::operation::{self, Asked};
use crate::engine::records::{ClusterRecord, OperationState};
use crate::engine::view::View;
use crate::engine::wants;
use crate::store::{Key, Transaction};
use quorate_planner::endpoint::{Rotation, Stage};
use quorate_planner::intent::NodeName;
use quorate_planner::rotation::{self, Advance};
use quorate_planner::round::Round;
use quorate_proto::v1::Problem;
use std::collections::BTreeSet;

impl ClusterLoop {
    /// Returns whether the record changed, so that everything is to be looked at anew.
    pub(in crate::engine) async fn advance(
        &mut self,
        view: &View,
        round: &Round,
    ) -> Result<bool, Problem> {
        if self.note_caught_up(view).await? {
            return Ok(true);
        }
        if let Some(shutdown) = &view.record.shutdown {
            return self.stands(view, shutdown, &round.standstill).await;
        }
        if view.operation.is_none() {
            return self.begin_due(view).await;
        }
        if view.record.recovery.is_some() {
            return match round.recovered {
                true => self.recovered(view).await,
                false => Ok(false),
            };
        }
        if view.record.leaving.is_some() && round.departure.complete {
            return self.departed(view).await;
        }
        if view.record.renewal.is_some() && round.renewing.complete {
            return self.complete(view, |record| record.renewal = None).await;
        }
        let Some(rotation) = &view.record.rotation else {
            return Ok(false);
        };
        match round.endpoint.advance {
            None => Ok(false),
            Some(Advance::To(stage)) => {
                self.enter(view, rotation, stage, &round.endpoint.behind)
                    .await
            }
            Some(Advance::Complete) => {
                let retired = balancer::retired_after(&view.record, rotation);
                let dropped = rotation.other.iter().map(|other| other.host.clone());
                let dropped: Vec<String> = dropped.chain(rotation.drop.clone()).collect();
                self.complete(view, |record| {
                    record.rotation = None;
                    if !record.behind.is_empty() {
                        record.gone.extend(dropped);
                    }
                    record.retired = retired;
                })
                .await
            }
        }
    }

    async fn enter(
        &mut self,
        view: &View,
        rotation: &Rotation,
        stage: Stage,
        away: &BTreeSet<NodeName>,
    ) -> Result<bool, Problem> {
        let mut record = ClusterRecord::clone(&view.record);
        record.rotation = Some(Rotation {
            stage,
            ..rotation.clone()
        });
        let part = |name: &&NodeName| {
            let node = record.spec.node(&name.0);
            node.is_some_and(|node| node.config.member || node.config.worker)
        };
        let away: Vec<String> = away
            .iter()
            .filter(part)
            .map(|name| name.0.clone())
            .collect();
        match stage {
            Stage::Accept => {}
            Stage::Switch => {
                record.behind.extend(away);
                record.spec.cluster.endpoint = Some(wants::endpoint(&rotation.target));
                record.external = rotation.external;
            }
            Stage::Soak | Stage::Drop | Stage::Retire => record.behind.extend(away),
        }
        self.write(view, &record, &format!("endpoint-{}", stage.word()))
            .await?;
        self.say(view, "", &said(rotation, stage));
        Ok(true)
    }

    pub(in crate::engine) async fn write(
        &mut self,
        view: &View,
        record: &ClusterRecord,
        what: &str,
    ) -> Result<(), Problem> {
        let who = view.operation.as_ref().map(|it| it.ordered_by.clone());
        let who = who.unwrap_or_else(|| "coordinator".to_owned());
        let transaction = Transaction::new()
            .unchanged(Key::cluster(&record.name), view.stored)
            .put(Key::cluster(&record.name), record)
            .audit(&who, what, record.name.clone());
        self.commit(transaction).await
    }

    /// The change and the operation end in one transaction.
    async fn complete(
        &mut self,
        view: &View,
        change: impl FnOnce(&mut ClusterRecord),
    ) -> Result<bool, Problem> {
        let mut record = ClusterRecord::clone(&view.record);
        change(&mut record);
        self.end_operation_with(view, record, OperationState::Done, None)
            .await?;
        Ok(true)
    }

    async fn note_caught_up(&mut self, view: &View) -> Result<bool, Problem> {
        let caught_up = rotation::caught_up(&view.facts, &view.intent);
        if caught_up.is_empty() {
            return Ok(false);
        }
        let mut record = ClusterRecord::clone(&view.record);
        for node in &caught_up {
            record.behind.remove(&node.0);
            self.say(view, &node.0, "has caught up with the cluster's endpoint");
        }
        if record.behind.is_empty() {
            // A repair that is under way has its own copy.
            record.gone.clear();
        }
        self.write(view, &record, "endpoint-caught-up").await?;
        Ok(true)
    }

    /// At rest: a node that was away when the endpoint moved is brought along; certificates near their end are renewed.
    async fn begin_due(&mut self, view: &View) -> Result<bool, Problem> {
        let record = &view.record;
        let busy = record.rotation.is_some() || record.renewal.is_some();
        if busy || record.leaving.is_some() || view.slot.is_some() {
            return Ok(false); // the operator's to go on with
        }
        let returned = |name: &String| view.facts.node(&NodeName(name.clone())).connected;
        if view.record.behind.iter().any(returned) {
            let mut record = ClusterRecord::clone(&view.record);
            record.rotation = Some(super::ask::repair_of(&record));
            return self.begin_by_itself(view, record, "endpoint-repair").await;
        }
        if let Some(renewal) = super::certificates::due(&view.record, &view.agents, view.now.0) {
            let mut record = ClusterRecord::clone(&view.record);
            record.renewal = Some(renewal);
            return self
                .begin_by_itself(view, record, "certificates-renew")
                .await;
        }
        Ok(false)
    }

    async fn begin_by_itself(
        &mut self,
        view: &View,
        record: ClusterRecord,
        kind: &str,
    ) -> Result<bool, Problem> {
        let asked = Asked {
            caller: "coordinator",
            kind,
        };
        let begun = operation::begin(
            &self.shared,
            &asked,
            record,
            Some(view.stored),
            Transaction::new(),
        );
        begun.await?;
        Ok(true)
    }
}

fn said(rotation: &Rotation, stage: Stage) -> String {
    let target = &rotation.target;
    match stage {
        Stage::Accept => format!("certificates are to cover {target}"),
        Stage::Switch => {
            format!("{target} is proven to lead to this cluster; everything moves to it")
        }
        Stage::Soak => match &rotation.other {
            Some(other) => format!("everything holds {target}; waiting until nobody dials {other}"),
            None => format!("everything holds {target}"),
        },
        Stage::Drop => "dropping names that are not wanted any more".to_owned(),
        Stage::Retire => "retiring front ends that are not wanted any more".to_owned(),
    }
}
