//! A cluster's snapshots on this node: `<id>.db` beside `<id>.json`, which says what it is. One counts when both are there; the
//! description comes first and goes first, so that a kill leaves nothing that looks whole and is not.

use crate::host::files;
use crate::inbox::is_order_id;
use crate::paths::Paths;
use quorate_proto::v1::{Problem, SnapshotInfo};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What is being written. Only one order at a time runs in a unit, so that one name is enough.
const PART: &str = "part";
const ADDED: &str = "added-part";

pub struct Shelf {
    folder: PathBuf,
}

/// Of the cluster that this node belongs to, oldest first. What cannot be read is not there.
pub fn list(paths: &Paths, cluster: &str) -> Vec<SnapshotInfo> {
    if !is_cluster_id(cluster) {
        return Vec::new();
    }
    let folder = paths.snapshots().join(cluster);
    Shelf { folder }.list()
}

/// A ULID in either case: it becomes the name of a folder.
pub fn is_cluster_id(text: &str) -> bool {
    is_order_id(&text.to_ascii_uppercase())
}

impl Shelf {
    pub fn open(paths: &Paths, cluster: &str) -> Result<Self, Problem> {
        let folder = paths.snapshots().join(cluster);
        files::make_folder(&paths.snapshots(), 0o700)?;
        files::make_folder(&folder, 0o700)?;
        Ok(Shelf { folder })
    }

    /// Where the next one is written.
    pub fn part(&self) -> PathBuf {
        self.folder.join(PART)
    }

    /// Where one that is brought by hand is written, beside whatever an order does.
    pub fn added(&self) -> PathBuf {
        self.folder.join(ADDED)
    }

    /// Puts what was written under its name.
    pub fn put(&self, info: SnapshotInfo) -> Result<SnapshotInfo, Problem> {
        self.put_from(&self.part(), info)
    }

    pub fn put_from(&self, part: &Path, mut info: SnapshotInfo) -> Result<SnapshotInfo, Problem> {
        let database = self.database(&info.id);
        info.place = database.display().to_string();
        let described = serde_json::to_vec_pretty(&info)
            .map_err(|error| Problem::new("snapshot-unwritable", error.to_string()))?;
        files::write_atomic(&self.description(&info.id), &described, 0o600)?;
        files::rename(part, &database)?;
        Ok(info)
    }

    pub fn get(&self, id: &str) -> Option<SnapshotInfo> {
        let bytes = fs::read(self.description(id)).ok()?;
        let info: SnapshotInfo = serde_json::from_slice(&bytes).ok()?;
        let size = fs::metadata(self.database(id)).ok()?.len();
        (info.id == id && info.bytes == size).then_some(info)
    }

    fn list(&self) -> Vec<SnapshotInfo> {
        // ULIDs sort by time.
        let mut found: Vec<SnapshotInfo> =
            self.ids().iter().filter_map(|id| self.get(id)).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    /// Removes all but the newest that are whole, and what a kill has left.
    pub fn prune(&self, kept: usize) -> Result<(), Problem> {
        let whole = self.list();
        let keep: BTreeSet<&str> = whole
            .iter()
            .rev()
            .take(kept)
            .map(|info| info.id.as_str())
            .collect();
        for id in self.ids() {
            if !keep.contains(id.as_str()) {
                files::remove(&self.description(&id))?;
                files::remove(&self.database(&id))?;
            }
        }
        files::remove(&self.part())
    }

    fn ids(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let stem = Path::new(&name).file_stem()?.to_str()?;
                is_order_id(stem).then(|| stem.to_owned())
            })
            .collect()
    }

    fn database(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.db"))
    }

    fn description(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "01jd0000000000000000000000";

    fn id(number: u32) -> String {
        format!("01JD{number:022}")
    }

    fn put(shelf: &Shelf, number: u32) {
        fs::write(shelf.part(), "content").unwrap();
        let info = SnapshotInfo {
            id: id(number),
            bytes: 7,
            ..SnapshotInfo::default()
        };
        shelf.put(info).unwrap();
    }

    fn ids(paths: &Paths) -> Vec<String> {
        let found = list(paths, CLUSTER);
        found.into_iter().map(|info| info.id).collect()
    }

    #[test]
    fn the_newest_stay_and_what_a_kill_has_left_goes() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        assert!(list(&paths, CLUSTER).is_empty() && list(&paths, "../x").is_empty());
        let shelf = Shelf::open(&paths, CLUSTER).unwrap();
        for number in [3, 1, 2] {
            put(&shelf, number);
        }
        assert_eq!(ids(&paths), [id(1), id(2), id(3)]);
        // Killed between the two effects of `put`, and of `prune`; cut short later.
        fs::write(
            shelf.description(&id(4)),
            fs::read(shelf.description(&id(3))).unwrap(),
        )
        .unwrap();
        fs::write(shelf.database(&id(5)), "content").unwrap();
        fs::write(shelf.database(&id(2)), "conte").unwrap();
        fs::write(shelf.part(), "half").unwrap();
        assert_eq!(ids(&paths), [id(1), id(3)]);
        shelf.prune(1).unwrap();
        assert_eq!(ids(&paths), [id(3)]);
        assert_eq!(fs::read_dir(&shelf.folder).unwrap().count(), 2);
        shelf.prune(1).unwrap();
        assert_eq!(ids(&paths), [id(3)]);
    }
}
