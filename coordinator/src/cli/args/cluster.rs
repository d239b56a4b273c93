//! What `quorate cluster` takes.

use super::{ChangeArgs, Format};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Stop a whole cluster in order: workers, load balancers, members one by one. It stays so, over reboots too, until it is started.
    Stop(StopArgs),
    /// Start a cluster that was stopped, in whatever order its machines come back
    Start(StartArgs),
}

#[derive(Debug, Args)]
pub struct StopArgs {
    pub cluster: String,
    /// Do not save etcd first
    #[arg(long)]
    pub no_snapshot: bool,
    #[command(flatten)]
    pub power: PowerArgs,
}

#[derive(Debug, Args)]
pub struct StartArgs {
    pub cluster: String,
    #[command(flatten)]
    pub power: PowerArgs,
}

/// Of both.
#[derive(Debug, Args)]
pub struct PowerArgs {
    /// Only show what would be done
    #[arg(long, conflicts_with_all = ["yes", "no_wait", "timeout"])]
    pub dry_run: bool,
    /// Form of what --dry-run shows
    #[arg(short, long, value_enum, value_name = "FORM", requires = "dry_run")]
    pub output: Option<Format>,
    #[command(flatten)]
    pub change: ChangeArgs,
}
