//! Lines of progress: from an order in the agent straight to the outbox, from a unit through a file that the agent follows.

use crate::context::Progress;
use crate::host::files;
use crate::link::outbox::Outbox;
use crate::paths::Paths;
use quorate_proto::v1::{OrderProgress, Problem};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of progress of one order: it lies in memory (tmpfs).
const MAX_FILE: u64 = 1024 * 1024;
/// Bytes of one line.
const MAX_LINE: usize = 1024;
/// Bytes read at once.
const CHUNK: u64 = 64 * 1024;

pub fn file(paths: &Paths, id: &str) -> PathBuf {
    paths.runtime().join("progress").join(id)
}

pub fn discard(paths: &Paths, id: &str) {
    if let Err(problem) = files::remove(&file(paths, id)) {
        tracing::warn!(order = id, %problem, "a progress file was not removed");
    }
}

/// To the coordinator, numbered.
pub struct ToOutbox {
    id: String,
    outbox: Arc<Outbox>,
    sequence: AtomicU64,
}

impl ToOutbox {
    pub fn new(id: &str, outbox: Arc<Outbox>) -> Self {
        ToOutbox {
            id: id.to_owned(),
            outbox,
            sequence: AtomicU64::new(0),
        }
    }
}

impl Progress for ToOutbox {
    fn line(&self, text: &str) {
        self.outbox.progress(OrderProgress {
            id: self.id.clone(),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            line: one_line(text),
        });
    }
}

/// Into the file that the agent follows.
pub struct ToFile {
    inner: Mutex<(File, u64)>,
}

impl ToFile {
    pub fn create(paths: &Paths, id: &str) -> Result<Self, Problem> {
        let path = file(paths, id);
        if let Some(folder) = path.parent() {
            files::make_folder(folder, 0o700)?;
        }
        // A later start of the same order goes on where the earlier one ended, so that numbers stay unique.
        let opened = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|error| {
            Problem::new("file", format!("cannot open a file: {error}"))
                .at(path.display().to_string())
        })?;
        Ok(ToFile {
            inner: Mutex::new((file, size)),
        })
    }
}

impl Progress for ToFile {
    fn line(&self, text: &str) {
        let line = one_line(text) + "\n";
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, size) = &mut *inner;
        *size += line.len() as u64;
        // Progress is for people; an order does not fail for want of it.
        if *size <= MAX_FILE && file.write_all(line.as_bytes()).is_err() {
            *size = MAX_FILE;
        }
    }
}

/// Follows such a file.
#[derive(Default)]
pub struct Tail {
    offset: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// Whole lines since the last call; a line under way is left for the next.
    pub fn read(&mut self, paths: &Paths, id: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let Ok(mut file) = File::open(file(paths, id)) else {
            return lines;
        };
        if file.seek(SeekFrom::Start(self.offset)).is_err() {
            return lines;
        }
        while self.offset <= MAX_FILE {
            let before = self.rest.len();
            let Ok(read) = (&mut file).take(CHUNK).read_to_end(&mut self.rest) else {
                self.rest.truncate(before);
                break;
            };
            self.offset += read as u64;
            if read == 0 {
                break;
            }
            self.split(&mut lines);
        }
        lines
    }

    fn split(&mut self, lines: &mut Vec<String>) {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line[..end]).into_owned());
        }
    }
}

/// Control characters would break lines and terminals.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.trim_end().chars() {
        if line.len() + character.len_utf8() > MAX_LINE {
            break;
        }
        line.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_followed_line_by_line() {
        let folder = tempfile::tempdir().expect("folder");
        let paths = Paths::under(folder.path());
        let mut tail = Tail::default();
        assert!(tail.read(&paths, "x").is_empty());
        let writer = ToFile::create(&paths, "x").expect("created");
        writer.line("one");
        writer.line("two\x1b[2J\nmore");
        assert_eq!(tail.read(&paths, "x"), ["one", "two [2J more"]);
        let mut raw = File::options()
            .append(true)
            .open(file(&paths, "x"))
            .expect("open");
        raw.write_all(b"half").expect("written");
        assert!(tail.read(&paths, "x").is_empty());
        raw.write_all(b" whole\n").expect("written");
        assert_eq!(tail.read(&paths, "x"), ["half whole"]);
    }

    #[test]
    fn file_and_lines_are_bounded() {
        let folder = tempfile::tempdir().expect("folder");
        let paths = Paths::under(folder.path());
        let writer = ToFile::create(&paths, "x").expect("created");
        for _ in 0..3000 {
            writer.line(&"ä".repeat(5000));
        }
        let size = std::fs::metadata(file(&paths, "x")).expect("there").len();
        assert!(size <= MAX_FILE);
        assert!(
            Tail::default()
                .read(&paths, "x")
                .iter()
                .all(|line| line.len() <= MAX_LINE)
        );
    }
}
