//! The backend of a real store: database, tail and exports together.

use super::disk::Disk;
use super::lock::Lock;
use super::record::{Records, Revision};
use super::recovery::{Opened, Places};
use super::staged::Writes;
use super::tail::Tail;
use super::writer::Backend;
use super::{Shared, StoreError, export};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// After so many commits or bytes of tail an export is written: bounds the tail and the time that a restore takes.
const EXPORT_COMMITS: u64 = 5_000;
const EXPORT_BYTES: u64 = 16 * 1024 * 1024;

pub(crate) struct Durable {
    places: Places,
    /// None after an error, until the database could be opened again.
    disk: Option<Disk>,
    /// None after an error, until the next export.
    tail: Option<Tail>,
    exporter: Exporter,
    lock: Option<Lock>,
}

impl Durable {
    pub fn new(places: Places, opened: Opened) -> (Self, Records, Vec<String>) {
        let exporter = Exporter::start(places.exports());
        let mut durable = Durable {
            places,
            disk: Some(opened.disk),
            tail: None,
            exporter,
            lock: Some(opened.lock),
        };
        durable.export(&opened.records);
        (durable, opened.records, opened.notices)
    }

    /// Starts a new tail and has the records before it exported.
    fn export(&mut self, records: &Records) {
        match Tail::start(&self.places.exports(), records.revision) {
            Ok(tail) => self.tail = Some(tail),
            Err(error) => {
                tracing::error!(%error, "cannot keep the second copy of the store");
                self.tail = None;
            }
        }
        self.exporter.request(records);
    }

    fn append(&mut self, writes: &Writes, revision: Revision) {
        let Some(tail) = self.tail.as_mut() else {
            return;
        };
        if let Err(error) = tail.append(writes, revision) {
            // The database has it: no reason to refuse the commit.
            tracing::error!(%error, "cannot keep the second copy of the store");
            self.tail = None;
        }
    }
}

impl Backend for Durable {
    fn ready(&mut self, shared: &Shared) -> Result<(), StoreError> {
        if self.disk.is_some() {
            return Ok(());
        }
        let (disk, records) = Disk::open(&self.places.database())?;
        let acknowledged = shared.records(|records| records.revision);
        if records.revision < acknowledged {
            return Err(StoreError::Corrupt(format!(
                "the database ends at revision {}, but {} was committed",
                records.revision.0, acknowledged.0
            )));
        }
        tracing::warn!(revision = records.revision.0, "the store is open again");
        self.disk = Some(disk);
        self.export(&records);
        shared.change(|present| present.replace(records));
        Ok(())
    }

    fn write(
        &mut self,
        base: &Records,
        writes: &Writes,
        revision: Revision,
    ) -> Result<(), StoreError> {
        let disk = self.disk.as_mut().ok_or(StoreError::Closed)?;
        disk.check_space()?;
        match disk.write(base, writes, revision) {
            Ok(()) => {
                self.append(writes, revision);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot write");
                if let Some(disk) = self.disk.take() {
                    let _ = disk.close();
                }
                Err(error)
            }
        }
    }

    fn written(&mut self, shared: &Shared) {
        let due = match &self.tail {
            Some(tail) => tail.commits >= EXPORT_COMMITS || tail.bytes >= EXPORT_BYTES,
            None => true,
        };
        if due && self.exporter.is_idle() {
            let records = shared.records(Records::clone);
            self.export(&records);
        }
    }

    fn close(&mut self, shared: &Shared) {
        self.exporter.stop();
        let records = shared.records(Records::clone);
        if let Err(error) = export::write(&self.places.exports(), &records) {
            tracing::error!(%error, "the last export failed");
        }
        if let Some(Err(error)) = self.disk.take().map(Disk::close) {
            tracing::error!(%error, "the store did not close cleanly");
        }
        self.lock = None;
    }
}

/// Writes exports on a thread of its own, so that commits do not wait for them.
struct Exporter {
    requests: Option<SyncSender<Records>>,
    thread: Option<JoinHandle<()>>,
    busy: Arc<AtomicBool>,
}

impl Exporter {
    fn start(folder: PathBuf) -> Self {
        let (requests, work) = sync_channel::<Records>(1);
        let busy = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let busy = Arc::clone(&busy);
            move || {
                for records in work {
                    if let Err(error) = export::write(&folder, &records) {
                        tracing::error!(%error, "an export failed");
                    }
                    busy.store(false, Ordering::Release);
                }
            }
        });
        Exporter {
            requests: Some(requests),
            thread: Some(thread),
            busy,
        }
    }

    fn is_idle(&self) -> bool {
        !self.busy.load(Ordering::Acquire)
    }

    fn request(&mut self, records: &Records) {
        if let Some(requests) = &self.requests {
            self.busy.store(true, Ordering::Release);
            // Full: one is about to be written, and the next is due soon.
            let _ = requests.try_send(records.clone());
        }
    }

    fn stop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
