//! One order's file: what is in it, and how it is read and written.

use crate::host::files;
use crate::inbox::is_order_id;
use crate::paths::Paths;
use quorate_proto::v1::{Order, OrderResult, Problem};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Damaged files kept for a look: one incident, not a history.
const MAX_DAMAGED: usize = 16;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub order: Order,
    /// Came with a sealed part, which lies in memory only.
    #[serde(default)]
    pub sealed: bool,
    /// Starts so far.
    #[serde(default)]
    pub attempts: u32,
    pub state: State,
    /// When it was accepted.
    pub at: i64,
    #[serde(default)]
    pub acknowledged: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum State {
    Accepted,
    Running { unit: String },
    Finished { result: Box<OrderResult> },
}

/// A file that cannot be read now is not a damaged one.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Entry(Box<Entry>),
    Damaged(Problem),
}

impl Entry {
    pub fn new(order: Order, state: State) -> Self {
        Entry {
            order,
            sealed: false,
            attempts: 0,
            state,
            at: now_ms(),
            acknowledged: None,
        }
    }
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

pub fn path_of(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

/// For the executor, which has no journal of its own.
pub fn read(paths: &Paths, id: &str) -> Result<Option<Entry>, Problem> {
    if !is_order_id(id) {
        return Err(missing(id));
    }
    match find(&path_of(&paths.journal(), id))? {
        Found::Nothing => Ok(None),
        Found::Entry(entry) => Ok(Some(*entry)),
        Found::Damaged(problem) => Err(problem),
    }
}

/// For the executor: records the end of the order that it was started for.
pub fn write_result(paths: &Paths, entry: &Entry, result: OrderResult) -> Result<(), Problem> {
    let mut entry = entry.clone();
    entry.state = State::Finished {
        result: Box::new(result),
    };
    write(&paths.journal(), &entry)
}

/// For the status of a daemon that may be running: changes nothing.
pub fn unfinished(paths: &Paths) -> Result<Vec<String>, Problem> {
    let folder = paths.journal();
    let listing = match fs::read_dir(&folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(&folder, &error.to_string())),
    };
    let mut ids = Vec::new();
    for file in listing.flatten() {
        if let Ok(Found::Entry(entry)) = find(&file.path())
            && !matches!(entry.state, State::Finished { .. })
        {
            ids.push(entry.order.id);
        }
    }
    ids.sort();
    Ok(ids)
}

pub(super) fn write(folder: &Path, entry: &Entry) -> Result<(), Problem> {
    let bytes = serde_json::to_vec(entry)
        .map_err(|error| unusable(folder, &format!("an order cannot be written: {error}")))?;
    files::write_atomic(&path_of(folder, &entry.order.id), &bytes, 0o600)
}

pub(super) fn find(file: &Path) -> Result<Found, Problem> {
    let Some(bytes) = files::read_optional(file)? else {
        return Ok(Found::Nothing);
    };
    let entry: Entry = match serde_json::from_slice(&bytes) {
        Ok(entry) => entry,
        Err(error) => {
            let cause = format!("it cannot be parsed: {error}");
            return Ok(Found::Damaged(unusable(file, &cause)));
        }
    };
    let id = &entry.order.id;
    if !is_order_id(id) || file.file_stem().and_then(|stem| stem.to_str()) != Some(id) {
        let cause = "it holds another order than its name says";
        return Ok(Found::Damaged(unusable(file, cause)));
    }
    Ok(Found::Entry(Box::new(entry)))
}

pub(super) fn set_aside(file: &Path) -> Result<(), Problem> {
    for number in 0..MAX_DAMAGED {
        let aside = file.with_extension(format!("damaged-{number}"));
        if !aside.exists() {
            return fs::rename(file, &aside)
                .map_err(|error| unusable(file, &format!("it cannot be set aside: {error}")));
        }
    }
    files::remove(file)
}

pub(super) fn missing(id: &str) -> Problem {
    Problem::new("order-unknown", "there is no record of this order").at(id)
}

pub(super) fn unusable(place: &Path, cause: &str) -> Problem {
    Problem::new("journal", "a record of orders cannot be used")
        .at(place.display().to_string())
        .because(cause)
        .next("none: the coordinator delivers the order again")
}
