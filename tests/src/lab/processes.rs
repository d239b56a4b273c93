//! The processes of a host as the machine sees them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process for as long as it lives: its number alone may be given to another later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: i32,
    started: u64,
}

struct Stat {
    dead: bool,
    parent: i32,
    started: u64,
}

impl Process {
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        let started = stat.started;
        (!stat.dead).then_some(Self { pid, started })
    }

    /// A zombie is dead: all that is left of it is a number to be collected.
    pub(super) fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// SIGKILL; no error if it is gone already.
    pub(super) fn kill(self) -> Result<()> {
        if !self.alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot kill process {}", self.pid)),
        }
    }
}

/// The systemd-nspawn of each host whose root is below `dir`.
pub(super) fn supervisors_below(dir: &Path) -> Vec<Process> {
    let found: Vec<i32> = all().filter(|pid| runs_root_below(*pid, dir)).collect();
    // While it sets up a host, its children still carry its command line.
    let is_child = |pid: i32| stat(pid).is_none_or(|stat| found.contains(&stat.parent));
    let parents = found.iter().filter(|pid| !is_child(**pid));
    parents.filter_map(|pid| Process::of(*pid)).collect()
}

/// PID 1 of the host that `supervisor` runs, once it is systemd (before that, its root is the machine's).
pub(super) fn init_of(supervisor: Process) -> Option<Process> {
    let is_init = |pid: &i32| {
        stat(*pid).is_some_and(|stat| stat.parent == supervisor.pid)
            && read(*pid, "comm").is_some_and(|name| name.trim() == "systemd")
            && read(*pid, "status").is_some_and(|status| is_first_in_namespace(&status))
    };
    all().find(is_init).and_then(Process::of)
}

/// `NSpid:` lists the numbers of a process from the outermost namespace to its own.
fn is_first_in_namespace(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.and_then(|numbers| numbers.split_whitespace().nth(1)) == Some("1")
}

fn runs_root_below(pid: i32, dir: &Path) -> bool {
    let Some(line) = read(pid, "cmdline") else {
        return false;
    };
    let mut args = line.split('\0');
    args.next()
        .is_some_and(|program| program.ends_with("systemd-nspawn"))
        && args
            .filter_map(|arg| arg.strip_prefix("--directory="))
            .any(|root| Path::new(root).starts_with(dir))
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn read(pid: i32, file: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn stat(pid: i32) -> Option<Stat> {
    let text = read(pid, "stat")?;
    // The second field is a program's name and may hold anything, so count from its end.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        dead: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, id};

    #[test]
    fn this_process_lives_and_a_killed_one_does_not() {
        assert!(Process::of(id() as i32).unwrap().alive());
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id() as i32).unwrap();
        process.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.alive());
        process.kill().unwrap();
    }

    #[test]
    fn first_in_a_namespace_of_its_own_only() {
        assert!(is_first_in_namespace("Name:\tx\nNSpid:\t4711\t1\n"));
        assert!(!is_first_in_namespace("NSpid:\t1\n"));
        assert!(!is_first_in_namespace("NSpid:\t4711\t17\n"));
    }
}
