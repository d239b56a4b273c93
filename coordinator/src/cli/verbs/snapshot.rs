//! `quorate snapshot`: what is saved of the clusters' etcd.

use super::secret_file::SecretFile;
use super::{Session, cluster};
use crate::cli::args::SnapshotCommand;
use crate::cli::connect::{Client, SHORT, call};
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::show;
use crate::cli::text::clean;
use crate::cli::text::units::bytes;
use quorate_proto::v1::{
    CreateSnapshotRequest, ExportSnapshotRequest, ListSnapshotsRequest, ListSnapshotsResponse,
    Problem, SnapshotInfo, SnapshotLine,
};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;

/// The coordinator's own patience with a database of 8 GiB, and a little more.
pub(super) const TAKING: Duration = Duration::from_secs(450);

pub async fn run(session: &Session<'_>, command: SnapshotCommand) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    match command {
        SnapshotCommand::Export { id, file, force } => {
            export(session.console, (context, client), &id, &file, force).await
        }
        SnapshotCommand::List { cluster, output } => {
            let request = ListSnapshotsRequest {
                cluster: cluster.unwrap_or_default(),
            };
            let answer = call(&context, SHORT, client.list_snapshots(request)).await?;
            show(session.console, output.output, &answer)?;
            Ok(Exit::Ok)
        }
        SnapshotCommand::Create { cluster: named } => {
            let cluster = cluster(&context, &mut client, named).await?;
            let request = CreateSnapshotRequest { cluster };
            let answer = call(&context, TAKING, client.create_snapshot(request)).await?;
            for line in &answer.snapshots {
                session.console.note(saved(line));
            }
            // One copy there is; that it is the only one is worth a word, and an exit code.
            match answer.problems.is_empty() {
                true => Ok(Exit::Ok),
                false => Err(Failure {
                    exit: Exit::Pending,
                    problems: answer.problems,
                    detail: Vec::new(),
                }),
            }
        }
    }
}

async fn export(
    console: &Console,
    (context, mut client): (Context, Client),
    id: &str,
    file: &Path,
    force: bool,
) -> Outcome<Exit> {
    let mut file = SecretFile::begin(file, force)?;
    let list = client.list_snapshots(ListSnapshotsRequest::default());
    let list = call(&context, SHORT, list).await?;
    let (line, info) = holder(&list, id)?;
    let request = ExportSnapshotRequest {
        cluster: line.cluster.clone(),
        node: line.node.clone(),
        snapshot: id.to_owned(),
    };
    let chunks = call(&context, SHORT, client.export_snapshot(request)).await?;
    let mut hash = Sha256::new();
    file.receive(chunks, |data| hash.update(data)).await?;
    if hex::encode(hash.finalize()) != info.sha256 {
        let what = "what came is not what the node has reported";
        return Err(Problem::new("snapshot-damaged", what)
            .at(&line.node)
            .because("the transfer was cut short, or the file on the node is damaged")
            .next("export it again, or the copy of another node: quorate snapshot list")
            .into());
    }
    let path = file.path().display().to_string();
    file.put_in_place()?;
    console.note(format!(
        "{}: {} of {} at revision {}, its digest checked. It holds every secret of the cluster.",
        clean(&path),
        bytes(info.bytes),
        clean(&line.cluster),
        info.revision,
    ));
    Ok(Exit::Ok)
}

/// A node that is there and has it.
fn holder<'a>(
    list: &'a ListSnapshotsResponse,
    id: &str,
) -> Result<(&'a SnapshotLine, &'a SnapshotInfo), Problem> {
    let mut holders = list
        .snapshots
        .iter()
        .filter_map(|line| Some((line, line.snapshot.as_ref()?)))
        .filter(|(_, info)| info.id == id)
        .peekable();
    if holders.peek().is_none() {
        return Err(
            Problem::new("missing-snapshot", "there is no such snapshot")
                .at(id)
                .next("quorate snapshot list"),
        );
    }
    holders.find(|(line, _)| line.connected).ok_or_else(|| {
        Problem::new("agent-away", "no node that holds it is connected")
            .at(id)
            .next("quorate nodes; its file can also be copied from the node's disk")
    })
}

fn saved(line: &SnapshotLine) -> String {
    let info = line.snapshot.clone().unwrap_or_default();
    format!(
        "{} on {}: {} at revision {}, {}",
        clean(&info.id),
        clean(&line.node),
        bytes(info.bytes),
        info.revision,
        clean(&info.place),
    )
}
