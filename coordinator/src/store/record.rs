//! Records in memory, and the form in which one record is stored.

use super::StoreError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Counts committed transactions.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Revision(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub revision: Revision,
    /// JSON.
    pub value: Vec<u8>,
}

/// The form of a stored record; another form gets another number.
const FORM: u8 = 1;
/// Bytes of the checksum: 64 bits tell damage from data, they do not keep out an attacker.
const CHECKSUM: usize = 8;
const HEAD: usize = 1 + CHECKSUM + 8;

impl Record {
    /// form, checksum of (key, revision, value), revision, value.
    pub fn encode(&self, key: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.value.len());
        bytes.push(FORM);
        bytes.extend_from_slice(&self.checksum(key));
        bytes.extend_from_slice(&self.revision.0.to_be_bytes());
        bytes.extend_from_slice(&self.value);
        bytes
    }

    pub fn decode(key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |reason: &str| StoreError::Corrupt(format!("{key}: {reason}"));
        let [FORM, rest @ ..] = bytes else {
            return Err(damaged("not a record of this version"));
        };
        let (checksum, rest) = rest
            .split_first_chunk::<CHECKSUM>()
            .ok_or_else(|| damaged("cut short"))?;
        let (revision, value) = rest
            .split_first_chunk::<8>()
            .ok_or_else(|| damaged("cut short"))?;
        let record = Record {
            revision: Revision(u64::from_be_bytes(*revision)),
            value: value.to_vec(),
        };
        if record.checksum(key) != *checksum {
            return Err(damaged("its checksum differs"));
        }
        Ok(record)
    }

    /// The checksum as a number, for sums over many records.
    pub fn sum(&self, key: &str) -> u64 {
        u64::from_be_bytes(self.checksum(key))
    }

    /// The key is part of it, so that a value under a wrong key is noticed too.
    fn checksum(&self, key: &str) -> [u8; CHECKSUM] {
        let mut hash = Sha256::new();
        hash.update((key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update(self.revision.0.to_be_bytes());
        hash.update(&self.value);
        let full = hash.finalize();
        let mut short = [0; CHECKSUM];
        short.copy_from_slice(&full[..CHECKSUM]);
        short
    }
}

pub(crate) type Map = BTreeMap<Arc<str>, Arc<Record>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    pub map: Map,
    pub revision: Revision,
    /// How often something of each kind was written, by the first part of the key.
    pub(super) changes: BTreeMap<String, u64>,
}

impl Records {
    pub fn apply(&mut self, key: Arc<str>, record: Option<Arc<Record>>) {
        let kind = key.split('/').next().unwrap_or_default();
        match self.changes.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.changes.insert(kind.to_owned(), 1);
            }
        }
        match record {
            Some(record) => self.map.insert(key, record),
            None => self.map.remove(&key),
        };
    }

    /// What is on disk instead of what was thought to be: everything may have changed.
    pub fn replace(&mut self, with: Records) {
        let mut changes = std::mem::take(&mut self.changes);
        for key in self.map.keys().chain(with.map.keys()) {
            let kind = key.split('/').next().unwrap_or_default();
            *changes.entry(kind.to_owned()).or_default() += 1;
        }
        *self = Records { changes, ..with };
    }

    pub fn changes(&self, kind: &str) -> u64 {
        self.changes.get(kind).copied().unwrap_or_default()
    }

    pub fn get(&self, key: &str) -> Option<Arc<Record>> {
        self.map.get(key).cloned()
    }

    pub fn below(&self, prefix: &str) -> Vec<(Arc<str>, Arc<Record>)> {
        self.range(prefix)
            .map(|(key, record)| (Arc::clone(key), Arc::clone(record)))
            .collect()
    }

    /// The last ones, last first.
    pub fn last_below(&self, prefix: &str, limit: usize) -> Vec<(Arc<str>, Arc<Record>)> {
        let end = after(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.map
            .range::<str, _>((Bound::Included(prefix), end))
            .rev()
            .take(limit)
            .map(|(key, record)| (Arc::clone(key), Arc::clone(record)))
            .collect()
    }

    pub fn range<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<Record>)> {
        self.map
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }
}

/// The first text that is above everything with this prefix; prefixes end in '/', which is followed by '0'.
fn after(prefix: &str) -> Option<String> {
    prefix.strip_suffix('/').map(|text| format!("{text}0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = Record {
            revision: Revision(7),
            value: b"{\"a\":1}".to_vec(),
        };
        let bytes = record.encode("node/a");
        assert_eq!(Record::decode("node/a", &bytes).unwrap(), record);
        assert!(Record::decode("node/b", &bytes).is_err());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                assert!(Record::decode("node/a", &wrong).is_err(), "{at} {bit}");
            }
            assert!(Record::decode("node/a", &bytes[..at]).is_err(), "{at}");
        }
    }
}
