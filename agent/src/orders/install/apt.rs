//! Runs apt-get without questions, waiting for locks, and holds packages.

use super::lock::LOCK_WAIT;
use crate::context::Context;
use crate::host::tool::Tool;
use quorate_proto::v1::Problem;
use std::path::PathBuf;
use std::time::Duration;

/// Refreshing the lists of every source of the host over a slow link.
const UPDATE: Duration = Duration::from_secs(300);

/// Nothing but the given files may come in: apt knows no source, and so has nothing to download. Its own --no-download does
/// not work with files, and a source's equal version would go before a file. The caches stay as the host's own runs made them.
const ONLY_FILES: [&str; 8] = [
    "-o",
    "Dir::Etc::sourcelist=/dev/null",
    "-o",
    "Dir::Etc::sourceparts=/dev/null",
    "-o",
    "Dir::Cache::pkgcache=",
    "-o",
    "Dir::Cache::srcpkgcache=",
];

const NAMED: &str = "Dir::Etc::sourcelist=/etc/apt/sources.list.d/quorate.sources";

#[derive(Debug, Default)]
pub struct Request {
    pub files: Vec<PathBuf>,
    /// Names, maybe with versions, from the apt sources.
    pub names: Vec<String>,
    /// Whether a held package is among them.
    pub held: bool,
    /// Whether apt may fetch what the files do not hold.
    pub download: bool,
    /// Every package that this brings, for people.
    pub packages: Vec<String>,
}

impl Request {
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["install", "--no-install-recommends", "--no-remove"]
            .map(str::to_owned)
            .into();
        if !self.download {
            arguments.extend(ONLY_FILES.map(str::to_owned));
        }
        if self.held {
            arguments.push("--allow-change-held-packages".into());
        }
        arguments.push("--".into());
        let files = self.files.iter().map(|file| file.display().to_string());
        arguments.extend(files);
        arguments.extend(self.names.iter().cloned());
        arguments
    }
}

/// Which lists are refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// Of the source that the cluster file names. On a closed network the host's own sources do not answer, each for many seconds.
    Named,
    All,
}

impl Lists {
    fn arguments(self) -> Vec<String> {
        let options: &[&str] = match self {
            Lists::Named => &[
                "-o",
                NAMED,
                "-o",
                "Dir::Etc::sourceparts=/dev/null",
                // Or the others' lists would go.
                "-o",
                "APT::Get::List-Cleanup=0",
            ],
            Lists::All => &[],
        };
        let words = std::iter::once(&"update").chain(options);
        words.map(|word| (*word).to_owned()).collect()
    }
}

pub async fn update(context: &Context, lists: Lists) -> Result<(), Problem> {
    context.say(match lists {
        Lists::Named => "apt: refreshing the package lists of the named source",
        Lists::All => "apt: refreshing all package lists",
    });
    run(context, lists.arguments(), UPDATE)
        .await
        .map_err(|problem| {
            problem
                .because("a package source does not answer or its signature does not fit its key")
                .next("correct the apt source in the cluster file, or the host's own sources")
        })
}

/// From the named source; what that does not hold, from the host's own.
pub async fn install_from_sources(context: &Context, request: &Request) -> Result<(), Problem> {
    update(context, Lists::Named).await?;
    match install(context, request).await {
        Ok(()) => Ok(()),
        Err(problem) => {
            context.say(format!(
                "apt: {}; looking in the host's own sources",
                problem.what
            ));
            update(context, Lists::All).await?;
            install(context, request).await
        }
    }
}

/// Bounded by the order's time.
pub async fn install(context: &Context, request: &Request) -> Result<(), Problem> {
    run(context, request.arguments(), context.time_left()).await
}

