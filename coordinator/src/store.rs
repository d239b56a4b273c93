//! The coordinator's durable state: typed records in memory, every change on disk before it is acknowledged.
//!
//! ```text
//!   read, scan ──> records in memory <── published after ──┐
//!   commit ──> bounded queue ──> one writer thread ──> one group: sled batch + flush + fsync
//! ```
//!
//! - [`Key`], [`Prefix`], [`Transaction`]: what callers use. Reads see only what is durable.
//! - [`Held`]: records that are read again and again.
//! - `disk`: sled behind the recipe that makes it safe; `export`, `tail`: the second copy it is rebuilt from;
//!   `recovery`: what happens at open; `durable`: these together; `simulated`: a disk for simulations.

mod copy;
mod disk;
mod durable;
mod error;
mod export;
mod held;
mod key;
pub(crate) mod line;
mod lock;
mod record;
mod recovery;
mod simulated;
mod staged;
mod tail;
mod transaction;
mod writer;

pub use copy::Copy;
pub use error::StoreError;
pub use held::Held;
pub use key::{Key, Kind, Prefix, number};
pub use record::Revision;
pub(crate) use recovery::GAP;
pub use simulated::SimulatedDisk;
pub use transaction::{AuditRecord, Condition, Transaction};

use durable::Durable;
use record::{Record, Records};
use recovery::Places;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};
use writer::{Backend, Job, Memory};

/// Transactions that wait for the writer. Callers beyond it wait too, which bounds memory when the disk stalls.
const QUEUE: usize = 4096;
/// More at a time would not be read.
const MAX_NOTICES: usize = 20;
/// Lines of the audit trail that are kept; the oldest go first.
pub const AUDIT_KEPT: usize = 20_000;
/// Finished operations that are kept, for `quorate operations`.
pub const FINISHED_OPERATIONS_KEPT: usize = 500;

/// A value and the revision that wrote it, for [`Condition::Unchanged`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    pub value: T,
    pub revision: Revision,
}

type Answer = oneshot::Receiver<Result<Revision, StoreError>>;

#[cfg(not(test))]
async fn written(answer: Answer) -> Result<Revision, StoreError> {
    answer.await.map_err(|_| StoreError::Closed)?
}

/// Virtual time stands still while a blocking task runs. Otherwise it would run ahead of the writer, which lives in real time.
#[cfg(test)]
async fn written(answer: Answer) -> Result<Revision, StoreError> {
    let waiting = tokio::task::spawn_blocking(move || answer.blocking_recv());
    let answered = waiting.await.map_err(|_| StoreError::Closed)?;
    answered.map_err(|_| StoreError::Closed)?
}

pub struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Job>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the writer share.
pub(crate) struct Shared {
    records: RwLock<Records>,
    notices: RwLock<Vec<String>>,
}

