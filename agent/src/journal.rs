//! Durable record of orders: one file each, written before the order starts. Sealed parts are never in it.
//!
//! While a unit runs, its executor is the only writer of its file; at all other times the daemon is.

mod record;

use crate::host::files;
use crate::inbox::Fence;
use crate::paths::Paths;
use quorate_proto::v1::{Order, OrderResult, Problem};
pub use record::{Entry, State, now_ms, path_of, read, unfinished, write_result};
use record::{Found, find, missing, set_aside, unusable, write};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An acknowledged order is answered again for this long: a coordinator restored from a backup asks within days.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Orders kept at most: forming a cluster takes a dozen a node.
const MAX_ENTRIES: usize = 512;

/// What is held in memory of an entry: orders can be large, and the agent is to be small.
struct Brief {
    phase: Phase,
    at: i64,
    acknowledged: Option<i64>,
    /// A sealed result cannot be told again: the coordinator has to ask again.
    tellable: bool,
    /// The disk refused the result; it is still told from here.
    unsaved: Option<Box<OrderResult>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Accepted,
    Running,
    Finished,
}

pub struct Journal {
    folder: PathBuf,
    index: BTreeMap<String, Brief>,
}

/// What opening found: problems to report and the fence that the entries imply.
pub struct Opened {
    pub journal: Journal,
    pub fence: Fence,
    pub problems: Vec<Problem>,
}

impl Brief {
    fn of(entry: &Entry) -> Self {
        let sealed_result = entry.order.action.as_ref().map(|a| a.result_is_sealed());
        Brief {
            phase: match entry.state {
                State::Accepted => Phase::Accepted,
                State::Running { .. } => Phase::Running,
                State::Finished { .. } => Phase::Finished,
            },
            at: entry.at,
            acknowledged: entry.acknowledged,
            tellable: sealed_result == Some(false),
            unsaved: None,
        }
    }
}

impl Journal {
    pub fn open(paths: &Paths) -> Result<Opened, Problem> {
        let folder = paths.journal();
        files::make_folder(&folder, 0o700)?;
        let mut opened = Opened {
            journal: Journal {
                folder: folder.clone(),
                index: BTreeMap::new(),
            },
            fence: Fence::default(),
            problems: Vec::new(),
        };
        let listing = fs::read_dir(&folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unusable(&folder, &error.to_string()))?;
        for file in listing.iter().map(fs::DirEntry::path) {
            opened.take_in(&file)?;
        }
        opened.journal.prune()?;
        Ok(opened)
    }

    pub fn get(&mut self, id: &str) -> Result<Option<Entry>, Problem> {
        let Some(brief) = self.index.get(id) else {
            return Ok(None);
        };
        let unsaved = brief.unsaved.clone();
        let file = path_of(&self.folder, id);
        match find(&file)? {
            Found::Entry(mut entry) => {
                if let Some(result) = unsaved {
                    entry.state = State::Finished { result };
                }
                Ok(Some(*entry))
            }
            Found::Nothing => {
                self.index.remove(id);
                Ok(None)
            }
            Found::Damaged(problem) => {
                tracing::error!(%problem, "an order's record is set aside");
                set_aside(&file)?;
                self.index.remove(id);
                Ok(None)
            }
        }
    }

    pub fn result(&mut self, id: &str) -> Option<OrderResult> {
        match self.get(id).ok()??.state {
            State::Finished { result } => Some(*result),
            State::Accepted | State::Running { .. } => None,
        }
    }

    /// On disk when this returns.
    pub fn accept(&mut self, order: Order, sealed: bool) -> Result<(), Problem> {
        self.prune()?;
        if self.index.len() >= MAX_ENTRIES && !self.index.contains_key(&order.id) {
            return Err(Problem::new(
                "journal-full",
                format!("{MAX_ENTRIES} orders wait to be acknowledged by the coordinator"),
            )
            .at(self.folder.display().to_string())
            .next("look at the coordinator's log for why it does not store results"));
        }
        let mut entry = Entry::new(order, State::Accepted);
        entry.sealed = sealed;
        self.put(&entry)
    }

