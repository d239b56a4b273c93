//! Sends a snapshot to the coordinator, piece by piece.

use super::shelf::{Shelf, is_cluster_id};
use crate::context::{Context, Done, Outcome};
use crate::daemon::not_enrolled;
use crate::identity::AgentIdentity;
use crate::inbox::is_order_id;
use crate::link::dial;
use crate::link::failure::Failure;
use crate::paths::Paths;
use quorate_proto::limits::ARTIFACT_CHUNK_BYTES;
use quorate_proto::v1::agent_client::AgentClient;
use quorate_proto::v1::snapshot_part::Part;
use quorate_proto::v1::{Problem, SendSnapshot, SnapshotPart};
use std::path::Path;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Pieces read ahead of the network.
const AHEAD: usize = 2;

pub async fn run(context: &Context, order: &SendSnapshot) -> Done {
    let cluster = &context.cluster()?.id;
    let sending = send(&context.paths, cluster, order);
    match tokio::time::timeout(context.time_left(), sending).await {
        Ok(sent) => sent.map(|()| Outcome::done()),
        Err(_) => Err(
            Problem::new("timeout-transfer", "the snapshot was not sent in time")
                .next("copy its file from the node with a tool of your own"),
        ),
    }
}

async fn send(paths: &Paths, cluster: &str, order: &SendSnapshot) -> Result<(), Problem> {
    if !is_order_id(&order.snapshot) || !is_cluster_id(cluster) {
        return Err(unknown(&order.snapshot));
    }
    let info = Shelf::open(paths, cluster)?
        .get(&order.snapshot)
        .ok_or_else(|| unknown(&order.snapshot))?;
    let identity = AgentIdentity::load(paths)?.ok_or_else(not_enrolled)?;
    let (endpoint, channel) = dial::beside(&identity)
        .await
        .map_err(|failure| failure.problem)?;
    let (sender, parts) = mpsc::channel(AHEAD);
    let path = Path::new(&info.place).to_owned();
    let transfer = order.transfer.clone();
    let reading = tokio::spawn(async move { feed(&path, transfer, sender).await });
    let answer = AgentClient::new(channel)
        .send_snapshot(ReceiverStream::new(parts))
        .await;
    // What went wrong on this side explains the other's complaint.
    if let Ok(Err(problem)) = reading.await {
        return Err(problem);
    }
    answer
        .map(|_| ())
        .map_err(|status| Failure::of_status(&endpoint, &status).problem)
}

/// Ends early, and so short, when the file cannot be read to its end: who receives it compares the digest.
async fn feed(
    path: &Path,
    transfer: String,
    sender: mpsc::Sender<SnapshotPart>,
) -> Result<(), Problem> {
    let fail = |error: std::io::Error| {
        let problem = Problem::new("file", format!("cannot read a snapshot: {error}"));
        problem.at(path.display().to_string())
    };
    let mut file = File::open(path).await.map_err(fail)?;
    let mut part = Part::Transfer(transfer);
    loop {
        let sending = sender.send(SnapshotPart { part: Some(part) });
        if sending.await.is_err() {
            // The call has ended; its answer says why.
            return Ok(());
        }
        let mut data = Vec::with_capacity(ARTIFACT_CHUNK_BYTES);
        let mut next = (&mut file).take(ARTIFACT_CHUNK_BYTES as u64);
        if next.read_to_end(&mut data).await.map_err(fail)? == 0 {
            return Ok(());
        }
        part = Part::Data(data);
    }
}

pub fn unknown(id: &str) -> Problem {
    Problem::new("missing-snapshot", "this node has no such snapshot")
        .at(id.chars().take(80).collect::<String>())
        .because("it was the oldest and made room for a newer one")
        .next("quorate snapshot list")
}
