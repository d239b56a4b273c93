//! Artifacts on their way to nodes.

use crate::artifacts::Artifacts;
use crate::server::gate::{Bound, Gate, Pass};
use crate::server::status::to_status;
use quorate_proto::limits::ARTIFACT_CHUNK_BYTES;
use quorate_proto::v1::{ArtifactChunk, Problem};
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Downloads of one node, those that wait included: an agent asks for four at a time, so that this is twice what it needs
/// after a restart. More than half of all turns are left whatever one node does, or files that it never reads.
const OPEN: Bound = Bound {
    total: 8192,
    each: 16,
};
/// Files sent at a time; the others wait for their turn. Each holds some chunks in memory, together about 100 MiB.
const AT_A_TIME: usize = 128;
/// Chunks read ahead of the network.
const AHEAD: usize = 1;
/// A receiver that takes no chunk for so long gives its turn to another; it can ask again from where it was.
const STALLED: Duration = Duration::from_secs(60);

pub type Chunks = ReceiverStream<Result<ArtifactChunk, Status>>;

pub struct Fetches {
    artifacts: Arc<Artifacts>,
    turns: Arc<Semaphore>,
    open: Gate<String>,
}

impl Fetches {
    pub fn new(artifacts: Arc<Artifacts>) -> Self {
        Fetches {
            artifacts,
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            open: Gate::new(OPEN),
        }
    }

    /// Answers at once whether there is such an artifact; the content follows when it is this one's turn.
    pub async fn start(&self, node: &str, digest: &str, offset: u64) -> Result<Chunks, Problem> {
        let place = self.open.enter(node.to_owned()).ok_or_else(|| {
            Problem::new("exhausted-downloads", "too many downloads at a time")
                .next("wait for those under way; the agent asks again by itself")
        })?;
        let (file, left) = self.artifacts.read(digest, offset).await?;
        let (sender, chunks) = mpsc::channel(AHEAD);
        let turns = Arc::clone(&self.turns);
        tokio::spawn(async move {
            let turn = tokio::select! {
                turn = turns.acquire_owned() => turn,
                () = sender.closed() => return,
            };
            if let Ok(turn) = turn {
                send(file, left, sender, (turn, place)).await;
            }
        });
        Ok(ReceiverStream::new(chunks))
    }
}

async fn send(
    mut file: File,
    mut left: u64,
    to: Sender<Result<ArtifactChunk, Status>>,
    _held: (OwnedSemaphorePermit, Pass<String>),
) {
    while left > 0 {
        let chunk = next(&mut file, left).await;
        let failed = chunk.is_err();
        left -= chunk.as_ref().map_or(0, |data| data.len() as u64);
        let chunk = chunk.map(|data| ArtifactChunk { data }).map_err(to_status);
        let sent = timeout(STALLED, to.send(chunk)).await;
        if failed || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// One chunk, full unless it is the last one.
async fn next(file: &mut File, left: u64) -> Result<Vec<u8>, Problem> {
    let size =
        usize::try_from(left).map_or(ARTIFACT_CHUNK_BYTES, |left| left.min(ARTIFACT_CHUNK_BYTES));
    let mut data = vec![0; size];
    let read = file.read_exact(&mut data).await;
    read.map_err(|error| Problem::new("file", format!("cannot read an artifact: {error}")))?;
    Ok(data)
}
