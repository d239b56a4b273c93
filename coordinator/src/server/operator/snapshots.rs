//! A snapshot's file for an admin: the node sends it to us, we send it on.

use crate::server::Parts;
use crate::server::status::to_status;
use quorate_proto::v1::{ExportSnapshotRequest, FileChunk, Problem};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

pub type Chunks = ReceiverStream<Result<FileChunk, Status>>;

pub async fn export(
    parts: &Parts,
    who: &str,
    request: ExportSnapshotRequest,
) -> Result<Chunks, Problem> {
    let (transfer, sender, receiver) = parts.transfers.open(&request.node)?;
    let engine = parts.engine.clone();
    let who = who.to_owned();
    tokio::spawn(async move {
        let sending = engine.send_snapshot(&who, request, &transfer.id);
        let result = tokio::select! {
            result = sending => result,
            // The operator left: nobody waits for the node any more.
            () = sender.closed() => return,
        };
        if let Err(problem) = result {
            let _ = sender.send(Err(to_status(problem))).await;
        }
    });
    Ok(ReceiverStream::new(receiver))
}
