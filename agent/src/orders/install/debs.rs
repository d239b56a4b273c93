//! Brings the wanted Debian packages onto this host and holds them, once it is decided where each comes from.

use super::apt::{self, Request};
use super::depends::{Closure, Control, closure, parse_control};
use super::fetch::Fetches;
use super::installed::Installed;
use super::packages::{Offer, Way, candidates, way};
use super::{etcd_guard, lock, source};
use crate::context::Context;
use crate::host::files;
use crate::host::tool::Tool;
use quorate_proto::v1::{ArtifactRef, ClusterConfig, Install, Problem};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is to be done for the packages of one order.
#[derive(Debug)]
pub struct Plan {
    pub ways: BTreeMap<String, Way>,
    /// The .deb files to choose from; empty when none of the wanted packages needs one.
    pub files: Vec<ArtifactRef>,
}

/// Refuses with every package that has no source, before anything is changed.
pub fn plan(names: &[String], cluster: &ClusterConfig, offer: &Offer<'_>) -> Result<Plan, Problem> {
    let ways: BTreeMap<String, Way> = names
        .iter()
        .map(|name| (name.clone(), way(name, cluster, offer)))
        .collect();
    let missing: Vec<&Problem> = ways.values().filter_map(as_missing).collect();
    if let Some(problem) = together(&missing) {
        return Err(problem);
    }
    let any = ways.values().any(|way| matches!(way, Way::Artifact(_)));
    let files = match any {
        true => candidates(offer.artifacts, cluster, offer.installed),
        false => Vec::new(),
    };
    Ok(Plan {
        ways,
        files: files.into_iter().cloned().collect(),
    })
}

fn as_missing(way: &Way) -> Option<&Problem> {
    match way {
        Way::Missing(problem) => Some(problem),
        Way::Present | Way::Artifact(_) | Way::Binary | Way::Source(_) => None,
    }
}