    pub fn set_running(&mut self, id: &str, unit: &str) -> Result<Entry, Problem> {
        let mut entry = self.get(id)?.ok_or_else(|| missing(id))?;
        entry.attempts += 1;
        entry.state = State::Running {
            unit: unit.to_owned(),
        };
        self.put(&entry)?;
        Ok(entry)
    }

    /// Keeps the result in memory if the disk refuses it.
    pub fn finish(&mut self, result: OrderResult) -> Result<(), Problem> {
        let id = result.id.clone();
        let mut entry = self.get(&id)?.ok_or_else(|| missing(&id))?;
        if let State::Finished { result: known } = &entry.state
            && **known == result
        {
            self.index.insert(id, Brief::of(&entry));
            return Ok(());
        }
        entry.state = State::Finished {
            result: Box::new(result.clone()),
        };
        entry.acknowledged = None;
        let written = self.put(&entry);
        if written.is_err() {
            self.hold(&entry, result);
        }
        written
    }

    fn hold(&mut self, entry: &Entry, result: OrderResult) {
        let mut brief = Brief::of(entry);
        brief.unsaved = Some(Box::new(result));
        self.index.insert(entry.order.id.clone(), brief);
    }

    pub fn acknowledge(&mut self, id: &str) -> Result<(), Problem> {
        let due = self
            .index
            .get(id)
            .is_some_and(|brief| brief.phase == Phase::Finished && brief.acknowledged.is_none());
        if !due {
            return Ok(());
        }
        if let Some(mut entry) = self.get(id)? {
            entry.acknowledged = Some(now_ms());
            self.put(&entry)?;
        }
        Ok(())
    }

    pub fn forget(&mut self, id: &str) -> Result<(), Problem> {
        self.index.remove(id);
        files::remove(&path_of(&self.folder, id))
    }

    /// Accepted or running, oldest first.
    pub fn unfinished(&self) -> Vec<String> {
        self.select(|brief| brief.phase != Phase::Finished)
    }

    /// Finished and to be told until the coordinator says that it has stored the result, oldest first.
    pub fn unacknowledged(&self) -> Vec<String> {
        self.select(|brief| {
            brief.phase == Phase::Finished && brief.acknowledged.is_none() && brief.tellable
        })
    }

    fn select(&self, wanted: impl Fn(&Brief) -> bool) -> Vec<String> {
        // ULIDs sort by time.
        self.index
            .iter()
            .filter(|(_, brief)| wanted(brief))
            .map(|(id, _)| id.clone())
            .collect()
    }

    fn put(&mut self, entry: &Entry) -> Result<(), Problem> {
        write(&self.folder, entry)?;
        self.index.insert(entry.order.id.clone(), Brief::of(entry));
        Ok(())
    }

    fn prune(&mut self) -> Result<(), Problem> {
        let kept_since = now_ms() - i64::try_from(RETENTION.as_millis()).unwrap_or(i64::MAX);
        let mut done: Vec<(i64, String)> = self
            .index
            .iter()
            .filter(|(_, brief)| brief.phase == Phase::Finished)
            // A sealed result is never asked for again by id once its order is this old.
            .filter_map(|(id, brief)| {
                let since = brief
                    .acknowledged
                    .or((!brief.tellable).then_some(brief.at))?;
                Some((since, id.clone()))
            })
            .collect();
        done.sort();
        let surplus = (self.index.len() + 1).saturating_sub(MAX_ENTRIES);
        for (position, (since, id)) in done.into_iter().enumerate() {
            if position < surplus || since < kept_since {
                self.forget(&id)?;
            }
        }
        Ok(())
    }
}

impl Opened {
    fn take_in(&mut self, file: &Path) -> Result<(), Problem> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(".quorate-") {
            return files::remove(file); // what a crash in the middle of a write leaves
        }
        if !name.ends_with(".json") {
            return Ok(());
        }
        match find(file)? {
            Found::Entry(entry) => {
                self.fence.raise(&entry.order);
                let brief = Brief::of(&entry);
                self.journal.index.insert(entry.order.id, brief);
                Ok(())
            }
            Found::Nothing => Ok(()),
            Found::Damaged(problem) => {
                self.problems.push(problem);
                set_aside(file)
            }
        }
    }
}

#[cfg(test)]
mod tests;
