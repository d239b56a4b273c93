//! What is written together, or not at all.

use super::{Key, Prefix, Revision, StoreError};
use serde::{Deserialize, Serialize};

/// Writes, the conditions under which they are right, and a line for the audit trail.
#[derive(Debug, Default)]
pub struct Transaction {
    pub(crate) changes: Vec<Change>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) audit: Vec<AuditRecord>,
    pub(crate) broken: Option<StoreError>,
}

#[derive(Debug)]
pub(crate) enum Change {
    Put(Key, Vec<u8>),
    Delete(Key),
    DeleteAll(Prefix),
}

/// Checked at the moment of the write; one that does not hold is [`StoreError::Conflict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Absent(Key),
    Unchanged(Key, Revision),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    pub unix_ms: i64,
    pub who: String,
    pub what: String,
    pub detail: String,
}

impl Transaction {
    pub fn new() -> Self {
        Transaction::default()
    }

    pub fn put<T: Serialize + ?Sized>(mut self, key: Key, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.changes.push(Change::Put(key, bytes)),
            // Reported by the commit, so that a chain of puts needs no question marks.
            Err(error) => {
                self.broken.get_or_insert(StoreError::Encode {
                    key: key.to_string(),
                    reason: error.to_string(),
                });
            }
        }
        self
    }

    pub fn delete(mut self, key: Key) -> Self {
        self.changes.push(Change::Delete(key));
        self
    }

    pub fn delete_all(mut self, prefix: Prefix) -> Self {
        self.changes.push(Change::DeleteAll(prefix));
        self
    }

    pub fn require(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    pub fn absent(self, key: Key) -> Self {
        self.require(Condition::Absent(key))
    }

    pub fn unchanged(self, key: Key, revision: Revision) -> Self {
        self.require(Condition::Unchanged(key, revision))
    }

    /// `who` is an identity such as "admin/root". No secrets in `detail`.
    pub fn audit(mut self, who: &str, what: &str, detail: impl Into<String>) -> Self {
        self.audit.push(AuditRecord {
            unix_ms: crate::clock::unix_ms(),
            who: who.to_owned(),
            what: what.to_owned(),
            detail: detail.into(),
        });
        self
    }
}
