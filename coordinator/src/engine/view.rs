//! What a round looks at. Records are decoded once for each time that they were written: a loop looks many times a second.

use super::agents::AgentState;
use super::cluster::ClusterLoop;
use super::observe::{self, Sources};
use super::records::*;
use super::shared::{Shared, stored};
use super::{apply, wants};
use crate::store::{Entry, Held, Key, Kind, Prefix, Revision};
use quorate_planner::facts::{Facts, Running};
use quorate_planner::intent::{Intent, NodeName};
use quorate_planner::time::Time;
use quorate_proto::v1::Problem;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// What is durable of a cluster.
pub(super) struct Durable {
    pub record: Arc<ClusterRecord>,
    /// The record's, resolved.
    pub intent: Arc<Intent>,
    /// The record's revision in the store: operators write it too.
    pub stored: Revision,
    pub operation: Option<OperationRecord>,
    pub slot: Option<SlotRecord>,
    pub pending: Vec<Arc<OrderRecord>>,
    pub now: Time,
}

/// That, and what was observed.
pub(super) struct View {
    pub durable: Durable,
    pub agents: BTreeMap<String, AgentState>,
    pub facts: Facts,
}

impl Deref for View {
    type Target = Durable;

    fn deref(&self) -> &Durable {
        &self.durable
    }
}

/// The record as of this revision, and what it comes to.
#[derive(Clone)]
struct Wish {
    stored: Revision,
    record: Arc<ClusterRecord>,
    intent: Arc<Intent>,
}

/// What is held between two looks.
pub(super) struct Reader {
    key: Key,
    wish: Option<Wish>,
    orders: Held<OrderRecord>,
    findings: Held<FindingsRecord>,
}

impl Reader {
    pub fn new(cluster: &str) -> Self {
        Reader {
            key: Key::cluster(cluster),
            wish: None,
            orders: Held::new(Prefix::under(Kind::Order, &[cluster])),
            findings: Held::new(Prefix::under(Kind::Finding, &[cluster])),
        }
    }

    fn wish(&mut self, shared: &Shared) -> Result<Option<Wish>, Problem> {
        let newest = shared.store.revision_of(&self.key);
        let held = self.wish.as_ref().map(|wish| wish.stored);
        if newest.is_none() || newest != held {
            let entry: Option<Entry<ClusterRecord>> =
                shared.store.entry(&self.key).map_err(stored)?;
            self.wish = entry.map(|entry| Wish {
                stored: entry.revision,
                intent: Arc::new(wants::intent(&entry.value)),
                record: Arc::new(entry.value),
            });
        }
        Ok(self.wish.clone())
    }
}

impl ClusterLoop {
    pub(super) fn durable(&mut self) -> Result<Option<Durable>, Problem> {
        let Some(wish) = self.reader.wish(&self.shared)? else {
            return Ok(None);
        };
        let operation = match &wish.record.operation {
            Some(id) => self.shared.operation(id)?,
            None => None,
        };
        let pending = self.reader.orders.look(&self.shared.store);
        Ok(Some(Durable {
            record: wish.record,
            intent: wish.intent,
            stored: wish.stored,
            operation,
            slot: self.shared.slot(&self.cluster)?,
            pending: pending
                .map_err(stored)?
                .into_iter()
                .map(|(_, order)| order)
                .collect(),
            now: Time(self.shared.now_ms()),
        }))
    }

    pub(super) fn look(&mut self) -> Result<Option<View>, Problem> {
        let Some(durable) = self.durable()? else {
            return Ok(None);
        };
        let at_work = durable.operation.is_some() || durable.slot.is_some();
        let agents = self.shared.agents_of(&durable.record);
        let findings = self.reader.findings.look(&self.shared.store);
        let findings = findings.map_err(stored)?.into_iter().collect();
        let apply = |operation: &OperationRecord| operation.kind == apply::KIND;
        let sources = Sources {
            record: &durable.record,
            intent: &durable.intent,
            agents: &agents,
            change: durable.slot.as_ref().map(|slot| slot.change.clone()),
            troubles: &self.troubles,
            running: running(&durable.pending, &self.setting_up),
            findings: &findings,
            fresh_ms: if at_work {
                observe::FRESH_AT_WORK_MS
            } else {
                observe::FRESH_AT_REST_MS
            },
            ended: &self.ended,
            objects_ended_ms: self.objects_ended_ms,
            approved_ms: self.approved_ms,
            membership_ended_ms: self.membership_ended_ms,
            proven: &self.proven,
            verify: durable.operation.as_ref().is_some_and(apply),
            storage: self.shared.storage.said(&self.cluster),
            now: durable.now,
        };
        let facts = observe::facts(&sources, &mut self.tracker);
        self.shared.lives.keep(&self.cluster, &facts);
        Ok(Some(View {
            durable,
            agents,
            facts,
        }))
    }
}

/// Orders under way, and steps that are being set up and have no order of their own yet.
pub(super) fn running(pending: &[Arc<OrderRecord>], setting_up: &[Running]) -> Vec<Running> {
    let orders = pending.iter().map(|pending| Running {
        on: NodeName(pending.on.clone()),
        kind: pending.step,
        subject: NodeName(pending.subject.clone()),
    });
    orders.chain(setting_up.iter().cloned()).collect()
}
