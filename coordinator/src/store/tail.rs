//! What was committed since the last export, line by line. Written after the database and without an fsync of its own:
//! it survives the death of the process, and with the export before it the database can be rebuilt in full. Its last
//! line also tells whether a database has silently lost its newest changes.

use super::line;
use super::record::{Record, Records, Revision};
use super::staged::Writes;
use super::{StoreError, number};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PREFIX: &str = "tail-";

pub(crate) struct Tail {
    path: PathBuf,
    file: File,
    last: Revision,
    pub commits: u64,
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Group {
    from: Revision,
    to: Revision,
    writes: Vec<Written>,
}

/// A record, or the key of a removed one.
#[derive(Serialize, Deserialize)]
pub(crate) struct Written {
    pub key: String,
    pub revision: Revision,
    pub value: Option<Box<RawValue>>,
}

impl Tail {
    /// A new file for what follows the given revision.
    pub fn start(folder: &Path, revision: Revision) -> Result<Self, StoreError> {
        let path = folder.join(format!("{PREFIX}{}", number(revision.0)));
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            // The database is at `revision`, so a file of that name holds no whole line.
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::io("open", &path, &error))?;
        Ok(Tail {
            path,
            file,
            last: revision,
            commits: 0,
            bytes: 0,
        })
    }

    pub fn append(&mut self, writes: &Writes, revision: Revision) -> Result<(), StoreError> {
        let group = Group {
            from: self.last,
            to: revision,
            writes: writes
                .iter()
                .map(|(key, record)| Written::new(key, record.as_deref()))
                .collect::<Result<_, _>>()?,
        };
        let text = line::encode(&group).map_err(|error| StoreError::Encode {
            key: PREFIX.to_owned(),
            reason: error.to_string(),
        })?;
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| StoreError::io("write", &self.path, &error))?;
        self.commits += revision.0 - self.last.0;
        self.bytes += text.len() as u64;
        self.last = revision;
        Ok(())
    }
}

impl Written {
    pub fn new(key: &str, record: Option<&Record>) -> Result<Self, StoreError> {
        let raw = |record: &Record| {
            let text = String::from_utf8(record.value.clone()).map_err(|error| error.to_string());
            text.and_then(|text| RawValue::from_string(text).map_err(|error| error.to_string()))
                .map_err(|reason| StoreError::Encode {
                    key: key.to_owned(),
                    reason,
                })
        };
        Ok(Written {
            key: key.to_owned(),
            revision: record.map(|record| record.revision).unwrap_or_default(),
            value: record.map(raw).transpose()?,
        })
    }

    pub fn apply(self, records: &mut Records) {
        let key: Arc<str> = self.key.into();
        match self.value {
            Some(value) => {
                let record = Record {
                    revision: self.revision,
                    value: value.get().as_bytes().to_vec(),
                };
                records.map.insert(key, Arc::new(record));
            }
            None => {
                records.map.remove(&key);
            }
        }
    }
}

/// All tails with the revision that each starts from, oldest first.
pub(crate) fn list(folder: &Path) -> Result<Vec<(Revision, PathBuf)>, StoreError> {
    super::export::numbered(folder, PREFIX, "")
}

/// The newest revision that any tail knows of.
pub(crate) fn newest(folder: &Path) -> Result<Option<Revision>, StoreError> {
    for (_, path) in list(folder)?.into_iter().rev() {
        let mut newest = None;
        read(&path, |group| newest = newest.max(Some(group.to)))?;
        if newest.is_some() {
            return Ok(newest);
        }
    }
    Ok(None)
}

/// Brings records of an older revision up to the newest one that the tails hold without a gap.
pub(crate) fn replay(folder: &Path, records: &mut Records) -> Result<(), StoreError> {
    for (_, path) in list(folder)? {
        read(&path, |group| {
            if group.from == records.revision {
                for written in group.writes {
                    written.apply(records);
                }
                records.revision = group.to;
            }
        })?;
    }
    Ok(())
}

/// Up to the first line that is damaged or cut short.
fn read(path: &Path, mut each: impl FnMut(Group)) -> Result<(), StoreError> {
    let fail = |error: std::io::Error| StoreError::io("read", path, &error);
    let mut reader = BufReader::new(File::open(path).map_err(fail)?);
    let mut text = String::new();
    loop {
        text.clear();
        match reader.read_line(&mut text) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(()),
            Err(error) => return Err(fail(error)),
        }
        match line::decode(&text) {
            Some(group) => each(group),
            None => return Ok(()),
        }
    }
}
