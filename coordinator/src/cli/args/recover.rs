//! What `quorate recover` takes.

use super::{ChangeArgs, Format};
use clap::Args;

#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// The cluster that has lost its quorum
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// Go back to this snapshot, of those that `quorate snapshot list` shows; all that was written later is lost
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<String>,
    /// Whose data becomes the cluster's [default: the member that has applied most, or that holds the snapshot]
    #[arg(long, value_name = "NODE")]
    pub from_member: Option<String>,
    /// These machines, or what they hold, are gone for good. Refused while their etcd runs.
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub without: Vec<String>,
    /// Only show what would be done
    #[arg(long, conflicts_with_all = ["yes", "no_wait", "timeout"])]
    pub dry_run: bool,
    /// Form of what --dry-run shows
    #[arg(short, long, value_enum, value_name = "FORM", requires = "dry_run")]
    pub output: Option<Format>,
    #[command(flatten)]
    pub change: ChangeArgs,
}
