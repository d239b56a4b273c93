//! The command line as clap sees it: the commands here, what they take in [`options`].

mod certificates;
mod cluster;
mod endpoint;
mod node;
mod options;
mod recover;

use super::exit;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

pub use certificates::*;
pub use cluster::*;
pub use endpoint::*;
pub use node::*;
pub use options::*;
pub use recover::*;

#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    about = "Form and keep highly available Kubernetes and etcd clusters on plain Debian machines",
    after_help = exit::HELP,
    arg_required_else_help = true,
    propagate_version = true
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// File with the coordinator's address and your certificate
    /// [default: ~/.config/quorate/context.yaml, then /etc/quorate/context.yaml]
    #[arg(
        long,
        global = true,
        env = "QUORATE_CONTEXT",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub context: Option<PathBuf>,
    /// No colours
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Only data and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More about errors, and the tools' own lines while an operation runs
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this machine a coordinator
    Init(InitArgs),
    /// Run the coordinator (what the systemd unit calls)
    Serve(ServeArgs),
    /// Write everything of this coordinator that another machine needs to one file
    Backup(BackupArgs),
    /// Make this machine the coordinator that a backup describes
    Restore(RestoreArgs),
    /// Join tokens for new nodes
    #[command(subcommand)]
    Token(TokenCommand),
    /// List enrolled nodes
    Nodes(OutputArgs),
    /// Act on one node
    #[command(subcommand)]
    Node(NodeCommand),
    /// Show what apply would do
    Plan(PlanArgs),
    /// Bring a cluster to what its file says
    Apply(ApplyArgs),
    /// Operations, running and past
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Health of the clusters
    Status(StatusArgs),
    /// Run every health check, on every node
    Check(CheckArgs),
    /// Snapshots of the clusters' etcd, kept on their members
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Restore an etcd cluster that has lost its quorum for good, from its best survivor
    Recover(RecoverArgs),
    /// Stop a whole cluster, and start it again
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Get access to a cluster: a kubeconfig, or certificates for etcd
    Kubeconfig(KubeconfigArgs),
    /// Packages, binaries and images that nodes install from
    #[command(subcommand, alias = "artifact")]
    Artifacts(ArtifactsCommand),
    /// People who may call the coordinator
    #[command(subcommand)]
    User(UserCommand),
    /// A cluster's endpoint: show it, move it to another address
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Certificates of the clusters: list them, renew them, change their names
    #[command(alias = "certificate")]
    Certificates(CertificatesArgs),
    /// Who did what
    Audit(AuditArgs),
    /// Show the version
    Version,
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Write manual pages into a folder
    #[command(hide = true)]
    Man { folder: PathBuf },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn clap_is_content() {
        Cli::command().debug_assert();
    }

    #[test]
    fn command_lines() {
        for (line, ok) in [
            ("token create --node cp1 --ttl 30m", true),
            ("token create --ttl soon", false),
            ("snapshot list --cluster prod -o wide", true),
            ("snapshot create", true),
            ("snapshot export 01K9 a --force", true),
            ("snapshot export 01K9", false),
            ("snapshot create prod", false),
            ("init", false),
            ("init --advertise a:1 --advertise b:2", true),
            ("backup", false),
            ("backup a --force", true),
            ("backup a --offline --config c", true),
            ("backup a --config c", false),
            (
                "restore a --advertise b:1 --advertise c:1 --force --no-start",
                true,
            ),
            ("apply -f - --yes --no-wait", true),
            ("apply -f a --no-wait --timeout 5m", false),
            ("apply", false),
            ("plan -f a --detailed-exitcode -o json", true),
            ("nodes -o wide --context c.yaml -q", true),
            ("kubeconfig prod -f a --merge", false),
            ("user create bob --role root -o a", false),
            ("user create bob --role viewer -o a", true),
            ("operation watch 01J --progress plain", true),
            ("status prod -w", true),
            ("artifacts add", false),
            ("endpoint show", true),
            ("endpoint show prod -o wide", true),
            ("endpoint show prod --cluster prod", false),
            ("endpoint rotate", false),
            (
                "endpoint rotate --cluster prod 10.0.0.20 --external --yes",
                true,
            ),
            ("endpoint rotate [fd00::2]:6443 --soak 0 --no-wait", true),
            ("endpoint rotate api.example --soak 5m --timeout 1h", true),
            ("endpoint rotate api.example --soak soon", false),
            ("endpoint rotate https://api.example", false),
            ("endpoint rotate api.example -o json", false),
            ("endpoint rotate api.example --dry-run -o json", true),
            ("endpoint drop --cluster prod --without-absent", true),
            ("endpoint rollback prod", false),
            ("certificates", true),
            ("certificates prod -o wide", true),
            ("certificates list --cluster prod", true),
            ("certificates issued -o name", true),
            ("certificates renew --node cp1 --node cp2 --yes", true),
            ("certificates -q renew --yes", true),
            ("certificates --context c.yaml issued -o name", true),
            ("certificates set-names --cluster prod", false),
            (
                "certificates set-names --add api.example --drop 10.0.0.9",
                true,
            ),
            ("certificates set-names --add *.example", false),
            ("cluster stop", false),
            ("cluster stop prod --no-snapshot --yes --timeout 1h", true),
            ("cluster stop prod --dry-run -o json", true),
            ("cluster stop prod --dry-run --yes", false),
            ("cluster start prod --no-snapshot", false),
            ("cluster start prod --no-wait", true),
            ("recover", false),
            ("recover --cluster prod --without a,b --without c", true),
            (
                "recover --cluster prod --from-member a --dry-run -o json",
                true,
            ),
            ("recover --cluster prod --dry-run --yes", false),
            ("recover --cluster prod -o json", false),
            ("node remove cp3 --yes --timeout 10m", true),
            ("node remove", false),
            ("node remove cp3 --without-storage-check --yes", true),
            ("node remove cp3 --dead --dry-run -o json", true),
            ("node remove cp3 -o json", false),
            ("node replace cp3", true),
            ("node replace cp3 cp4 --address 10.0.0.14 --no-wait", true),
            ("node replace cp3 --address 10.0.0.14", false),
            ("node replace cp3 cp4 --address cp4.example", false),
        ] {
            let words = std::iter::once("quorate").chain(line.split_whitespace());
            assert_eq!(Cli::try_parse_from(words).is_ok(), ok, "{line}");
        }
    }
}
