//! Artifacts from the coordinator: fetched once, resumed where they stopped, used only if their digest is right.
//!
//! Cache: `<hex>/data` (complete and checked), `<hex>/data.part`, `<hex>/files/<name>` (a link, as tools want proper names).

pub mod store;

use crate::context::Artifacts;
use crate::identity::AgentIdentity;
use crate::link::dial;
use crate::link::failure::Failure;
use crate::paths::Paths;
use quorate_proto::v1::agent_client::AgentClient;
use quorate_proto::v1::{ArtifactRef, FetchArtifactRequest, Problem};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use store::{Digest, Slot};
use tokio::io::AsyncWriteExt;
use tonic::transport::Channel;

/// Broken streams in a row that brought nothing; one that brought something does not count.
const MAX_STALLED: u32 = 5;
/// Before the next try after a break; times the number of breaks in a row.
const PAUSE: Duration = Duration::from_secs(1);
/// Silence in the middle of a stream.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// A wrong digest is most likely a damaged part of an earlier time: it is fetched anew once.
const ROUNDS: u32 = 2;
/// For an artifact of unknown size: larger than any image archive.
const MAX_SIZE: u64 = 8 * 1024 * 1024 * 1024;

pub struct FromCoordinator {
    paths: Paths,
}

/// Why a stream ended early.
enum Break {
    /// Worth another try from where it stopped.
    Passing(Problem),
    Final(Problem),
}

impl FromCoordinator {
    pub fn new(paths: Paths) -> Self {
        FromCoordinator { paths }
    }

    async fn fetch_checked(&self, artifact: &ArtifactRef) -> Result<PathBuf, Problem> {
        let digest = Digest::parse(&artifact.digest)?;
        let slot = Slot::open(&self.paths.artifacts(), &digest)?;
        // Shared by orders of this process and of units: the second one finds the file complete.
        let _lock = slot.lock().await?;
        if !slot.is_complete(artifact.size)? {
            self.download(artifact, &digest, &slot).await?;
        }
        slot.named(&artifact.name)
    }

    async fn download(
        &self,
        artifact: &ArtifactRef,
        digest: &Digest,
        slot: &Slot,
    ) -> Result<(), Problem> {
        for _ in 0..ROUNDS {
            self.receive(artifact, slot).await?;
            if slot.digest_of_part().await? == *digest {
                return slot.complete();
            }
            tracing::warn!(artifact = artifact.name, "wrong digest, removed");
            slot.discard_part()?;
        }
        Err(Problem::new(
            "artifact-digest",
            format!("{} does not have the promised digest", artifact.name),
        )
        .at(&artifact.digest)
        .because("the file was changed or damaged on the coordinator or on the way")
        .next("add the artifact to the coordinator again"))
    }

    async fn receive(&self, artifact: &ArtifactRef, slot: &Slot) -> Result<(), Problem> {
        let mut stalled = 0;
        let mut connection = None;
        loop {
            let before = slot.part_size(artifact.size)?;
            if artifact.size > 0 && before == artifact.size {
                return Ok(());
            }
            let broken = match self.stream(artifact, slot, before, &mut connection).await {
                Ok(()) => return Ok(()),
                Err(Break::Final(problem)) => return Err(problem),
                Err(Break::Passing(problem)) => problem,
            };
            connection = None;
            let brought = slot.part_size(artifact.size)? > before;
            stalled = if brought { 0 } else { stalled + 1 };
            if stalled >= MAX_STALLED {
                return Err(broken);
            }
            tracing::info!(artifact = artifact.name, problem = %broken, "fetch goes on after a break");
            tokio::time::sleep(PAUSE * stalled).await;
        }
    }

    async fn stream(
        &self,
        artifact: &ArtifactRef,
        slot: &Slot,
        offset: u64,
        connection: &mut Option<(String, Channel)>,
    ) -> Result<(), Break> {
        if connection.is_none() {
            *connection = Some(self.connect().await?);
        }
        let Some((endpoint, channel)) = connection.clone() else {
            return Ok(());
        };
        let request = FetchArtifactRequest {
            digest: artifact.digest.clone(),
            offset,
        };
        let mut client = AgentClient::new(channel);
        let mut chunks = in_time(&endpoint, client.fetch_artifact(request))
            .await?
            .into_inner();
        let mut file = slot.append().await.map_err(Break::Final)?;
        let limit = if artifact.size > 0 {
            artifact.size
        } else {
            MAX_SIZE
        };
        let mut size = offset;
        while let Some(chunk) = in_time(&endpoint, chunks.message()).await? {
            size += chunk.data.len() as u64;
            if size > limit {
                return Err(Break::Final(too_long(artifact, limit)));
            }
            slot.written(file.write_all(&chunk.data).await)
                .map_err(Break::Final)?;
            slot.written(file.flush().await).map_err(Break::Final)?;
        }
        if artifact.size > 0 && size < artifact.size {
            return Err(Break::Passing(too_short(artifact, size)));
        }
        Ok(())
    }

    /// The identity is read anew, so that a renewed certificate is used.
    async fn connect(&self) -> Result<(String, Channel), Break> {
        let identity = AgentIdentity::load(&self.paths).map_err(Break::Final)?;
        let identity = identity.ok_or_else(|| {
            Break::Final(Problem::new("not-enrolled", "this node is not enrolled"))
        })?;
        dial::beside(&identity)
            .await
            .map_err(|failure| Break::Passing(failure.problem))
    }
}

impl Artifacts for FromCoordinator {
    fn fetch<'a>(
        &'a self,
        artifact: &'a ArtifactRef,
    ) -> Pin<Box<dyn Future<Output = Result<PathBuf, Problem>> + Send + 'a>> {
        Box::pin(self.fetch_checked(artifact))
    }
}

async fn in_time<T>(
    endpoint: &str,
    call: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, Break> {
    match tokio::time::timeout(CHUNK_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(status)) => {
            let problem = Failure::of_status(endpoint, &status).problem;
            Err(if Failure::is_passing(&status) {
                Break::Passing(problem)
            } else {
                Break::Final(problem)
            })
        }
        Err(_) => Err(Break::Passing(
            Problem::new("coordinator-silent", "the coordinator stopped sending").at(endpoint),
        )),
    }
}

fn too_short(artifact: &ArtifactRef, size: u64) -> Problem {
    Problem::new(
        "artifact-short",
        format!(
            "{} ended after {size} of {} bytes",
            artifact.name, artifact.size
        ),
    )
}

fn too_long(artifact: &ArtifactRef, limit: u64) -> Problem {
    Problem::new(
        "artifact-long",
        format!("{} is longer than {limit} bytes", artifact.name),
    )
    .at(&artifact.digest)
    .next("add the artifact to the coordinator again")
}

#[cfg(test)]
mod tests;
