//! Commands that go on running inside a host while the test does something else.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::exec::{exit_code, shown, words};
use super::host::Host;
use super::wait::eventually;

/// A running command; killed when dropped.
pub struct Background {
    what: String,
    child: Child,
    said: File,
}

impl Host {
    /// Starts a command and does not wait for it.
    pub fn spawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Background> {
        let args = words(args);
        let what = format!("{self}: `{}`", shown(&args));
        let start = || -> Result<Background> {
            let said = tempfile::tempfile()?;
            let mut command = self.command(&args)?;
            command.stdin(Stdio::null());
            command.stdout(said.try_clone()?).stderr(said.try_clone()?);
            // A group of its own: killing nsenter alone would leave the command behind.
            command.process_group(0);
            let child = command.spawn()?;
            let what = what.clone();
            Ok(Background { what, child, said })
        };
        start().with_context(|| format!("cannot start {what}"))
    }
}

impl Background {
    /// Its exit code, if it has ended.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        Ok(self.child.try_wait()?.map(exit_code))
    }

    /// Waits for its end and returns its exit code.
    pub fn wait(&mut self, timeout: Duration) -> Result<i32> {
        let what = format!("the end of {}", self.what);
        let ended = eventually(timeout, &what, || self.ended());
        let said = self.said().unwrap_or_default();
        ended.with_context(|| format!("it said so far: {said}"))
    }

    /// All it wrote so far, standard output and standard error together.
    pub fn said(&self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut part = [0; 8192];
        loop {
            // At a place of our own: the command shares the file's position and goes on writing.
            match self.said.read_at(&mut part, bytes.len() as u64)? {
                0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                read => bytes.extend_from_slice(&part[..read]),
            }
        }
    }

    /// Kills it and what it started, unless that left its process group.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        match killpg(
            Pid::from_raw(i32::try_from(self.child.id())?),
            Signal::SIGKILL,
        ) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot kill {}", self.what)),
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("lab: {error:#}");
        }
    }
}
