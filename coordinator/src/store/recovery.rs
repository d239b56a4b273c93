//! Opening the store: the database if it is whole, otherwise one made anew from the newest export and the tail.

use super::disk::{Disk, sync_folder};
use super::lock::Lock;
use super::record::{Records, Revision};
use super::{StoreError, export, tail};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Revisions that are skipped after a restore: numbers given out by what was lost are not given out again.
pub(crate) const GAP: u64 = 1_000_000;
const DAMAGED: &str = "db.damaged-";
/// In a damaged folder that was moved aside: what had happened.
const NOTE: &str = "quorate-note.txt";

pub(crate) struct Opened {
    pub disk: Disk,
    pub records: Records,
    pub lock: Lock,
    pub notices: Vec<String>,
}

/// Where the parts lie.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub folder: PathBuf,
}

impl Places {
    pub fn database(&self) -> PathBuf {
        self.folder.join("db")
    }

    pub fn exports(&self) -> PathBuf {
        self.folder.join("exports")
    }

    fn import(&self) -> PathBuf {
        self.folder.join("db.import")
    }
}

pub(crate) fn open(places: &Places) -> Result<Opened, StoreError> {
    for folder in [&places.folder, &places.exports()] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| StoreError::io("create", folder, &error))?;
    }
    let lock = Lock::take(&places.folder)?;
    let (disk, records) = match attempt(places)? {
        Attempt::Whole(disk, records) => (disk, records),
        Attempt::Damaged(reason) => {
            restore(places, &reason)?;
            Disk::open(&places.database())?
        }
    };
    Ok(Opened {
        disk,
        records,
        lock,
        notices: notices(&places.folder)?,
    })
}

enum Attempt {
    Whole(Disk, Records),
    Damaged(String),
}

fn attempt(places: &Places) -> Result<Attempt, StoreError> {
    let promised = tail::newest(&places.exports())?;
    let exported = export::list(&places.exports())?.last().map(|(at, _)| *at);
    let promised = promised.max(exported);
    if !places.database().exists() {
        // Also what a crash in the middle of a restore leaves.
        if promised.is_some() {
            return Ok(Attempt::Damaged("the database is gone".to_owned()));
        }
        import(places, &Records::default())?;
        rename(&places.import(), &places.database())?;
        sync_folder(&places.folder)?;
    }
    match Disk::open(&places.database()) {
        Ok((disk, records)) if promised.is_none_or(|promised| records.revision >= promised) => {
            Ok(Attempt::Whole(disk, records))
        }
        Ok((disk, records)) => {
            disk.abandon();
            Ok(Attempt::Damaged(format!(
                "the database ends at revision {}, but {} was committed",
                records.revision.0,
                promised.unwrap_or_default().0
            )))
        }
        Err(StoreError::Corrupt(reason)) => Ok(Attempt::Damaged(reason)),
        Err(other) => Err(other),
    }
}

/// Makes the new database beside the old one and then exchanges them, so that a crash at any point loses nothing.
fn restore(places: &Places, reason: &str) -> Result<(), StoreError> {
    let exports = places.exports();
    let Some(mut records) = backup(&exports)? else {
        return Err(StoreError::Corrupt(format!(
            "{}: {reason}; there is no export to restore from",
            places.database().display()
        )));
    };
    let restored = records.revision;
    records.revision = Revision(restored.0.saturating_add(GAP));
    import(places, &records)?;
    let database = places.database();
    let aside = places
        .folder
        .join(format!("{DAMAGED}{}", crate::clock::unix_ms()));
    if database.exists() {
        rename(&database, &aside)?;
    } else {
        fs::create_dir(&aside).map_err(|error| StoreError::io("create", &aside, &error))?;
    }
    let note = format!("{reason}; restored to revision {}", restored.0);
    let path = aside.join(NOTE);
    fs::write(&path, &note).map_err(|error| StoreError::io("write", &path, &error))?;
    rename(&places.import(), &database)?;
    sync_folder(&places.folder)?;
    tracing::error!(%note, aside = %aside.display(), "the store was damaged and has been restored");
    Ok(())
}

/// A store of these records in a folder that does not exist yet.
pub(crate) fn create(places: &Places, mut records: Records) -> Result<(), StoreError> {
    let parent = places.folder.parent().unwrap_or(Path::new("/"));
    let making = Places {
        folder: places.folder.with_extension("new"),
    };
    if making.folder.exists() {
        fs::remove_dir_all(&making.folder)
            .map_err(|error| StoreError::io("remove", &making.folder, &error))?;
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&making.folder)
        .map_err(|error| StoreError::io("create", &making.folder, &error))?;
    records.revision = Revision(records.revision.0.saturating_add(GAP));
    Disk::create(&making.database(), &records)?;
    sync_folder(&making.folder)?;
    rename(&making.folder, &places.folder)?;
    sync_folder(parent)
}

/// A database beside the place where it belongs.
fn import(places: &Places, records: &Records) -> Result<(), StoreError> {
    let folder = places.import();
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| StoreError::io("remove", &folder, &error))?;
    }
    Disk::create(&folder, records)
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::io("rename", from, &error))
}

/// The newest whole export, continued by the tails. Without any export the tails alone do, if they start at nothing.
fn backup(exports: &Path) -> Result<Option<Records>, StoreError> {
    let exported = export::newest(exports)?;
    let has_export = exported.is_some();
    let mut records = exported.unwrap_or_default();
    tail::replay(exports, &mut records)?;
    Ok((has_export || records.revision > Revision::default()).then_some(records))
}

/// One for each damaged database that still lies there: looking at it and removing it ends the notice.
fn notices(folder: &Path) -> Result<Vec<String>, StoreError> {
    let fail = |error: std::io::Error| StoreError::io("list", folder, &error);
    let mut notices = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(DAMAGED)) {
            let note = fs::read_to_string(path.join(NOTE));
            notices.push(format!(
                "the coordinator's store was damaged: {}. Check `quorate status` of every cluster; the damaged copy is \
                 {}, remove it to end this notice",
                note.unwrap_or_else(|_| "restored from an export".to_owned()),
                path.display()
            ));
        }
    }
    notices.sort();
    Ok(notices)
}