async fn run(context: &Context, arguments: Vec<String>, timeout: Duration) -> Result<(), Problem> {
    let waits = format!("DPkg::Lock::Timeout={}", LOCK_WAIT.as_secs());
    let line = |line: &str| {
        if let Some(line) = worth_saying(line) {
            context.say(line);
        }
    };
    let output = Tool::new("apt-get")
        .args(["-q", "-y", "-o", &waits])
        .args(["-o", "Dpkg::Options::=--force-confold"])
        .args(["-o", "Dpkg::Options::=--force-confdef"])
        // A progress bar would fill the log.
        .args(["-o", "Dpkg::Use-Pty=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("APT_LISTCHANGES_FRONTEND", "none")
        .env("NEEDRESTART_SUSPEND", "1")
        .env("LC_ALL", "C.UTF-8")
        .timeout(timeout)
        .on_line(&line)
        .run()
        .await?;
    if output.success() {
        return Ok(());
    }
    let says = complaints(&output.stdout, &output.stderr);
    Err(Problem::new("apt-failed", format!("apt-get failed: {says}")).at("apt-get"))
}

fn worth_saying(line: &str) -> Option<String> {
    let verbs = ["Setting up ", "Unpacking ", "E: ", "W: "];
    verbs
        .iter()
        .any(|verb| line.starts_with(verb))
        .then(|| format!("apt: {}", line.trim_end()))
}

/// What a person needs of a failed run: its errors and the unmet dependencies, else its last lines.
fn complaints(stdout: &str, stderr: &str) -> String {
    let telling = |line: &&str| {
        // A key that does not fit is a warning of apt's, behind which the error says only that there is no signature.
        ["E: ", "dpkg: error", "Depends:", "Conflicts:", "NO_PUBKEY"]
            .iter()
            .any(|mark| line.contains(mark))
    };
    let lines = || stdout.lines().chain(stderr.lines()).map(str::trim);
    let mut told: Vec<&str> = lines().filter(telling).collect();
    if told.is_empty() {
        told = lines().filter(|line| !line.is_empty()).collect();
    }
    let from = told.len().saturating_sub(8);
    told[from..].join(" | ")
}

pub async fn hold(packages: &[String]) -> Result<(), Problem> {
    if packages.is_empty() {
        return Ok(());
    }
    Tool::new("apt-mark")
        .args(["hold", "--"])
        .args(packages.iter().cloned())
        .ok()
        .await
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_downloaded_unless_a_source_is_named() {
        let files = Request {
            files: vec!["/cache/a.deb".into()],
            ..Request::default()
        };
        let no_source = "Dir::Etc::sourceparts=/dev/null".to_owned();
        assert!(files.arguments().contains(&no_source));
        let named = Request {
            names: vec!["runc".into()],
            held: true,
            download: true,
            ..files
        };
        let arguments = named.arguments();
        assert!(!arguments.contains(&no_source));
        assert!(arguments.contains(&"--allow-change-held-packages".to_owned()));
        assert_eq!(arguments[arguments.len() - 2..], ["/cache/a.deb", "runc"]);
    }

    #[test]
    fn the_named_source_is_refreshed_alone() {
        let named = Lists::Named.arguments();
        assert!(named.contains(&NAMED.to_owned()));
        assert!(named.contains(&"APT::Get::List-Cleanup=0".to_owned()));
        assert_eq!(Lists::All.arguments(), ["update"]);
    }

    #[test]
    fn a_failure_says_what_is_unmet() {
        let stdout = "Reading package lists...\nThe following packages have unmet dependencies:\n containerd : Depends: runc (>= 1.0) but it is not installable\n";
        let stderr = "E: Unable to correct problems, you have held broken packages.\n";
        let says = complaints(stdout, stderr);
        assert!(says.starts_with("containerd : Depends: runc"), "{says}");
        assert!(says.contains("held broken packages"), "{says}");
        let wrong_key = "W: GPG error: http://site lab InRelease: NO_PUBKEY 0A\nE: The repository is not signed.\n";
        let says = complaints("", wrong_key);
        assert!(says.contains("NO_PUBKEY 0A"), "{says}");
        assert_eq!(complaints("one\n\ntwo\n", ""), "one | two");
    }
}
