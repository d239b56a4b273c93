//! The database: sled 0.34, used in the one way that keeps what it was given.
//!
//! - Its flush is no fsync on Linux, so a second handle on its file does that before anything is acknowledged.
//! - A crash while it writes a snapshot leaves "snap.*.generating", which it would take for the newest one: removed
//!   before it opens.
//! - It may panic on damaged files: every call is guarded, and a panic counts as damage.
//! - Every record has a checksum, and one more record says how many there are and what their checksums add up to,
//!   so that records that are missing are noticed as well.

use super::StoreError;
use super::record::{Record, Records, Revision};
use super::staged::Writes;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pages that sled keeps in memory. All records are in memory anyway, so this only serves its writes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Free space below which nothing is written any more: sled cannot go on after a write that hit the end of the disk.
const MIN_FREE: u64 = 8 * 1024 * 1024;
/// sled's threads end within milliseconds; beyond this they hang.
const RELEASE: Duration = Duration::from_secs(5);
/// A lock cannot be waited for with a limit, so it is tried this often.
const RELEASE_POLL: Duration = Duration::from_millis(1);
/// Where the summary lies; no [`super::Key`] has this form.
const SUMMARY: &str = "summary";

pub(crate) struct Disk {
    folder: PathBuf,
    db: sled::Db,
    /// sled's own file once more.
    sync: File,
    summary: Summary,
}

/// Of all records together. Written with every group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Summary {
    count: u64,
    sum: u64,
}

impl Disk {
    /// Opens the database and reads all of it.
    pub fn open(folder: &Path) -> Result<(Self, Records), StoreError> {
        Disk::open_or_make(folder, false)
    }

    fn open_or_make(folder: &Path, new: bool) -> Result<(Self, Records), StoreError> {
        remove_unfinished(folder)?;
        wait_for_release(&folder.join("db"))?;
        guard(|| {
            let db = sled::Config::new()
                .path(folder)
                .mode(sled::Mode::HighThroughput)
                .flush_every_ms(None)
                .use_compression(false)
                .cache_capacity(CACHE_BYTES)
                .open()
                .map_err(|error| sled_error(folder, &error))?;
            let file = folder.join("db");
            let sync = File::open(&file).map_err(|error| StoreError::io("open", &file, &error))?;
            sync_folder(folder)?;
            let (records, summary) = match load(folder, &db, new) {
                Ok(loaded) => loaded,
                Err(error) => {
                    abandon(db);
                    return Err(error);
                }
            };
            let disk = Disk {
                folder: folder.to_owned(),
                db,
                sync,
                summary,
            };
            Ok((disk, records))
        })
    }

    /// Makes a database that holds these records. To be made under another name and then moved to its place.
    pub fn create(folder: &Path, records: &Records) -> Result<(), StoreError> {
        let (mut disk, present) = Disk::open_or_make(folder, true)?;
        let writes = records
            .map
            .iter()
            .map(|(key, record)| (Arc::clone(key), Some(Arc::clone(record))))
            .collect();
        disk.write(&present, &writes, records.revision)?;
        disk.close()
    }

    /// Returns once the group is on the disk. After an error this database has to be opened anew.
    pub fn write(
        &mut self,
        base: &Records,
        writes: &Writes,
        revision: Revision,
    ) -> Result<(), StoreError> {
        let mut summary = self.summary;
        let mut batch = sled::Batch::default();
        for (key, record) in writes {
            if let Some(old) = base.get(key) {
                summary.remove(key, &old);
            }
            match record {
                Some(record) => {
                    summary.add(key, record);
                    batch.insert(key.as_bytes(), record.encode(key));
                }
                None => batch.remove(key.as_bytes()),
            }
        }
        batch.insert(SUMMARY, summary.record(revision)?.encode(SUMMARY));
        guard(|| {
            let fail = |error: sled::Error| sled_error(&self.folder, &error);
            self.db.apply_batch(batch).map_err(fail)?;
            self.db.flush().map_err(fail)?;
            let file = self.folder.join("db");
            self.sync
                .sync_all()
                .map_err(|error| StoreError::io("sync", &file, &error))
        })?;
        self.summary = summary;
        Ok(())
    }

