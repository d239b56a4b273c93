//! Taking in an artifact: into a file beside its place, checked, then renamed into it.

use super::{Artifacts, INCOMING, MAX_ARTIFACT_BYTES, file_problem};
use crate::store::{Key, Transaction};
use bytes::Bytes;
use nix::sys::statvfs::statvfs;
use quorate_proto::v1::{ArtifactKind, ArtifactRef, Problem};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::pin::Pin;
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};

/// Disk that an upload leaves free, for the store and the system.
const RESERVE: u64 = 256 * 1024 * 1024;
/// A sender that brings nothing for so long gives its slot to another.
const STALLED: Duration = Duration::from_secs(60);
/// Longest file name of common file systems.
const MAX_NAME: usize = 255;
/// Bounds of what the header may carry besides.
const MAX_IMAGES: usize = 1000;
const MAX_FIELD: usize = 64 * 1024;

pub type Chunks<'a> = Pin<Box<dyn Stream<Item = Result<Bytes, Problem>> + Send + 'a>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    Stored,
    AlreadyThere,
}

impl Artifacts {
    /// Keeps the content if it is what the header says. `who` goes into the audit trail.
    pub async fn receive(
        &self,
        who: &str,
        header: ArtifactRef,
        chunks: Chunks<'_>,
    ) -> Result<Upload, Problem> {
        check(&header)?;
        let target = self.path(&header.digest)?;
        if self.get(&header.digest)?.is_some() && target.exists() {
            return Ok(Upload::AlreadyThere);
        }
        let _slot = self.uploads.try_acquire().map_err(|_| {
            Problem::new("exhausted-uploads", "too many uploads at a time")
                .next("try again when one has ended")
        })?;
        self.check_space(header.size)?;
        let incoming = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempfile_in(&self.folder)
            .map_err(|error| file_problem("create", &self.folder, &error))?;
        let incoming = fill(incoming, &header, chunks).await?;
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || {
            incoming.as_file().sync_all()?;
            incoming.persist(&target).map_err(|error| error.error)?;
            File::open(&folder)?.sync_all()
        })
        .await
        .map_err(|error| Problem::new("file", format!("the upload's task ended early: {error}")))?
        .map_err(|error| file_problem("write", &self.folder, &error))?;
        let detail = format!("{} {}", header.name, header.digest);
        let record = Transaction::new()
            .put(Key::artifact(&header.digest), &header)
            .audit(who, "add-artifact", detail);
        self.store.commit(record).await?;
        Ok(Upload::Stored)
    }

    fn check_space(&self, size: u64) -> Result<(), Problem> {
        let stat = statvfs(&self.folder)
            .map_err(|error| file_problem("look at", &self.folder, &std::io::Error::from(error)))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free < size.saturating_add(RESERVE) {
            return Err(Problem::new(
                "exhausted-disk",
                format!("{size} bytes do not fit: {free} are free, {RESERVE} of them in reserve"),
            )
            .at(self.folder.display().to_string())
            .next("free space on the coordinator"));
        }
        Ok(())
    }
}

async fn fill(
    incoming: NamedTempFile,
    header: &ArtifactRef,
    mut chunks: Chunks<'_>,
) -> Result<NamedTempFile, Problem> {
    let handle = incoming
        .reopen()
        .map_err(|error| file_problem("open", incoming.path(), &error))?;
    let mut file = tokio::fs::File::from_std(handle);
    let fail = |error: std::io::Error| file_problem("write", incoming.path(), &error);
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    while let Some(chunk) = timeout(STALLED, chunks.next())
        .await
        .map_err(|_| stalled())?
    {
        let chunk = chunk?;
        size += chunk.len() as u64;
        if size > header.size {
            return Err(differs("more bytes came than the header says"));
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(fail)?;
    }
    file.flush().await.map_err(fail)?;
    if size != header.size {
        return Err(differs("fewer bytes came than the header says"));
    }
    if header.digest != format!("sha256:{}", hex::encode(hash.finalize())) {
        return Err(differs("the digest of the content is another one"));
    }
    Ok(incoming)
}

fn stalled() -> Problem {
    Problem::new("timeout-upload", "the upload stood still for too long")
        .because(format!("nothing came for {} s", STALLED.as_secs()))
        .next("check the network, then add the file again")
}

fn differs(cause: &str) -> Problem {
    Problem::new("invalid-content", "the content is not what was announced")
        .because(cause)
        .next("add the file again; it may have changed meanwhile")
}

fn check(header: &ArtifactRef) -> Result<(), Problem> {
    let refuse = |cause: &str| {
        Err(Problem::new("invalid-artifact", "the artifact's header is not usable").because(cause))
    };
    let name = &header.name;
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') {
        return refuse("its name is empty, too long or hidden");
    }
    if name.contains('/') || name.chars().any(char::is_control) {
        return refuse("its name is not a plain file name");
    }
    if header.size == 0 || header.size > MAX_ARTIFACT_BYTES {
        return refuse("its size is zero or beyond the limit");
    }
    let fields = [
        &header.package,
        &header.version,
        &header.depends,
        &header.provides,
        &header.architecture,
    ];
    if header.images.len() > MAX_IMAGES || fields.iter().any(|field| field.len() > MAX_FIELD) {
        return refuse("its description is too large");
    }
    match header.kind() {
        ArtifactKind::Unspecified => refuse("it has no kind"),
        ArtifactKind::Deb if header.package.is_empty() => refuse("it names no package"),
        ArtifactKind::Deb | ArtifactKind::Binary | ArtifactKind::Image | ArtifactKind::Manifest => {
            Ok(())
        }
    }
}
