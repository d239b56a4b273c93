//! Every certificate of the cluster on this node. Files are read once; after that a report costs a look at each.

mod judge;
mod places;

use crate::paths::Paths;
use places::Source;
use quorate_proto::v1::CertificateInfo;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells one version of a file from the next.
type Stamp = (u64, i64, i64, u64);

/// By the file's path: its stamps, with those of what it is judged by, and what it holds.
#[derive(Debug, Default)]
pub struct Memory {
    known: BTreeMap<PathBuf, (Vec<Option<Stamp>>, CertificateInfo)>,
}

impl Memory {
    pub fn view(&mut self, paths: &Paths) -> Vec<CertificateInfo> {
        let sources = places::of_node(paths);
        self.known
            .retain(|path, _| sources.iter().any(|it| it.path == *path));
        sources
            .iter()
            .filter_map(|source| self.one(source))
            .collect()
    }

    /// Nothing for a file that is not there.
    fn one(&mut self, source: &Source) -> Option<CertificateInfo> {
        let stamps: Vec<Option<Stamp>> = source.inputs().into_iter().map(stamp).collect();
        if stamps.first().copied().flatten().is_none() {
            self.known.remove(&source.path);
            return None;
        }
        match self.known.get(&source.path) {
            Some((known, info)) if *known == stamps => Some(info.clone()),
            Some(_) | None => {
                let info = judge::judge(source);
                self.known
                    .insert(source.path.clone(), (stamps, info.clone()));
                Some(info)
            }
        }
    }
}

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()))
}

#[cfg(test)]
mod tests;
