//! The logical export: all records as lines of text, from which the database can be made anew.

use super::disk::sync_folder;
use super::record::{Records, Revision};
use super::tail::{self, Written};
use super::{StoreError, line, number};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Exports that are kept: the newest ones, so that a damaged one does not end it.
pub(crate) const KEPT: usize = 5;
const PREFIX: &str = "export-";
const SUFFIX: &str = ".jsonl";
/// The form of the file; another form gets another number.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    form: u32,
    revision: Revision,
    records: usize,
    unix_ms: i64,
}

/// Writes an export durably, then removes what it makes unnecessary.
pub(crate) fn write(folder: &Path, records: &Records) -> Result<(), StoreError> {
    let fail = |error: std::io::Error| StoreError::io("write an export in", folder, &error);
    let encode = |error: serde_json::Error| StoreError::Encode {
        key: PREFIX.to_owned(),
        reason: error.to_string(),
    };
    let temporary = tempfile::NamedTempFile::with_prefix_in(".export-", folder).map_err(fail)?;
    let mut out = BufWriter::new(temporary.as_file());
    let header = Header {
        form: FORM,
        revision: records.revision,
        records: records.map.len(),
        unix_ms: crate::clock::unix_ms(),
    };
    let text = line::encode(&header).map_err(encode)?;
    out.write_all(text.as_bytes()).map_err(fail)?;
    for (key, record) in &records.map {
        let text = line::encode(&Written::new(key, Some(record))?).map_err(encode)?;
        out.write_all(text.as_bytes()).map_err(fail)?;
    }
    out.flush().map_err(fail)?;
    drop(out);
    temporary.as_file().sync_all().map_err(fail)?;
    let name = format!("{PREFIX}{}{SUFFIX}", number(records.revision.0));
    temporary
        .persist(folder.join(name))
        .map_err(|error| fail(error.error))?;
    sync_folder(folder)?;
    prune(folder)
}

/// The newest export that is whole.
pub(crate) fn newest(folder: &Path) -> Result<Option<Records>, StoreError> {
    for (_, path) in list(folder)?.into_iter().rev() {
        if let Some(records) = read(&path)? {
            return Ok(Some(records));
        }
        tracing::error!(path = %path.display(), "an export is damaged, trying an older one");
    }
    Ok(None)
}

pub(crate) fn list(folder: &Path) -> Result<Vec<(Revision, PathBuf)>, StoreError> {
    numbered(folder, PREFIX, SUFFIX)
}

/// None if it is damaged.
fn read(path: &Path) -> Result<Option<Records>, StoreError> {
    let fail = |error: std::io::Error| StoreError::io("read", path, &error);
    let mut reader = BufReader::new(File::open(path).map_err(fail)?);
    let mut text = String::new();
    let mut next = || -> Result<String, StoreError> {
        text.clear();
        match reader.read_line(&mut text) {
            Ok(_) => Ok(text.clone()),
            // Not text: an empty line is as damaged.
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(String::new()),
            Err(error) => Err(fail(error)),
        }
    };
    let Some(header) = line::decode::<Header>(&next()?) else {
        return Ok(None);
    };
    if header.form != FORM {
        return Ok(None);
    }
    let mut records = Records {
        revision: header.revision,
        ..Records::default()
    };
    for _ in 0..header.records {
        let Some(written) = line::decode::<Written>(&next()?) else {
            return Ok(None);
        };
        written.apply(&mut records);
    }
    let whole = next()?.is_empty() && records.map.len() == header.records;
    Ok(whole.then_some(records))
}

/// Keeps the newest exports, and the tails that lead on from the oldest of them.
fn prune(folder: &Path) -> Result<(), StoreError> {
    let exports = list(folder)?;
    let (old, kept) = exports.split_at(exports.len().saturating_sub(KEPT));
    let Some((oldest, _)) = kept.first() else {
        return Ok(());
    };
    let tails = tail::list(folder)?;
    // A tail ends where the next one starts.
    let done = tails.windows(2).filter(|pair| pair[1].0 <= *oldest);
    let done = done.map(|pair| &pair[0].1);
    for path in old.iter().map(|(_, path)| path).chain(done) {
        fs::remove_file(path).map_err(|error| StoreError::io("remove", path, &error))?;
    }
    Ok(())
}

/// Files "<prefix><number><suffix>", lowest number first.
pub(crate) fn numbered(
    folder: &Path,
    prefix: &str,
    suffix: &str,
) -> Result<Vec<(Revision, PathBuf)>, StoreError> {
    let fail = |error: std::io::Error| StoreError::io("list", folder, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| {
            name.strip_prefix(prefix)?
                .strip_suffix(suffix)?
                .parse()
                .ok()
        });
        if let Some(digits) = digits {
            found.push((Revision(digits), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
