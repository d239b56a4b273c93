//! A group of transactions on its way to the disk: each is judged on what the ones before it will have written.

use super::record::{Record, Records, Revision};
use super::transaction::{Change, Condition};
use super::{AUDIT_KEPT, Key, Kind, Prefix, StoreError, Transaction};
use std::collections::BTreeMap;
use std::sync::Arc;

/// None: removed.
pub(crate) type Writes = BTreeMap<Arc<str>, Option<Arc<Record>>>;

pub(crate) struct Staged<'a> {
    base: &'a Records,
    pub writes: Writes,
    pub revision: Revision,
    audit: AuditRange,
}

/// First and next number of the audit trail.
#[derive(Clone, Copy)]
struct AuditRange {
    first: u64,
    next: u64,
}

impl<'a> Staged<'a> {
    pub fn over(base: &'a Records) -> Self {
        Staged {
            base,
            writes: Writes::new(),
            revision: base.revision,
            audit: AuditRange::of(base),
        }
    }

    /// Adds all of the transaction, or nothing of it.
    pub fn add(&mut self, transaction: Transaction) -> Result<Revision, StoreError> {
        if let Some(broken) = transaction.broken {
            return Err(broken);
        }
        for condition in &transaction.conditions {
            self.check(condition)?;
        }
        let revision = Revision(self.revision.0 + 1);
        for change in transaction.changes {
            match change {
                Change::Put(key, value) => self.put(&key, Record { revision, value }),
                Change::Delete(key) => self.delete(key.as_str()),
                Change::DeleteAll(prefix) => self.delete_all(&prefix),
            }
        }
        for line in &transaction.audit {
            let key = Key::audit(self.audit.next);
            let value = serde_json::to_vec(line).map_err(|error| StoreError::Encode {
                key: key.to_string(),
                reason: error.to_string(),
            })?;
            self.put(&key, Record { revision, value });
            self.audit.next += 1;
        }
        self.shorten_audit();
        self.revision = revision;
        Ok(revision)
    }

    fn check(&self, condition: &Condition) -> Result<(), StoreError> {
        let (key, expected) = match condition {
            Condition::Absent(key) => (key, None),
            Condition::Unchanged(key, revision) => (key, Some(*revision)),
        };
        let present = self.get(key.as_str()).map(|record| record.revision);
        if present == expected {
            Ok(())
        } else {
            Err(StoreError::Conflict(key.to_string()))
        }
    }

    fn get(&self, key: &str) -> Option<Arc<Record>> {
        match self.writes.get(key) {
            Some(written) => written.clone(),
            None => self.base.get(key),
        }
    }

    fn put(&mut self, key: &Key, record: Record) {
        self.writes
            .insert(key.as_str().into(), Some(Arc::new(record)));
    }

    fn delete(&mut self, key: &str) {
        self.writes.insert(key.into(), None);
    }

    fn delete_all(&mut self, prefix: &Prefix) {
        let base = self.base.range(prefix.as_str()).map(|(key, _)| key.clone());
        let staged = self.writes.keys().cloned();
        let keys: Vec<_> = base
            .chain(staged.filter(|key| key.starts_with(prefix.as_str())))
            .collect();
        for key in keys {
            self.delete(&key);
        }
    }

    fn shorten_audit(&mut self) {
        while self.audit.next - self.audit.first > AUDIT_KEPT as u64 {
            self.delete(Key::audit(self.audit.first).as_str());
            self.audit.first += 1;
        }
    }
}

impl AuditRange {
    fn of(records: &Records) -> Self {
        let prefix = Prefix::all(Kind::Audit);
        let sequence = |key: &str| prefix.rest(key).parse::<u64>().ok();
        let first = records.range(prefix.as_str()).next();
        let first = first.and_then(|(key, _)| sequence(key));
        let last = records.last_below(prefix.as_str(), 1);
        let last = last.first().and_then(|(key, _)| sequence(key));
        let next = last.map_or(1, |last| last.saturating_add(1));
        AuditRange {
            first: first.unwrap_or(next),
            next,
        }
    }
}
