//! What each command takes.

use crate::cli::text::units::parse_duration;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Where the unit and every command look.
pub const CONFIG_DIR: &str = "/etc/quorate";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    /// Table with every column and exact times
    Wide,
    Json,
    Yaml,
    /// Names only, one a line
    Name,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Format,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Address under which agents and people reach this coordinator; may be given up to four times, the preferred one first
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub advertise: Vec<String>,
    /// Where state is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/quorate")]
    pub state_dir: PathBuf,
    /// Where configuration is kept
    #[arg(long, value_name = "DIR", default_value = CONFIG_DIR)]
    pub config_dir: PathBuf,
    /// Do not enable and start the service
    #[arg(long)]
    pub no_start: bool,
}

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// File to write. It holds the private key of the coordinator's authority: keep it as safe as that
    pub file: PathBuf,
    /// Replace the file
    #[arg(long)]
    pub force: bool,
    /// Read the files of a coordinator that does not run, on its own machine
    #[arg(long)]
    pub offline: bool,
    /// Configuration of that coordinator
    #[arg(
        long,
        value_name = "FILE",
        requires = "offline",
        default_value = "/etc/quorate/coordinator.yaml"
    )]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// File that `quorate backup` has written
    pub file: PathBuf,
    /// Address under which agents and people reach it from now on; may be given up to four times [default: as before]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Vec<String>,
    /// Move an earlier coordinator's state aside. Nothing of it is deleted
    #[arg(long)]
    pub force: bool,
    /// Where state is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/quorate")]
    pub state_dir: PathBuf,
    /// Where configuration is kept
    #[arg(long, value_name = "DIR", default_value = CONFIG_DIR)]
    pub config_dir: PathBuf,
    /// Do not enable and start the service
    #[arg(long)]
    pub no_start: bool,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Configuration that `quorate init` has written; QUORATE_LOG sets what is logged
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/quorate/coordinator.yaml"
    )]
    pub config: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print the line that enrols a node with it
    Create {
        /// The only node name that may use it
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// How long it can be used
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
        ttl: Duration,
    },
    /// List tokens (never their secrets)
    List(OutputArgs),
    /// Make a token useless
    Revoke { id: String },
}

#[derive(Debug, Args)]
pub struct FileArgs {
    /// Cluster file; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Exit with 3 if there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// Of every command that starts an operation.
#[derive(Clone, Debug, Args)]
pub struct ChangeArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Print the operation's id and leave
    #[arg(long, conflicts_with = "timeout")]
    pub no_wait: bool,
    #[command(flatten)]
    pub watch: WatchArgs,
}

#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// How long to watch; the operation goes on after it
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// How to show progress
    #[arg(long, value_enum, default_value_t)]
    pub progress: ProgressMode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Live lines on a terminal, plain ones elsewhere
    #[default]
    Auto,
    Plain,
    /// One JSON object an event, on standard output
    Json,
}

#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// List operations
    List(OutputArgs),
    /// Follow an operation to its end
    Watch {
        id: String,
        #[command(flatten)]
        watch: WatchArgs,
    },
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this cluster
    pub cluster: Option<String>,
    /// Draw it anew every two seconds
    #[arg(short, long)]
    pub watch: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only this cluster
    pub cluster: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    pub cluster: String,
    /// Name in the certificate [default: yours]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// How long it is valid
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub ttl: Duration,
    /// Write a file of its own (for etcd a folder); - prints a kubeconfig
    /// [default: merge into ~/.kube/config; for etcd ./CLUSTER-etcd]
    #[arg(short, long, value_name = "OUT", conflicts_with = "merge")]
    pub file: Option<PathBuf>,
    /// Merge into $KUBECONFIG or ~/.kube/config
    #[arg(long)]
    pub merge: bool,
    /// Replace what is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// List them, with the node and the file
    List {
        /// Only of this cluster
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Bring a snapshot's file here. It holds every secret of the cluster: keep it safe
    Export {
        /// As `quorate snapshot list` shows it
        id: String,
        /// File to write
        file: PathBuf,
        /// Replace the file
        #[arg(long)]
        force: bool,
    },
    /// Save etcd now, on two members
    Create {
        /// Needed if there are several
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ArtifactsCommand {
    /// Upload files, or all files of folders
    Add {
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// List what is there
    List(OutputArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UserRole {
    /// Everything, users included
    Admin,
    /// Changes clusters
    Operator,
    /// Reads
    Viewer,
}

impl UserRole {
    pub fn name(self) -> &'static str {
        match self {
            UserRole::Admin => "admin",
            UserRole::Operator => "operator",
            UserRole::Viewer => "viewer",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a context file for a person or a script
    Create {
        name: String,
        /// What the certificate allows
        #[arg(long, value_enum)]
        role: UserRole,
        /// How long it is valid
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_duration)]
        ttl: Duration,
        /// Context file to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file
        #[arg(long)]
        force: bool,
    },
    /// Shut a user out: all certificates of that name
    Revoke {
        name: String,
        /// Do not ask for the name
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Newest entries to show
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub limit: u32,
    #[command(flatten)]
    pub output: OutputArgs,
}
