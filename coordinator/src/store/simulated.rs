//! A disk for simulations: in memory, outliving the coordinators that write to it, taking its time, and cut off by crashes.
//!
//! The queue, the groups and the conditions are those of every store; only the thread is a task here, so that a schedule runs in
//! virtual time and follows from its seed.

use super::record::{Records, Revision};
use super::staged::Writes;
use super::writer::{Backend, Job, answer_all, collect, commit};
use super::{Shared, StoreError};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long one half of a write takes: to the disk, and from there to the caller.
pub type Latency = Box<dyn Fn() -> Duration + Send + Sync>;

pub struct SimulatedDisk {
    latency: Latency,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is durable.
    records: Records,
    /// Coordinators that opened it so far; only the last one's writes arrive.
    lives: u64,
}

impl SimulatedDisk {
    pub fn new(latency: Latency) -> Arc<Self> {
        Arc::new(SimulatedDisk {
            latency,
            state: Mutex::default(),
        })
    }

    /// The coordinator has died: what it has under way is lost, unless it is durable already.
    pub fn crash(&self) {
        self.lock().lives += 1;
    }

    /// All durable records, for whoever checks them.
    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.lock();
        let records = state.records.map.iter();
        records
            .map(|(key, record)| (key.to_string(), record.value.clone()))
            .collect()
    }

    /// The last part of each durable key of this kind.
    pub fn keys(&self, kind: &str) -> BTreeSet<String> {
        let state = self.lock();
        let of = |key: &Arc<str>| {
            let mut parts = key.split('/');
            (parts.next() == Some(kind)).then(|| parts.next_back().unwrap_or_default().to_owned())
        };
        state.records.map.keys().filter_map(of).collect()
    }

    pub(super) fn open(&self) -> (u64, Records) {
        let mut state = self.lock();
        state.lives += 1;
        (state.lives, state.records.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Life {
    disk: Arc<SimulatedDisk>,
    number: u64,
}

impl Backend for Life {
    fn ready(&mut self, _: &Shared) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(
        &mut self,
        _: &Records,
        writes: &Writes,
        revision: Revision,
    ) -> Result<(), StoreError> {
        let mut state = self.disk.lock();
        if state.lives != self.number {
            return Err(StoreError::Closed);
        }
        for (key, record) in writes {
            state.records.apply(key.clone(), record.clone());
        }
        state.records.revision = revision;
        Ok(())
    }

    fn written(&mut self, _: &Shared) {}

    fn close(&mut self, _: &Shared) {}
}

/// The writer as a task.
pub(super) async fn run(
    disk: Arc<SimulatedDisk>,
    number: u64,
    shared: Arc<Shared>,
    mut jobs: mpsc::Receiver<Job>,
) {
    let mut life = Life { disk, number };
    while let Some(first) = jobs.recv().await {
        // A crash in the first wait loses the group; in the second one it is durable, and nobody was told.
        tokio::time::sleep((life.disk.latency)()).await;
        let (group, close) = collect(first, &mut jobs);
        let answers = commit(&mut life, &shared, group);
        tokio::time::sleep((life.disk.latency)()).await;
        answer_all(answers);
        if close {
            return;
        }
    }
}
