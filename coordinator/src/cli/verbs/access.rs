//! `quorate kubeconfig`: a certificate of the cluster for a key that was made here.

use super::Session;
use super::user::make_key;
use crate::cli::args::KubeconfigArgs;
use crate::cli::connect::{Client, LONG, SHORT, call};
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::kubeconfig::{self, Access};
use crate::cli::text::{clean, units};
use crate::cli::{etcd_folder, files};
use crate::spec::address::host_port;
use quorate_proto::v1::{Distribution, Problem, SignUserRequest, StatusRequest};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a certificate is made for when neither flag nor context names anybody.
const SOMEBODY: &str = "admin";

/// Where the access goes, decided and checked before anything is signed.
enum Target {
    Print,
    File(PathBuf),
    Merge(PathBuf),
    Folder(PathBuf),
}

pub async fn run(session: &Session<'_>, args: KubeconfigArgs) -> Outcome<Exit> {
    let (context, mut client) = session.open().await?;
    let distribution = distribution(&context, &mut client, &args.cluster).await?;
    let target = target(&args, distribution, merge_target())?;
    let access = sign(&context, &mut client, &args).await?;
    deliver(session.console, &access, target, args.force)?;
    session.console.note(format!(
        "{} has access for {}",
        clean(&access.user),
        units::duration(args.ttl)
    ));
    Ok(Exit::Ok)
}

async fn distribution(
    context: &Context,
    client: &mut Client,
    cluster: &str,
) -> Outcome<Distribution> {
    let request = StatusRequest {
        cluster: cluster.to_owned(),
    };
    let status = call(context, SHORT, client.status(request)).await?;
    let found = status.clusters.iter().find(|one| one.name == cluster);
    Ok(found.map_or(Distribution::Unspecified, |one| one.distribution()))
}

async fn sign(context: &Context, client: &mut Client, args: &KubeconfigArgs) -> Outcome<Access> {
    let key = make_key()?;
    let own = Some(context.user()).filter(|name| !name.is_empty());
    let user = args
        .user
        .clone()
        .or(own)
        .unwrap_or_else(|| SOMEBODY.to_owned());
    let request = SignUserRequest {
        cluster: args.cluster.clone(),
        csr_pem: key.csr_pem.clone(),
        user: user.clone(),
        validity_seconds: u32::try_from(args.ttl.as_secs()).unwrap_or(u32::MAX),
    };
    let answer = call(context, LONG, client.sign_user(request)).await?;
    let endpoint = answer.endpoint.as_ref().map(host_port).unwrap_or_default();
    if !quorate_pki::pair_matches(&answer.certificate_pem, &key.key_pem) {
        let what = "the signed certificate is not for the key that was made here";
        return Err(Problem::new("certificate-foreign", what)
            .at(args.cluster.clone())
            .into());
    }
    Ok(Access {
        cluster: answer.cluster,
        user,
        server: format!("https://{endpoint}"),
        authority_pem: answer.authority_pem,
        certificate_pem: answer.certificate_pem,
        key_pem: key.key_pem,
    })
}

fn target(
    args: &KubeconfigArgs,
    distribution: Distribution,
    merge_into: Option<PathBuf>,
) -> Outcome<Target> {
    let print = args.file.as_deref() == Some(Path::new("-"));
    let target = match (distribution, &args.file) {
        (Distribution::Etcd, _) if print || args.merge => {
            return Err(usage(
                "etcd has no kubeconfig; its certificates go into a folder",
                "name one: -f FOLDER",
            ));
        }
        (Distribution::Etcd, Some(folder)) => Target::Folder(folder.clone()),
        (Distribution::Etcd, None) => {
            Target::Folder(PathBuf::from(format!("{}-etcd", args.cluster)))
        }
        (Distribution::Kubeadm | Distribution::Unspecified, _) if print => Target::Print,
        (Distribution::Kubeadm | Distribution::Unspecified, Some(file)) => {
            Target::File(file.clone())
        }
        (Distribution::Kubeadm | Distribution::Unspecified, None) => {
            Target::Merge(merge_into.ok_or_else(|| {
                usage(
                    "there is no home folder with a ~/.kube/config to merge into",
                    "name a file: -f OUT",
                )
            })?)
        }
    };
    let taken = match &target {
        Target::File(file) => Some(file.clone()).filter(|file| file.exists()),
        Target::Folder(folder) => etcd_folder::taken(folder),
        Target::Print | Target::Merge(_) => None,
    };
    match taken {
        Some(path) if !args.force => Err(files::exists(&path).into()),
        Some(_) | None => Ok(target),
    }
}