    pub fn close(self) -> Result<(), StoreError> {
        guard(|| {
            drop(self.db);
            self.sync
                .sync_all()
                .map_err(|error| StoreError::io("sync", &self.folder, &error))
        })
    }

    /// For one that turned out not to be what it should be.
    pub fn abandon(self) {
        abandon(self.db);
    }

    /// Asked before each write.
    pub fn check_space(&self) -> Result<(), StoreError> {
        let stat = statvfs(&self.folder)
            .map_err(|errno| StoreError::io("look at", &self.folder, &errno.into()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free < MIN_FREE {
            return Err(StoreError::NoSpace(self.folder.clone()));
        }
        Ok(())
    }
}

impl Summary {
    fn add(&mut self, key: &str, record: &Record) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(record.sum(key));
    }

    fn remove(&mut self, key: &str, record: &Record) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(record.sum(key));
    }

    fn record(&self, revision: Revision) -> Result<Record, StoreError> {
        let value = serde_json::to_vec(self).map_err(|error| StoreError::Encode {
            key: SUMMARY.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Record { revision, value })
    }
}

fn load(folder: &Path, db: &sled::Db, new: bool) -> Result<(Records, Summary), StoreError> {
    let mut records = Records::default();
    let mut counted = Summary::default();
    let mut stated = None;
    for item in db.iter() {
        let (key, bytes) = item.map_err(|error| sled_error(folder, &error))?;
        let key = std::str::from_utf8(&key)
            .map_err(|_| StoreError::Corrupt("a key is not text".to_owned()))?;
        let record = Record::decode(key, &bytes)?;
        if key == SUMMARY {
            stated = Some(record);
        } else {
            counted.add(key, &record);
            records.map.insert(key.into(), Arc::new(record));
        }
    }
    let stated = match stated {
        Some(stated) => stated,
        // Just being made.
        None if new => return Ok((records, counted)),
        None => return Err(StoreError::Corrupt("its summary is missing".to_owned())),
    };
    let summary: Summary = serde_json::from_slice(&stated.value)
        .map_err(|error| StoreError::Corrupt(format!("its summary: {error}")))?;
    if summary != counted {
        return Err(StoreError::Corrupt(format!(
            "{} records are there instead of {}, or others than were written",
            counted.count, summary.count
        )));
    }
    records.revision = stated.revision;
    Ok((records, summary))
}

fn remove_unfinished(folder: &Path) -> Result<(), StoreError> {
    let fail = |error: std::io::Error| StoreError::io("clean", folder, &error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(fail)?;
        }
    }
    Ok(())
}

/// Closing would write, and sled may panic over what it does not understand. The files stay as they are, to be moved
/// aside; their lock ends with the process.
fn abandon(db: sled::Db) {
    std::mem::forget(db);
}

/// A closed sled lets go of its file a little later, when its own threads have ended; until then it cannot be opened.
fn wait_for_release(file: &Path) -> Result<(), StoreError> {
    let fail = |error: std::io::Error| StoreError::io("lock", file, &error);
    let mut handle = match File::open(file) {
        Ok(handle) => handle,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    let deadline = Instant::now() + RELEASE;
    loop {
        handle = match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
            Ok(_released) => return Ok(()),
            Err((handle, Errno::EWOULDBLOCK)) if Instant::now() < deadline => handle,
            Err((_, errno)) => return Err(fail(errno.into())),
        };
        std::thread::sleep(RELEASE_POLL);
    }
}

pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|handle| handle.sync_all())
        .map_err(|error| StoreError::io("sync", folder, &error))
}

fn guard<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // Nothing that a panic leaves half done is used again: the database is closed after any error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::Corrupt(
            "the database's own check failed".to_owned(),
        ))
    })
}

/// What the system refuses is an IO error; what sled does not understand is damage.
fn sled_error(folder: &Path, error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Io(io) if io.kind() == ErrorKind::StorageFull => {
            StoreError::NoSpace(folder.to_owned())
        }
        sled::Error::Io(io) if io.raw_os_error().is_some() => StoreError::io("use", folder, io),
        sled::Error::Io(_)
        | sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => StoreError::Corrupt(error.to_string()),
    }
}
