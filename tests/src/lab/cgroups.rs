//! A cgroup of its own for each host in every hierarchy, so that the pods of two hosts never share a name.
//!
//! Works on machines with cgroup v1 hierarchies (pure or hybrid) and on those with v2 alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::machine;
use super::place::Place;
use super::wait::eventually;

const ROOT: &str = "/sys/fs/cgroup";
/// systemd-nspawn refuses to set up v1 hierarchies without these.
const WANTED_V1: &[&str] = &["net_cls", "net_prio", "perf_event", "hugetlb"];

/// Puts itself into each given cgroup, then becomes the command after `--`. The script is fixed and
/// takes what varies as arguments: no input is ever read as shell.
const ENTER: &str = r#"while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@""#;

/// True where there is no hierarchy but v2's.
pub(super) fn unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Mounts what systemd-nspawn wants to find.
pub(super) fn prepare_machine() -> Result<()> {
    if unified() {
        return Ok(());
    }
    for controller in WANTED_V1 {
        let dir = Path::new(ROOT).join(controller);
        if !dir.join("cgroup.procs").exists() {
            fs::create_dir_all(&dir)?;
            let dir = dir.to_string_lossy();
            machine::run("mount", ["-t", "cgroup", "-o", controller, "cgroup", &dir])?;
        }
    }
    Ok(())
}

/// The cgroups of one host.
#[derive(Debug)]
pub(super) struct Cgroups {
    groups: Vec<PathBuf>,
}

impl Cgroups {
    /// Makes them below the cgroups of this process, and writes the list to `list` first, so that
    /// another process can find and remove them.
    pub(super) fn make(place: &Place, name: &str, list: &Path) -> Result<Self> {
        let scoped = place.scoped(name);
        let groups = if unified() {
            // Below the root: a group with processes of its own (ours) may not have controllers below it.
            vec![Path::new(ROOT).join(scoped)]
        } else {
            let own = fs::read_to_string("/proc/self/cgroup")?;
            own.lines()
                .filter_map(own_group)
                .filter(|group| group.is_dir())
                .map(|group| group.join(&scoped))
                .collect()
        };
        let lines: Vec<_> = groups.iter().map(|group| group.to_string_lossy()).collect();
        fs::write(list, lines.join("\n"))?;
        for group in &groups {
            make_group(group).with_context(|| format!("cannot make {}", group.display()))?;
        }
        Ok(Self { groups })
    }

    /// Those a host was given before, maybe by another process.
    pub(super) fn listed(list: &Path) -> Result<Self> {
        let lines = match fs::read_to_string(list) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            lines => lines.with_context(|| format!("cannot read {}", list.display()))?,
        };
        Ok(Self {
            groups: lines.lines().map(PathBuf::from).collect(),
        })
    }

    /// A command that runs in these cgroups; the caller adds program and arguments.
    pub(super) fn enter(&self) -> Command {
        enter(&self.groups)
    }

    /// As [`Self::enter`] for a command that joins the host after its boot. In the hierarchies systemd
    /// rules, systemd-nspawn has given the host a group below by then, and the command belongs there.
    pub(super) fn enter_later(&self) -> Result<Command> {
        let mut groups = self.groups.clone();
        for group in &mut groups {
            let payload = group.join("payload");
            if payload.is_dir() {
                *group = payload.join("lab-exec");
                fs::create_dir_all(&*group)?;
            }
        }
        Ok(enter(&groups))
    }

    /// Stops every process of the host where it stands, or lets them go on.
    pub(super) fn freeze(&self, frozen: bool) -> Result<()> {
        let (file, value) = match (unified(), frozen) {
            (true, true) => ("cgroup.freeze", "1"),
            (true, false) => ("cgroup.freeze", "0"),
            (false, true) => ("freezer.state", "FROZEN"),
            (false, false) => ("freezer.state", "THAWED"),
        };
        let file = self
            .groups
            .iter()
            .map(|group| group.join(file))
            .find(|file| file.exists());
        let file = file.context("no freezer among the host's cgroups")?;
        fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Every process in them, by the machine's numbers. A process is in all of them, so one is enough.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for group in self.groups.iter().take(1) {
            collect_processes(group, &mut pids);
        }
        pids
    }

    /// Removes them once the kernel has taken the last dead process out of them.
    pub(super) fn remove(&self) -> Result<()> {
        for group in &self.groups {
            let what = format!("{} to be empty", group.display());
            eventually(Duration::from_secs(10), &what, || {
                remove_tree(group).map(Some)
            })?;
        }
        Ok(())
    }
}

fn enter(groups: &[PathBuf]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", ENTER, "enter"]).args(groups).arg("--");
    command
}

/// The folder of one line of /proc/self/cgroup: `9:name=systemd:/path`.
fn own_group(line: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let hierarchy = match controllers {
        "" => "unified",
        named => named.strip_prefix("name=").unwrap_or(named),
    };
    let group = Path::new(ROOT).join(hierarchy);
    Some(group.join(path.trim_start_matches('/')))
}

fn make_group(group: &Path) -> Result<()> {
    fs::create_dir_all(group)?;
    // A cpuset takes no process before it has processors and memory, and its children must inherit them.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = group.join(file);
        if !unified() && own.exists() {
            let above = group.with_file_name(file);
            fs::write(&own, fs::read(above)?)?;
            fs::write(group.join("cgroup.clone_children"), "1")?;
        }
    }
    Ok(())
}

fn collect_processes(group: &Path, pids: &mut Vec<i32>) {
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    pids.extend(listed.lines().filter_map(|pid| pid.parse::<i32>().ok()));
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect_processes(&entry.path(), pids);
        }
    }
}

/// cgroup folders go by rmdir alone, from the leaves up; their files are the kernel's.
fn remove_tree(group: &Path) -> Result<()> {
    if !group.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(group)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_tree(&path)?;
        }
    }
    fs::remove_dir(group).with_context(|| format!("cannot remove {}", group.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_folder_of_each_kind_of_hierarchy() {
        let folder = |line| own_group(line).unwrap().to_string_lossy().into_owned();
        assert_eq!(folder("4:memory:/a/b"), "/sys/fs/cgroup/memory/a/b");
        assert_eq!(folder("9:name=systemd:/"), "/sys/fs/cgroup/systemd/");
        assert_eq!(folder("2:cpu,cpuacct:/x"), "/sys/fs/cgroup/cpu,cpuacct/x");
        assert_eq!(folder("0::/"), "/sys/fs/cgroup/unified/");
    }
}
