//! What `quorate certificates` takes.

use super::{ChangeArgs, ClusterArgs, Format, OutputArgs};
use crate::spec::address::parse_host;
use clap::{ArgGroup, Args, Subcommand};

/// Without a subcommand it lists. A word that could be either is the subcommand: options may stand before it, so that
/// clap's own rule, which takes it for the cluster then, would surprise.
#[derive(Debug, Args)]
#[command(subcommand_precedence_over_arg = true)]
pub struct CertificatesArgs {
    #[command(subcommand)]
    pub command: Option<CertificatesCommand>,
    #[command(flatten)]
    pub list: CertificatesListArgs,
}

#[derive(Debug, Subcommand)]
pub enum CertificatesCommand {
    /// Every certificate of every node, and when it ends (the default)
    List(CertificatesListArgs),
    /// Renew a cluster's certificates, one member at a time
    Renew(RenewArgs),
    /// Change the further names in the serving certificates
    SetNames(SetNamesArgs),
    /// Certificates that the coordinator issued to agents and users
    Issued(OutputArgs),
}

#[derive(Debug, Args)]
pub struct CertificatesListArgs {
    /// Only this cluster
    #[arg(value_name = "CLUSTER", conflicts_with = "cluster")]
    pub name: Option<String>,
    /// Only this cluster
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
}

impl CertificatesListArgs {
    /// Whether anything was given that only the list takes.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.cluster.is_none() && self.output.output == Format::default()
    }
}

#[derive(Debug, Args)]
pub struct RenewArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Only on this node; may be given more than once
    #[arg(long = "node", value_name = "NODE")]
    pub nodes: Vec<String>,
    #[command(flatten)]
    pub change: ChangeArgs,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("names").args(["add", "drop"]).required(true).multiple(true))]
pub struct SetNamesArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// DNS name or address to add; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = parse_host)]
    pub add: Vec<String>,
    /// DNS name or address to leave out; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = parse_host)]
    pub drop: Vec<String>,
    #[command(flatten)]
    pub change: ChangeArgs,
}
