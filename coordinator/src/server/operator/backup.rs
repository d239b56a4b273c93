//! A backup on its way to an admin: written as it is sent, so that it is never in memory as a whole.

use crate::backup;
use crate::server::Parts;
use crate::server::status::to_status;
use crate::store::Transaction;
use quorate_proto::limits::ARTIFACT_CHUNK_BYTES;
use quorate_proto::v1::{FileChunk, Problem};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Backups at a time: each holds a thread, and the records of its moment.
static TURNS: Semaphore = Semaphore::const_new(2);
/// Chunks written ahead of the network.
const AHEAD: usize = 2;

pub type Chunks = ReceiverStream<Result<FileChunk, Status>>;

pub async fn start(parts: &Parts, who: &str) -> Result<Chunks, Problem> {
    let turn = TURNS.try_acquire().map_err(|_| {
        Problem::new("exhausted-backups", "two backups are being made already")
            .next("try again when they are done")
    })?;
    // Part of the backup itself.
    let audit = Transaction::new().audit(who, "backup", "with the authority's key");
    parts.store.commit(audit).await?;
    let copy = parts.store.copy();
    let place = backup::Place::clone(&parts.place);
    let (sender, chunks) = mpsc::channel(AHEAD);
    let sender = Arc::new(sender);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let to = BufWriter::with_capacity(ARTIFACT_CHUNK_BYTES, Sending(Arc::clone(&sender)));
        if let Err(problem) = backup::write(place, &copy, to) {
            // A receiver that has gone away needs no reason.
            let _ = sender.blocking_send(Err(to_status(problem)));
        }
    });
    Ok(ReceiverStream::new(chunks))
}

struct Sending(Arc<mpsc::Sender<Result<FileChunk, Status>>>);

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let part = &bytes[..bytes.len().min(ARTIFACT_CHUNK_BYTES)];
        let data = part.to_vec();
        self.0
            .blocking_send(Ok(FileChunk { data }))
            .map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
