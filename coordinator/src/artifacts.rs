//! Packages, programs, images and manifests that nodes fetch, each under the digest of its content. The files lie in
//! one folder; what they are is in the store. A file counts only with its record.

mod closure;
mod describe;
mod images;
mod receive;
mod relation;
mod version;

pub use closure::{Closure, closure, several_versions};
pub use describe::describe;
pub use receive::{Chunks, Upload};
pub use version::compare as compare_versions;

use crate::store::{Key, Kind, Prefix, Store, StoreError};
use quorate_proto::v1::{ArtifactRef, Problem};
use std::io::SeekFrom;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncSeekExt;
use tokio::sync::Semaphore;

/// Largest artifact: an archive with all images of a release is about 1 GiB.
pub const MAX_ARTIFACT_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Uploads at a time; more would only share the same disk.
const MAX_UPLOADS: usize = 4;
/// Unfinished files; removed at start.
const INCOMING: &str = ".incoming-";

pub struct Artifacts {
    folder: PathBuf,
    store: Arc<Store>,
    uploads: Semaphore,
}

impl Artifacts {
    /// Makes the folder, and removes what an interrupted upload has left in it.
    pub fn open(folder: impl Into<PathBuf>, store: Arc<Store>) -> Result<Self, Problem> {
        let folder = folder.into();
        prepare(&folder).map_err(|error| file_problem("prepare", &folder, &error))?;
        Ok(Artifacts {
            folder,
            store,
            uploads: Semaphore::new(MAX_UPLOADS),
        })
    }

    /// By name, then digest.
    pub fn list(&self) -> Result<Vec<ArtifactRef>, StoreError> {
        let found = self.store.scan(&Prefix::all(Kind::Artifact))?;
        let mut artifacts: Vec<ArtifactRef> = found.into_iter().map(|(_, one)| one).collect();
        artifacts.sort_by(|a, b| (&a.name, &a.digest).cmp(&(&b.name, &b.digest)));
        Ok(artifacts)
    }

    pub fn get(&self, digest: &str) -> Result<Option<ArtifactRef>, StoreError> {
        self.store.read(&Key::artifact(digest))
    }

    /// The content from `offset` on, and how much of it is left. Only what is known is found, whatever `digest` says.
    pub async fn read(&self, digest: &str, offset: u64) -> Result<(tokio::fs::File, u64), Problem> {
        let known = self.get(digest)?.ok_or_else(|| {
            Problem::new("missing-artifact", "there is no such artifact")
                .at(digest.chars().take(80).collect::<String>())
                .next("quorate artifacts list")
        })?;
        let left = known.size.checked_sub(offset).ok_or_else(|| {
            Problem::new(
                "invalid-offset",
                format!("the artifact has {} bytes", known.size),
            )
            .at(digest)
        })?;
        let path = self.path(&known.digest)?;
        let fail = |error: std::io::Error| file_problem("read", &path, &error);
        let mut file = tokio::fs::File::open(&path).await.map_err(fail)?;
        file.seek(SeekFrom::Start(offset)).await.map_err(fail)?;
        Ok((file, left))
    }

    fn path(&self, digest: &str) -> Result<PathBuf, Problem> {
        let hex = digest_hex(digest).ok_or_else(|| {
            Problem::new("invalid-digest", "a digest is sha256: and 64 hex digits")
                .at(digest.chars().take(80).collect::<String>())
        })?;
        Ok(self.folder.join(hex))
    }
}

fn digest_hex(digest: &str) -> Option<&str> {
    quorate_proto::token::is_pin(digest)
        .then(|| digest.strip_prefix("sha256:"))
        .flatten()
}

fn prepare(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn file_problem(verb: &str, path: &Path, error: &std::io::Error) -> Problem {
    let code = match error.kind() == std::io::ErrorKind::StorageFull {
        true => "exhausted-disk",
        false => "file",
    };
    Problem::new(code, format!("cannot {verb} a file: {error}")).at(path.display().to_string())
}

#[cfg(test)]
mod tests;
