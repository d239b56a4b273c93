//! Artifacts, from the side of those who add them.

use crate::artifacts::{Chunks, Upload};
use crate::server::Parts;
use crate::server::status::problem;
use bytes::Bytes;
use quorate_proto::v1::add_artifact_request::Part;
use quorate_proto::v1::*;
use tokio_stream::StreamExt;
use tonic::Streaming;

pub async fn add(
    parts: &Parts,
    who: &str,
    mut incoming: Streaming<AddArtifactRequest>,
) -> Result<AddArtifactResponse, Problem> {
    let first = incoming
        .message()
        .await
        .map_err(|status| problem(&status))?;
    let Some(Part::Header(header)) = first.and_then(|first| first.part) else {
        return Err(misplaced());
    };
    let digest = header.digest.clone();
    let chunks: Chunks<'_> = Box::pin(incoming.map(|part| match part.map(|part| part.part) {
        Ok(Some(Part::Data(data))) => Ok(Bytes::from(data)),
        Ok(Some(Part::Header(_)) | None) => Err(misplaced()),
        Err(status) => Err(problem(&status)),
    }));
    let upload = parts.artifacts.receive(who, header, chunks).await?;
    Ok(AddArtifactResponse {
        digest,
        already_there: upload == Upload::AlreadyThere,
    })
}

pub fn list(parts: &Parts) -> Result<ListArtifactsResponse, Problem> {
    Ok(ListArtifactsResponse {
        artifacts: parts.artifacts.list()?,
    })
}

fn misplaced() -> Problem {
    Problem::new("invalid-upload", "an upload is one header and then data")
}
