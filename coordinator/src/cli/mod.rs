//! The command line. [`args`] says what can be asked, [`verbs`] does it, [`render`] shows the answers.
//!
//! Standard output carries data and nothing else; progress, notes and errors go to standard error. What the
//! exit codes mean stands in [`exit`].

mod args;
mod attachments;
mod confirm;
mod connect;
mod console;
pub(crate) mod context;
mod etcd_folder;
mod exit;
mod explain;
mod failure;
mod files;
mod kubeconfig;
mod output;
mod render;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod text;
mod verbs;
mod watch;

use args::{Cli, Command};
use clap::Parser;
use console::Console;
use context::Places;
use exit::Exit;
use failure::{Failure, Outcome};
use quorate_proto::v1::Problem;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};
use verbs::{
    Session, access, apply, artifacts, backup, certificates, endpoint, health, local, nodes, power,
    recover, snapshot, tokens, user,
};

pub use context::{Context, SYSTEM_CONTEXT};

/// Reads the process's arguments and does what they say. Wrong usage ends in clap, with 2.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let globals = &cli.globals;
    let console = Console::of_process(globals.no_color, globals.quiet, globals.verbose);
    let places = Places::of_process(globals.context.clone());
    let result = runtime(&cli.command).and_then(|runtime| {
        let result = runtime.block_on(run(cli.command, &console, &places));
        // A thread that still reads standard input must not keep the process.
        runtime.shutdown_background();
        result
    });
    ExitCode::from(finish(&console, result).code())
}

/// The daemon wants every core; a client does one thing.
fn runtime(command: &Command) -> Outcome<Runtime> {
    let mut builder = match command {
        Command::Serve(_) => Builder::new_multi_thread(),
        Command::Init(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Token(_)
        | Command::Nodes(_)
        | Command::Node(_)
        | Command::Plan(_)
        | Command::Apply(_)
        | Command::Operation(_)
        | Command::Status(_)
        | Command::Check(_)
        | Command::Snapshot(_)
        | Command::Recover(_)
        | Command::Cluster(_)
        | Command::Kubeconfig(_)
        | Command::Artifacts(_)
        | Command::User(_)
        | Command::Endpoint(_)
        | Command::Certificates(_)
        | Command::Audit(_)
        | Command::Version
        | Command::Completions { .. }
        | Command::Man { .. } => Builder::new_current_thread(),
    };
    let built = builder.enable_all().build();
    built.map_err(|error| Problem::new("runtime-failed", error.to_string()).into())
}

fn finish(console: &Console, result: Outcome<Exit>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(failure) => {
            console.complain(&failure);
            failure.exit
        }
    }
}

async fn run(command: Command, console: &Console, places: &Places) -> Result<Exit, Failure> {
    let session = &Session { console, places };
    match command {
        Command::Init(args) => local::init(console, &args).await,
        Command::Serve(args) => local::serve(console, args).await,
        Command::Backup(args) => backup::backup(session, &args).await,
        Command::Restore(args) => backup::restore(console, &args).await,
        Command::Token(command) => tokens::run(session, command).await,
        Command::Nodes(output) => nodes::list(session, output).await,
        Command::Node(command) => nodes::act(session, command).await,
        Command::Plan(args) => apply::plan(session, args).await,
        Command::Apply(args) => apply::apply(session, args).await,
        Command::Operation(command) => apply::operation(session, command).await,
        Command::Status(args) => health::status(session, args).await,
        Command::Check(args) => health::check(session, args).await,
        Command::Snapshot(command) => snapshot::run(session, command).await,
        Command::Recover(args) => recover::run(session, args).await,
        Command::Cluster(command) => power::run(session, command).await,
        Command::Kubeconfig(args) => access::run(session, args).await,
        Command::Artifacts(command) => artifacts::run(session, command).await,
        Command::User(command) => user::run(session, command).await,
        Command::Endpoint(command) => endpoint::run(session, command).await,
        Command::Certificates(args) => certificates::run(session, args).await,
        Command::Audit(args) => nodes::audit(session, args).await,
        Command::Version => local::version(console),
        Command::Completions { shell } => local::completions(console, shell),
        Command::Man { folder } => local::man(&folder),
    }
}
