//! `quorate artifacts`: uploads what nodes install from; what is there already is not sent again.

use super::Session;
use crate::artifacts::describe;
use crate::cli::args::ArtifactsCommand;
use crate::cli::connect::{Client, SHORT, call};
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::show;
use crate::cli::render::count;
use crate::cli::text::clean;
use crate::cli::text::units::bytes;
use crate::files::problem;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_proto::limits::ARTIFACT_CHUNK_BYTES;
use quorate_proto::v1::add_artifact_request::Part;
use quorate_proto::v1::{AddArtifactRequest, ArtifactRef, ListArtifactsRequest, Problem};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// The largest artifact, 8 GiB, over 20 Mbit/s.
const UPLOAD_LIMIT: Duration = Duration::from_secs(3600);
/// Chunks read ahead of the network.
const AHEAD: usize = 4;

pub async fn run(session: &Session<'_>, command: ArtifactsCommand) -> Outcome<Exit> {
    match command {
        ArtifactsCommand::Add { paths } => add(session, &paths).await,
        ArtifactsCommand::List(output) => {
            let (context, mut client) = session.open().await?;
            let request = ListArtifactsRequest {};
            let answer = call(&context, SHORT, client.list_artifacts(request)).await?;
            show(session.console, output.output, &answer)?;
            Ok(Exit::Ok)
        }
    }
}

async fn add(session: &Session<'_>, paths: &[PathBuf]) -> Outcome<Exit> {
    let console = session.console;
    let candidates = candidates(paths)?;
    let (context, mut client) = session.open().await?;
    let list = call(
        &context,
        SHORT,
        client.list_artifacts(ListArtifactsRequest {}),
    )
    .await?;
    let mut known: BTreeSet<String> = list.artifacts.into_iter().map(|one| one.digest).collect();
    let (mut sent, mut there, mut skipped) = (0, 0, 0);
    for candidate in candidates {
        let artifact = match look_at(&candidate.path).await {
            Ok(artifact) => artifact,
            Err(problem) if !candidate.named => {
                console.note(format!(
                    "skipped {}: {}",
                    shown(&candidate.path),
                    clean(&problem.what)
                ));
                skipped += 1;
                continue;
            }
            Err(problem) => return Err(problem.into()),
        };
        if !known.insert(artifact.digest.clone()) {
            there += 1;
            continue;
        }
        upload(console, &context, &mut client, &candidate.path, &artifact).await?;
        sent += 1;
    }
    let mut line = format!(
        "{} added, {there} already there",
        count(sent, "artifact", "artifacts")
    );
    if skipped > 0 {
        line.push_str(&format!(", {} skipped", count(skipped, "file", "files")));
    }
    console.note(line);
    Ok(Exit::Ok)
}

#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    path: PathBuf,
    /// Named on the command line, not found in a folder.
    named: bool,
}

/// The files in order; of folders their visible files, without those of deeper folders.
fn candidates(paths: &[PathBuf]) -> Result<Vec<Candidate>, Problem> {
    let mut found = Vec::new();
    for path in paths {
        let fail = |error: std::io::Error| problem("read", path, &error);
        if !path.metadata().map_err(fail)?.is_dir() {
            found.push(Candidate {
                path: path.clone(),
                named: true,
            });
            continue;
        }
        let mut inside = Vec::new();
        for entry in path.read_dir().map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden && entry.path().is_file() {
                inside.push(entry.path());
            }
        }
        inside.sort();
        found.extend(
            inside
                .into_iter()
                .map(|path| Candidate { path, named: false }),
        );
    }
    Ok(found)
}

async fn look_at(path: &Path) -> Result<ArtifactRef, Problem> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || describe(&path))
        .await
        .unwrap_or_else(|error| Err(Problem::new("artifact-unreadable", error.to_string())))
}

async fn upload(
    console: &Console,
    context: &Context,
    client: &mut Client,
    path: &Path,
    artifact: &ArtifactRef,
) -> Outcome<()> {
    let bar = bar(console, artifact);
    let (sender, receiver) = mpsc::channel(AHEAD);
    let feeding = tokio::spawn(feed(path.to_owned(), artifact.clone(), sender, bar.clone()));
    let answer = client.add_artifact(ReceiverStream::new(receiver));
    let answer = call(context, UPLOAD_LIMIT, answer).await;
    bar.finish_and_clear();
    // What went wrong on this side explains the other's complaint.
    if let Ok(Err(problem)) = feeding.await {
        return Err(problem.into());
    }
    let answer = answer.map_err(|failure| about(failure, path))?;
    if answer.digest != artifact.digest {
        let what = "the coordinator received something else than the file holds";
        return Err(Problem::new("artifact-changed", what)
            .at(path.display().to_string())
            .because("the file changed while it was sent")
            .next("add it again")
            .into());
    }
    console.note(format!(
        "added {} ({})",
        clean(&artifact.name),
        bytes(artifact.size)
    ));
    Ok(())
}

fn about(mut failure: Failure, path: &Path) -> Failure {
    for problem in &mut failure.problems {
        if problem.r#where.is_empty() {
            problem.r#where = path.display().to_string();
        }
    }
    failure
}

/// Header, then the content. Ends early, and so invalidly, when the file cannot be read to its end.
async fn feed(
    path: PathBuf,
    artifact: ArtifactRef,
    sender: mpsc::Sender<AddArtifactRequest>,
    bar: ProgressBar,
) -> Result<(), Problem> {
    let fail = |error: std::io::Error| problem("read", &path, &error);
    let mut file = tokio::fs::File::open(&path).await.map_err(fail)?;
    let mut part = Part::Header(artifact);
    loop {
        let sending = sender.send(AddArtifactRequest { part: Some(part) });
        if sending.await.is_err() {
            // The call has ended; its answer says why.
            return Ok(());
        }
        let mut chunk = Vec::with_capacity(ARTIFACT_CHUNK_BYTES);
        let mut next = (&mut file).take(ARTIFACT_CHUNK_BYTES as u64);
        let read = next.read_to_end(&mut chunk).await.map_err(fail)?;
        if read == 0 {
            return Ok(());
        }
        bar.inc(read as u64);
        part = Part::Data(chunk);
    }
}

fn bar(console: &Console, artifact: &ArtifactRef) -> ProgressBar {
    let target = if console.live && !console.quiet {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(artifact.size), target);
    let template = "{msg}  {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(clean(&artifact.name).into_owned())
}

fn shown(path: &Path) -> String {
    clean(&path.display().to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_visible_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("debs/deeper")).unwrap();
        for name in [
            "debs/b.deb",
            "debs/a.deb",
            "debs/.hidden",
            "debs/deeper/c.deb",
            "one",
        ] {
            std::fs::write(path(name), "x").unwrap();
        }
        let found = candidates(&[path("one"), path("debs")]).unwrap();
        let want = [("one", true), ("debs/a.deb", false), ("debs/b.deb", false)];
        assert_eq!(
            found,
            want.map(|(name, named)| Candidate {
                path: path(name),
                named
            })
        );
        let missing = candidates(&[path("two")]).unwrap_err();
        assert!(missing.r#where.ends_with("/two"), "{missing}");
    }
}
