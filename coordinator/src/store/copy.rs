//! All records of one moment, line by line: what a backup holds, and a new store made from it.

use super::lock::Lock;
use super::record::{Records, Revision};
use super::recovery::{self, Places};
use super::tail::Written;
use super::{Store, StoreError, line};
use std::path::Path;

/// Records are shared with the store that they come from, so that a copy costs no second one.
#[derive(Debug, Default)]
pub struct Copy {
    records: Records,
}

impl Store {
    /// What is durable at this moment. Changes go on meanwhile and are not part of it.
    pub fn copy(&self) -> Copy {
        Copy {
            records: self.shared.records(Records::clone),
        }
    }

    /// An error if a coordinator that runs has it open.
    pub fn check_unused(folder: &Path) -> Result<(), StoreError> {
        Lock::take(folder).map(drop)
    }

    /// Makes a store in a folder that does not exist yet, whole or not at all.
    pub fn create(folder: &Path, copy: &Copy) -> Result<(), StoreError> {
        let places = Places {
            folder: folder.to_owned(),
        };
        recovery::create(&places, copy.records.clone())
    }
}

impl Copy {
    pub fn at(revision: Revision) -> Self {
        let mut copy = Copy::default();
        copy.records.revision = revision;
        copy
    }

    pub fn revision(&self) -> Revision {
        self.records.revision
    }

    pub fn len(&self) -> usize {
        self.records.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.map.is_empty()
    }

    /// One for each record.
    pub fn lines(&self) -> impl Iterator<Item = Result<String, StoreError>> {
        self.records.map.iter().map(|(key, record)| {
            let written = Written::new(key, Some(record))?;
            line::encode(&written).map_err(|error| StoreError::Encode {
                key: key.to_string(),
                reason: error.to_string(),
            })
        })
    }

    /// Takes one such line back. Returns whether it was whole and new.
    pub fn add(&mut self, text: &str) -> bool {
        let before = self.len();
        match line::decode::<Written>(text) {
            Some(written) => written.apply(&mut self.records),
            None => return false,
        }
        self.len() > before
    }
}