fn together(problems: &[&Problem]) -> Option<Problem> {
    let first = (*problems.first()?).clone();
    if problems.len() == 1 {
        return Some(first);
    }
    let names: Vec<&str> = problems
        .iter()
        .map(|problem| problem.r#where.as_str())
        .collect();
    let names = names.join(", ");
    Some(
        Problem::new("package-missing", format!("no source for the packages {names}"))
            .at(names.clone())
            .because("they are not installed in the asked version, no artifacts hold them, and the cluster file names no apt source")
            .next(format!(
                "quorate artifacts add the .deb files of {names} and of what they depend on, or name an apt source in the cluster file"
            )),
    )
}

impl Plan {
    pub fn comes_as_package(&self, name: &str) -> bool {
        match self.ways.get(name) {
            Some(Way::Present | Way::Artifact(_) | Way::Source(_)) => true,
            Some(Way::Binary | Way::Missing(_)) | None => false,
        }
    }

    fn wanted_files(&self) -> Vec<String> {
        let chosen =
            |(name, way): (&String, &Way)| matches!(way, Way::Artifact(_)).then(|| name.clone());
        self.ways.iter().filter_map(chosen).collect()
    }

    fn names(&self) -> Vec<String> {
        self.ways.values().filter_map(as_source).cloned().collect()
    }
}

fn as_source(way: &Way) -> Option<&String> {
    match way {
        Way::Source(name) => Some(name),
        Way::Present | Way::Artifact(_) | Way::Binary | Way::Missing(_) => None,
    }
}

/// Installs what the plan says. Does nothing when all is present.
pub async fn bring(
    context: &Context,
    action: &Install,
    plan: &Plan,
    installed: &Installed,
    fetches: &mut Fetches,
) -> Result<(), Problem> {
    if let Some(apt) = &action.apt {
        source::write(context, apt)?;
    }
    lock::repair(context, &installed.broken).await?;
    let names = plan.names();
    let wanted = plan.wanted_files();
    if !names.is_empty() || !wanted.is_empty() {
        let folder = Folder::new(context)?;
        let debs = folder.fill(&plan.files, fetches).await?;
        let controls: Vec<Control> = debs.iter().map(|deb| deb.control.clone()).collect();
        let closure = closure(&wanted, &controls, installed);
        let request = request(action, &debs, &closure, names, installed);
        if etcd_guard::needed(&request.packages) {
            etcd_guard::place(&context.paths).await?;
        }
        context.say(format!("installing {}", request.packages.join(", ")));
        let done = match action.apt {
            Some(_) => apt::install_from_sources(context, &request).await,
            None => apt::install(context, &request).await,
        };
        done.map_err(|problem| explain(problem, &closure, action.apt.is_some()))?;
    }
    hold(context, action, plan).await
}

fn request(
    action: &Install,
    debs: &[Deb],
    closure: &Closure,
    names: Vec<String>,
    installed: &Installed,
) -> Request {
    let chosen = debs
        .iter()
        .filter(|deb| closure.packages.contains(&deb.control.package));
    let bare = |name: &String| name.split('=').next().unwrap_or(name).to_owned();
    let mut packages: Vec<String> = closure.packages.iter().cloned().collect();
    packages.extend(names.iter().map(bare));
    Request {
        files: chosen.map(|deb| deb.path.clone()).collect(),
        held: packages.iter().any(|package| installed.held(package)),
        download: action.apt.is_some(),
        names,
        packages,
    }
}

fn explain(problem: Problem, closure: &Closure, apt: bool) -> Problem {
    if !problem.next.is_empty() {
        return problem; // of a package source
    }
    if closure.lacking.is_empty() || apt {
        return problem.next("look at what apt-get says; the order is safe to repeat");
    }
    let lacking: Vec<&str> = closure.lacking.iter().map(String::as_str).collect();
    let lacking = lacking.join(", ");
    problem
        .because(format!(
            "what the packages depend on is neither installed nor among the artifacts: {lacking}"
        ))
        .next(format!(
            "quorate artifacts add the .deb files of {lacking}, or name an apt source in the cluster file"
        ))
}

/// Checks that every package is there, and holds them if asked. A name that another package provides cannot be held.
async fn hold(context: &Context, action: &Install, plan: &Plan) -> Result<(), Problem> {
    let now = Installed::read().await?;
    let packaged = plan.ways.keys().filter(|name| plan.comes_as_package(name));
    let packaged: Vec<&str> = packaged.map(String::as_str).collect();
    let absent: Vec<&str> = packaged
        .iter()
        .filter(|name| now.answers_to(name).is_none())
        .copied()
        .collect();
    if !absent.is_empty() {
        return Err(Problem::new(
            "package-missing",
            format!(
                "not installed after the installation: {}",
                absent.join(", ")
            ),
        )
        .next("look at /var/log/apt/term.log on the node"));
    }
    if !action.hold {
        return Ok(());
    }
    let loose: Vec<String> = packaged
        .into_iter()
        .filter(|name| now.version(name).is_some() && !now.held(name))
        .map(str::to_owned)
        .collect();
    if !loose.is_empty() {
        context.say(format!("holding {}", loose.join(", ")));
    }
    apt::hold(&loose).await
}

struct Deb {
    path: PathBuf,
    control: Control,
}

/// apt takes a file for a package only if its name ends in .deb. Removed with the value; what a killed run left, at the start.
struct Folder(PathBuf);

impl Folder {
    fn new(context: &Context) -> Result<Self, Problem> {
        let folder = context.paths.state().join("debs");
        files::make_folder(&context.paths.state(), 0o700)?;
        files::remove_tree(&folder)?;
        files::make_folder(&folder, 0o700)?;
        Ok(Folder(folder))
    }

    async fn fill(
        &self,
        artifacts: &[ArtifactRef],
        fetches: &mut Fetches,
    ) -> Result<Vec<Deb>, Problem> {
        let mut debs = Vec::new();
        for (number, artifact) in artifacts.iter().enumerate() {
            let cached = fetches.take(artifact).await?;
            let path = self.0.join(format!("{number}.deb"));
            link(&cached, &path)?;
            let control = read_control(&path).await.map_err(|problem| {
                Problem::new("deb-unreadable", problem.what)
                    .at(artifact.name.clone())
                    .because("the artifact is not a Debian package")
                    .next("add the right file with `quorate artifacts add`")
            })?;
            debs.push(Deb { path, control });
        }
        Ok(debs)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        let _ = files::remove_tree(&self.0);
    }
}

async fn read_control(path: &Path) -> Result<Control, Problem> {
    let output = Tool::new("dpkg-deb")
        .args(["--field", &path.display().to_string()])
        .args(["Package", "Version", "Provides", "Depends", "Pre-Depends"])
        .ok()
        .await?;
    Ok(parse_control(&output.stdout))
}

/// A second name for the cached file, or a copy where the file system has no hard links.
fn link(from: &Path, to: &Path) -> Result<(), Problem> {
    std::fs::hard_link(from, to)
        .or_else(|_| std::fs::copy(from, to).map(|_| ()))
        .map_err(|error| failed(to, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new("file", format!("cannot lay out packages: {error}")).at(path.display().to_string())
}
