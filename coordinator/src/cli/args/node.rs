//! What `quorate node` takes.

use super::{ChangeArgs, Format};
use clap::{Args, Subcommand};
use std::net::IpAddr;

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Take a node out of its cluster: load balancers, pods, etcd, the machine itself, its certificate
    Remove(RemoveArgs),
    /// Let another machine take a node's place, or the same one after it was reinstalled
    Replace(ReplaceArgs),
    /// Shut a node's agent out for good. Its cluster membership stays as it is.
    Revoke {
        name: String,
        /// Do not ask for the name
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    pub name: String,
    #[command(flatten)]
    pub leaving: LeavingArgs,
}

#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The node that goes
    pub old: String,
    /// The node that takes its roles and its place [default: a machine of the same name, which enrols anew]
    pub new: Option<String>,
    /// Address of the new node [default: the one that its agent reports]
    #[arg(long, value_name = "IP", requires = "new")]
    pub address: Option<IpAddr>,
    #[command(flatten)]
    pub leaving: LeavingArgs,
}

/// Of every way to take a node out.
#[derive(Debug, Args)]
pub struct LeavingArgs {
    /// The machine is gone for good: do not wait for what only it could do. Refused while it is alive.
    #[arg(long)]
    pub dead: bool,
    /// Let it go whatever storage says (`storage` of the cluster file): what only this node holds is lost
    #[arg(long)]
    pub without_storage_check: bool,
    /// Only show what would be done
    #[arg(long, conflicts_with_all = ["yes", "no_wait", "timeout"])]
    pub dry_run: bool,
    /// Form of what --dry-run shows
    #[arg(short, long, value_enum, value_name = "FORM", requires = "dry_run")]
    pub output: Option<Format>,
    #[command(flatten)]
    pub change: ChangeArgs,
}
