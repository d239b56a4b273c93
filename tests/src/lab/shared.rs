//! What hosts need of their lab.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::host::Host;
use super::names;
use super::place::Place;
use super::record::Record;

/// What hosts need of their lab.
pub(super) struct Shared {
    pub place: Place,
    pub base: PathBuf,
    record: Mutex<Record>,
    shares: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Shared {
    pub(super) fn new(place: Place, base: PathBuf) -> Result<Self> {
        let record = Mutex::new(Record::load(&place)?);
        Ok(Self {
            place,
            base,
            record,
            shares: Mutex::default(),
        })
    }

    pub(super) fn existing(self: &Arc<Self>) -> Vec<Host> {
        let record = lock(&self.record);
        let host = |(name, ip): (&String, &Ipv4Addr)| Host::existing(Arc::clone(self), name, *ip);
        record.hosts.iter().map(host).collect()
    }

    /// Changes what the lab holds, and tells it to every host.
    pub(super) fn change(&self, change: impl FnOnce(&mut Record) -> Result<()>) -> Result<()> {
        let mut record = lock(&self.record);
        // Saved even if it failed half way, so that a later run finds what was begun.
        let changed = change(&mut record);
        record.save(&self.place)?;
        changed?;
        names::write_all(&self.place, &record)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        lock(&self.record).hosts.contains_key(name)
    }

    pub(super) fn shares(&self) -> MutexGuard<'_, Vec<(PathBuf, PathBuf)>> {
        lock(&self.shares)
    }
}

/// A panic elsewhere leaves these values whole, and hosts must still be removed after it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