fn usage(what: &str, next: &str) -> Failure {
    Failure::new(Exit::Usage, Problem::new("usage", what).next(next))
}

/// As kubectl decides: the first file of `KUBECONFIG`, or the one in the home folder.
fn merge_target() -> Option<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let first = std::env::split_paths(&listed).find(|path| !path.as_os_str().is_empty());
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty());
    first.or_else(|| home().map(|home| PathBuf::from(home).join(".kube/config")))
}

fn deliver(console: &Console, access: &Access, target: Target, force: bool) -> Outcome<()> {
    match target {
        Target::Print => console.data(&Zeroizing::new(kubeconfig::text(access))),
        Target::File(path) => {
            files::write_private(
                &path,
                Zeroizing::new(kubeconfig::text(access)).as_bytes(),
                force,
            )?;
            console.note(format!(
                "use it: kubectl --kubeconfig {} get nodes",
                shown(&path)
            ));
            Ok(())
        }
        Target::Merge(path) => {
            let kept = kubeconfig::merge_file(&path, access, force)?;
            let mut line = format!(
                "merged into {}; the current context is {}",
                shown(&path),
                clean(&access.cluster)
            );
            if let Some(kept) = kept {
                line.push_str(&format!("\nthe file as it was: {}", shown(&kept)));
            }
            console.note(line);
            Ok(())
        }
        Target::Folder(folder) => {
            let env = etcd_folder::write(&folder, access, force)?;
            console.note(format!(
                "use it: . {} && etcdctl endpoint status -w table",
                shown(&env)
            ));
            Ok(())
        }
    }
}

fn shown(path: &Path) -> String {
    clean(&path.display().to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

    fn args(line: &str) -> KubeconfigArgs {
        let words = ["quorate", "kubeconfig", "prod"]
            .into_iter()
            .chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Kubeconfig(args) = cli.command else {
            panic!("{:?}", cli.command);
        };
        args
    }

    #[test]
    fn targets() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        std::fs::write(&taken, "x").unwrap();
        let taken_line = format!("-f {}", taken.display());
        let force_line = format!("{taken_line} --force");
        let home = || Some(PathBuf::from("/home/a/.kube/config"));
        for (line, distribution, home, want) in [
            (
                "",
                Distribution::Kubeadm,
                home(),
                "merge /home/a/.kube/config",
            ),
            (
                "--merge",
                Distribution::Kubeadm,
                home(),
                "merge /home/a/.kube/config",
            ),
            ("", Distribution::Kubeadm, None, "exit 2"),
            ("-f -", Distribution::Kubeadm, home(), "print"),
            ("-f new", Distribution::Kubeadm, home(), "file new"),
            (&taken_line, Distribution::Kubeadm, home(), "exit 1"),
            (
                &force_line,
                Distribution::Kubeadm,
                home(),
                &format!("file {}", taken.display()),
            ),
            ("", Distribution::Etcd, home(), "folder prod-etcd"),
            ("-f here", Distribution::Etcd, home(), "folder here"),
            ("-f -", Distribution::Etcd, home(), "exit 2"),
            ("--merge", Distribution::Etcd, home(), "exit 2"),
        ] {
            let got = match target(&args(line), distribution, home) {
                Ok(Target::Print) => "print".to_owned(),
                Ok(Target::File(path)) => format!("file {}", path.display()),
                Ok(Target::Merge(path)) => format!("merge {}", path.display()),
                Ok(Target::Folder(path)) => format!("folder {}", path.display()),
                Err(failure) => format!("exit {}", failure.exit.code()),
            };
            assert_eq!(got, want, "{line:?} {distribution:?}");
        }
    }
}
