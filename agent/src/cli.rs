//! The command line of the agent.

use crate::daemon;
use crate::enroll::{self, Options};
use crate::host::{files, pair};
use crate::orders::snapshot::add;
use crate::paths::Paths;
use crate::status::Status;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use quorate_proto::token::JoinToken;
use quorate_proto::v1::Problem;
use std::future::Future;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// Threads that run the agent: one that waits for the disk does not keep the other from heartbeats.
const WORKERS: usize = 2;
/// Threads for orders (a few at once), and for the hashing, locks and name look-ups that they wait for.
const BLOCKING_THREADS: usize = 32;
/// For threads to end with the process; an order in the middle of something does not hold it up.
const SHUTDOWN: Duration = Duration::from_secs(1);
/// Bytes of a token on standard input.
const MAX_TOKEN: u64 = 16 * 1024;
/// A valid status that shows no session.
const NOT_CONNECTED: u8 = 4;

/// Agent of quorate: carries out its coordinator's orders on this machine.
#[derive(Parser)]
#[command(name = "quorate-agent", disable_version_flag = true)]
pub struct Cli {
    /// Take this folder for the root of the machine.
    #[arg(long, global = true, hide = true, default_value = "/")]
    root: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run as a service (what the systemd unit does).
    Run,
    /// Join this node to a coordinator.
    Enroll {
        /// What `quorate token create` printed; "-" reads it from standard input, out of sight of `ps`.
        token: String,
        /// The node's name, if it is not to be the host name.
        #[arg(long)]
        name: Option<String>,
        /// Replace the identity that is there, and forget the orders that belonged to it.
        #[arg(long)]
        force: bool,
    },
    /// Dial these addresses of the coordinator first; those known already stay behind them.
    Coordinator {
        /// As `quorate restore --advertise` or `quorate init --advertise` was given them
        #[arg(required = true, value_name = "HOST:PORT")]
        addresses: Vec<String>,
    },
    /// Put a snapshot that was exported before beside this member's own, for `quorate recover --snapshot`.
    Snapshot {
        /// What `quorate snapshot export` or `etcdctl snapshot save` wrote
        file: PathBuf,
    },
    /// Carry out an accepted order (what a transient unit does).
    #[command(hide = true)]
    Execute { id: String },
    /// Finish certificates whose installation was cut short (what the agent starts when it finds some).
    #[command(hide = true)]
    CompletePairs,
    /// Show identity, link and running orders. Exit code 4: not connected.
    Status {
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Show the version.
    Version,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn main() -> ExitCode {
    log_to_stderr();
    let cli = Cli::parse();
    // systemd sets this for what it starts.
    let under_systemd =
        std::env::var_os("INVOCATION_ID").is_some() && !std::io::stdin().is_terminal();
    let command = match cli.command {
        Some(command) => command,
        None if under_systemd => Command::Run,
        None => {
            let _ = Cli::command().print_help();
            return ExitCode::from(2);
        }
    };
    match dispatch(command, Paths::under(cli.root)) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("quorate-agent: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, paths: Paths) -> Result<ExitCode, Problem> {
    match command {
        Command::Run => in_runtime(daemon::run(paths))?,
        Command::Execute { id } => in_runtime(daemon::execute(paths, &id))?,
        Command::CompletePairs => pair::complete_all(&paths)?,
        Command::Enroll { token, name, force } => {
            let token = read_token(token)?;
            in_runtime(enroll_here(&paths, &token, Options { name, force }))?;
        }
        Command::Coordinator { addresses } => in_runtime(lead_to(&paths, &addresses))?,
        Command::Snapshot { file } => in_runtime(add_snapshot(&paths, &file))?,
        Command::Status { output } => return show_status(&paths, output),
        Command::Version => println!("quorate-agent {}", env!("CARGO_PKG_VERSION")),
    }
    Ok(ExitCode::SUCCESS)
}

async fn enroll_here(paths: &Paths, token: &JoinToken, options: Options) -> Result<(), Problem> {
    files::make_folder(&paths.state(), 0o700)?;
    let identity = enroll::enroll(paths, token, options).await?;
    println!("enrolled as {} ({})", identity.node_name, identity.node_id);
    match enroll::restart_daemon().await {
        Ok(true) => println!("quorate-agent.service is running; see: quorate-agent status"),
        Ok(false) => println!("start the agent with: quorate-agent run"),
        Err(problem) => {
            return Err(Problem::new(
                "agent-not-started",
                "the node is enrolled, but its service did not start",
            )
            .because(problem.to_string())
            .next("journalctl -u quorate-agent"));
        }
    }
    Ok(())
}

async fn add_snapshot(paths: &Paths, file: &Path) -> Result<(), Problem> {
    let info = add::add(paths, file).await?;
    println!(
        "snapshot {} at revision {}: {}",
        info.id, info.revision, info.place
    );
    println!(
        "once the agent has reported it: quorate recover --cluster NAME --snapshot {}",
        info.id
    );
    Ok(())
}

async fn lead_to(paths: &Paths, addresses: &[String]) -> Result<(), Problem> {
    let known = enroll::lead_to(paths, addresses).await?;
    println!("the coordinator is looked for at {}", known.join(", then "));
    if enroll::restart_daemon().await? {
        println!("quorate-agent.service is running; see: quorate-agent status");
    }
    Ok(())
}

fn read_token(argument: String) -> Result<JoinToken, Problem> {
    let argument = Zeroizing::new(argument);
    if *argument != "-" {
        return JoinToken::decode(&argument);
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(MAX_TOKEN)
        .read_to_string(&mut text)
        .map_err(|error| Problem::new("token-malformed", format!("cannot read it: {error}")))?;
    JoinToken::decode(&text)
}

fn show_status(paths: &Paths, output: Format) -> Result<ExitCode, Problem> {
    let status = Status::gather(paths)?.ok_or_else(|| {
        Problem::new("not-enrolled", "this node is not enrolled")
            .next("get a token from the coordinator (quorate token create), then: quorate-agent enroll TOKEN")
    })?;
    match output {
        Format::Text => print!("{status}"),
        Format::Json => {
            let text = serde_json::to_string_pretty(&status)
                .map_err(|error| Problem::new("status", error.to_string()))?;
            println!("{text}");
        }
    }
    Ok(if status.is_connected() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_CONNECTED)
    })
}

fn in_runtime<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .enable_all()
        .build()
        .map_err(|error| Problem::new("runtime", error.to_string()))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(SHUTDOWN);
    done
}

/// Journald adds the time by itself.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("QUORATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}