impl Store {
    /// Opens or makes the store in this folder, which no other process may have open. A damaged database is restored
    /// from its newest export, which [`Store::notices`] then tells.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let places = Places {
            folder: folder.to_owned(),
        };
        let opened = recovery::open(&places)?;
        let (durable, records, notices) = Durable::new(places, opened);
        Ok(Store::start(durable, records, notices))
    }

    /// Lives as long as the process: for tests and simulations.
    pub fn in_memory() -> Self {
        Store::start(Memory, Records::default(), Vec::new())
    }

    /// On a disk that a simulation drives, in the virtual time of the runtime that this is called in.
    pub fn simulated(disk: &Arc<SimulatedDisk>) -> Self {
        let (number, records) = disk.open();
        let shared = Arc::new(Shared {
            records: RwLock::new(records),
            notices: RwLock::default(),
        });
        let (queue, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(simulated::run(
            Arc::clone(disk),
            number,
            Arc::clone(&shared),
            jobs,
        ));
        Store {
            shared,
            queue,
            writer: Mutex::new(None),
        }
    }

    fn start(backend: impl Backend, records: Records, notices: Vec<String>) -> Self {
        let shared = Arc::new(Shared {
            records: RwLock::new(records),
            notices: RwLock::new(notices),
        });
        let (queue, jobs) = mpsc::channel(QUEUE);
        let writer = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || writer::run(backend, &shared, jobs)
        });
        Store {
            shared,
            queue,
            writer: Mutex::new(Some(writer)),
        }
    }

    pub fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        Ok(self.entry(key)?.map(|entry| entry.value))
    }

    /// With the revision that wrote it.
    pub fn entry<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Entry<T>>, StoreError> {
        let record = self.shared.records(|records| records.get(key.as_str()));
        record
            .map(|record| decode(key.as_str(), &record))
            .transpose()
    }

    /// Which transaction wrote it last; none if it is not there.
    pub fn revision_of(&self, key: &Key) -> Option<Revision> {
        let record = self.shared.records(|records| records.get(key.as_str()));
        record.map(|record| record.revision)
    }

    /// In the order of the keys; each with what its key adds to the prefix.
    pub fn scan<T: DeserializeOwned>(
        &self,
        prefix: &Prefix,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let found = self.scan_entries(prefix)?;
        Ok(found
            .into_iter()
            .map(|(rest, entry)| (rest, entry.value))
            .collect())
    }

    pub fn scan_entries<T: DeserializeOwned>(
        &self,
        prefix: &Prefix,
    ) -> Result<Vec<(String, Entry<T>)>, StoreError> {
        let found = self
            .shared
            .records(|records| records.below(prefix.as_str()));
        found
            .into_iter()
            .map(|(key, record)| Ok((prefix.rest(&key), decode(&key, &record)?)))
            .collect()
    }

    /// What is to be deleted so that only the newest `kept` of those that `ended` remain; the others always stay. For
    /// keys that sort by age, such as operations'. Returns what the keys add to the prefix.
    pub fn surplus<T: DeserializeOwned>(
        &self,
        prefix: &Prefix,
        kept: usize,
        ended: impl Fn(&T) -> bool,
    ) -> Result<Vec<String>, StoreError> {
        let mut over: Vec<String> = self
            .scan::<T>(prefix)?
            .into_iter()
            .filter(|(_, value)| ended(value))
            .map(|(rest, _)| rest)
            .collect();
        over.truncate(over.len().saturating_sub(kept));
        Ok(over)
    }

    /// The newest lines of the audit trail, newest first, with their sequence numbers.
    pub fn audit(&self, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        let prefix = Prefix::all(Kind::Audit);
        let found = self
            .shared
            .records(|records| records.last_below(prefix.as_str(), limit));
        found
            .into_iter()
            .map(|(key, record)| {
                let sequence = prefix.rest(&key).parse().unwrap_or_default();
                Ok((sequence, decode(&key, &record)?.value))
            })
            .collect()
    }

    /// Grows whenever a record of this kind is written: whoever has seen this number has seen them all.
    pub fn changes(&self, kind: Kind) -> u64 {
        self.shared.records(|records| records.changes(kind.word()))
    }

    /// Of the newest durable change.
    pub fn revision(&self) -> Revision {
        self.shared.records(|records| records.revision)
    }

    /// Returns once all of it is on disk; nothing of it is written after an error, except that after
    /// [`StoreError::Io`] and [`StoreError::NoSpace`] the outcome may be either.
    /// Dropping the future does not take the transaction back.
    pub async fn commit(&self, transaction: Transaction) -> Result<Revision, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .send(Job::Commit(transaction, reply))
            .await
            .map_err(|_| StoreError::Closed)?;
        written(answer).await
    }

    /// [`Store::commit`] for code outside of an async runtime.
    pub fn commit_blocking(&self, transaction: Transaction) -> Result<Revision, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .blocking_send(Job::Commit(transaction, reply))
            .map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    /// What an operator has to know of the store, for `quorate status`: a restore above all.
    pub fn notices(&self) -> Vec<String> {
        let notices = self.shared.notices.read();
        notices.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one, once.
    pub fn notice(&self, text: String) {
        let mut notices = self
            .shared
            .notices
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if notices.len() < MAX_NOTICES && !notices.contains(&text) {
            notices.push(text);
        }
    }

    /// Writes what is queued and ends the writer. Further commits fail.
    pub async fn close(&self) {
        if self.queue.send(Job::Close).await.is_ok() {
            self.queue.closed().await;
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let writer = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // A simulated writer is a task, which ends with the queue.
        let Some(writer) = writer.take() else {
            return;
        };
        // Nobody else can send now, so a full queue only means that the writer is still busy with what was sent.
        let mut close = Job::Close;
        while let Err(mpsc::error::TrySendError::Full(again)) = self.queue.try_send(close) {
            close = again;
            std::thread::yield_now();
        }
        // A writer that panicked has nothing left to write.
        let _ = writer.join();
    }
}

impl Shared {
    fn records<T>(&self, look: impl FnOnce(&Records) -> T) -> T {
        look(&self.records.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Records)) {
        change(&mut self.records.write().unwrap_or_else(PoisonError::into_inner));
    }
}

fn decode<T: DeserializeOwned>(key: &str, record: &Record) -> Result<Entry<T>, StoreError> {
    let value = serde_json::from_slice(&record.value).map_err(|error| StoreError::Decode {
        key: key.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Entry {
        value,
        revision: record.revision,
    })
}

#[cfg(test)]
mod tests;
