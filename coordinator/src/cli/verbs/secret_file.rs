//! A file with secrets that comes over the wire: whole or not at all, and only for its owner.

use crate::cli::failure::{Failure, Outcome};
use crate::cli::files;
use crate::files::problem;
use quorate_proto::v1::{FileChunk, Problem};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::time::timeout;
use tonic::Streaming;

/// Silence after which it is given up.
const STALLED: Duration = Duration::from_secs(60);

pub struct SecretFile {
    path: PathBuf,
    force: bool,
    /// Made with 0600, and gone again unless it is put in place.
    pub writing: NamedTempFile,
}

impl SecretFile {
    pub fn begin(file: &Path, force: bool) -> Result<Self, Problem> {
        if file.exists() && !force {
            return Err(files::exists(file));
        }
        let path = std::path::absolute(file).map_err(|error| problem("name", file, &error))?;
        let writing = NamedTempFile::with_prefix_in(".quorate-", folder(&path))
            .map_err(|error| problem("write", &path, &error))?;
        Ok(SecretFile {
            path,
            force,
            writing,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub async fn receive(
        &mut self,
        mut chunks: Streaming<FileChunk>,
        mut each: impl FnMut(&[u8]),
    ) -> Outcome<()> {
        loop {
            let next = timeout(STALLED, chunks.message())
                .await
                .map_err(|_| Problem::new("timeout-coordinator", "nothing came for a minute"))?;
            match next {
                Ok(Some(chunk)) => {
                    each(&chunk.data);
                    self.writing
                        .as_file_mut()
                        .write_all(&chunk.data)
                        .map_err(|error| problem("write", &self.path, &error))?;
                }
                Ok(None) => break,
                Err(status) => return Err(Failure::from_status(&status)),
            }
        }
        Ok(())
    }

    pub fn sync(&self) -> Result<(), Problem> {
        let synced = self.writing.as_file().sync_all();
        synced.map_err(|error| problem("write", &self.path, &error))
    }

    pub fn put_in_place(self) -> Result<(), Problem> {
        self.sync()?;
        let SecretFile {
            path,
            force,
            writing,
        } = self;
        let kept = match force {
            true => writing.persist(&path),
            false => writing.persist_noclobber(&path),
        };
        kept.map_err(|error| problem("write", &path, &error.error))?;
        std::fs::File::open(folder(&path))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| problem("write", &path, &error))
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}
