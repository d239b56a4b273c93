//! `quorate backup` and `quorate restore`.

use super::Session;
use super::local::start;
use super::secret_file::SecretFile;
use crate::backup::{self, Backup, RestoreReport, Restoring};
use crate::cli::args::{BackupArgs, RestoreArgs};
use crate::cli::connect::{SHORT, call};
use crate::cli::console::Console;
use crate::cli::exit::Exit;
use crate::cli::failure::Outcome;
use crate::cli::render::count;
use crate::cli::text::{clean, units};
use crate::init::hand_over;
use crate::serve::Config;
use quorate_proto::v1::BackupRequest;
use std::io::BufWriter;
use std::path::Path;

pub async fn backup(session: &Session<'_>, args: &BackupArgs) -> Outcome<Exit> {
    let mut file = SecretFile::begin(&args.file, args.force)?;
    match args.offline {
        true => from_files(&args.config, &mut file).await?,
        false => {
            let (context, mut client) = session.open().await?;
            let chunks = call(&context, SHORT, client.backup(BackupRequest {})).await?;
            file.receive(chunks, |_| {}).await?;
        }
    }
    file.sync()?;
    // In its place only once it was read back whole.
    let made = backup::check(file.writing.path())?;
    let note = written(&made, file.path());
    file.put_in_place()?;
    session.console.note(note);
    Ok(Exit::Ok)
}

async fn from_files(config: &Path, to: &mut SecretFile) -> Outcome<()> {
    let config = Config::load(config)?;
    let (place, copy) = backup::of_files(&config).await?;
    // Opened as root, for a daemon that is not.
    hand_over(&config.state_dir)?;
    let out = BufWriter::new(to.writing.as_file_mut());
    backup::write(place, &copy, out)?;
    Ok(())
}

fn written(made: &Backup, path: &Path) -> String {
    format!(
        "{} holds this coordinator as of revision {} ({}), checked after it was written.\n\
         It holds the PRIVATE KEY of the coordinator's authority, unencrypted: who reads it can act as any node or admin.\n\
         Keep it on another machine. It does not hold artifacts; bring it back with: quorate restore FILE",
        clean(&path.display().to_string()),
        made.records.revision().0,
        count(made.records.len(), "record", "records"),
    )
}

pub async fn restore(console: &Console, args: &RestoreArgs) -> Outcome<Exit> {
    let report = backup::restore(Restoring {
        file: &args.file,
        state_dir: &args.state_dir,
        config_dir: &args.config_dir,
        advertise: &args.advertise,
        force: args.force,
    })
    .await?;
    console.note(restored(&report));
    start(console, &args.config_dir, args.no_start)?;
    Ok(Exit::Ok)
}

fn restored(report: &RestoreReport) -> String {
    let addresses = report.addresses.join(", ");
    let mut lines = vec![
        "This machine is the coordinator now.".to_owned(),
        format!(
            "  backup         of {}, made on {}",
            units::rfc3339(report.made_unix_ms),
            clean(&report.host)
        ),
        format!("  addresses      {}", clean(&addresses)),
        format!("  configuration  {}", report.config.display()),
        format!("  your access    {}", report.context.display()),
        format!("  authority      {}", report.pin),
        format!("  clusters       {}", list(&report.clusters)),
    ];
    if let Some(owner) = &report.owner {
        lines.push(format!(
            "  state          {} (belongs to {owner})",
            report.state_dir.display()
        ));
    }
    lines.extend(report.moved.iter().map(|path| moved(path)));
    lines.push("What was done after the backup is not known here:".to_owned());
    lines.push("  nodes and users of that time enrol or are made again; what was revoked then is revoked again".to_owned());
    lines.push(
        "  clusters go on from what their nodes report; apply files that were applied since"
            .to_owned(),
    );
    if report.tokens > 0 {
        lines.push(format!(
            "  {} no longer good",
            count(report.tokens, "open join token is", "open join tokens are")
        ));
    }
    if !report.missing.is_empty() {
        lines.push(format!(
            "  {} not in a backup; add again with: quorate artifacts add",
            count(report.missing.len(), "artifact is", "artifacts are")
        ));
    }
    lines.push("Next:".to_owned());
    lines.push("  stop the old coordinator, if its machine still runs: systemctl disable --now quorate-coordinator".to_owned());
    lines.push(format!(
        "  nodes that cannot find this one by an address they know: quorate-agent coordinator {}",
        clean(&report.addresses.join(" "))
    ));
    lines.push("  see the nodes arrive: quorate nodes".to_owned());
    lines.join("\n")
}

fn moved(path: &Path) -> String {
    format!("  moved aside    {}", path.display())
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => clean(&names.join(", ")).into_owned(),
    }
}
