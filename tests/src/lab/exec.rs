//! Commands and files inside a host.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::host::Host;
use super::machine;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A command that hangs (on a host that is cut off, say) must not hang the whole run.
const PATIENCE: Duration = Duration::from_secs(600);
/// What timeout(1) exits with.
const TIMED_OUT: i32 = 124;

/// How a command inside a host ended, and what it said.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; 128 + N if signal N killed it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

impl Host {
    /// Runs a command to its end. An exit code other than 0 is no error; being unable to run it is.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        self.run_within(PATIENCE, args)
    }

    /// As [`Self::run`], but kills the command and fails when it takes longer than `limit`.
    pub fn run_within<S: AsRef<OsStr>>(
        &self,
        limit: Duration,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Output> {
        self.finish(limit, &words(args), Input::Bytes(&[]))
    }

    /// Runs a command that must succeed and returns its standard output.
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        self.ok_with(args, b"")
    }

    /// As [`Self::ok`], with `input` on its standard input.
    pub fn ok_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Result<String> {
        self.must(&words(args), Input::Bytes(input))
    }

    /// A command for the inside of this host, to be run as the caller likes (with a terminal, say).
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Command> {
        let init = self.init()?.pid.to_string();
        let mut command = self.cgroups()?.enter_later()?;
        command.args(["nsenter", "--target", &init, "--all", "--"]);
        command.args(args);
        command.env_clear();
        command.envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")]);
        Ok(command)
    }

    pub(super) fn must(&self, args: &[OsString], input: Input<'_>) -> Result<String> {
        let output = self.finish(PATIENCE, args, input)?;
        if !output.success() {
            bail!(
                "{self}: `{}` exited with {}: {}",
                shown(args),
                output.status,
                output.stderr.trim()
            );
        }
        Ok(output.stdout)
    }

    fn finish(&self, limit: Duration, args: &[OsString], input: Input<'_>) -> Result<Output> {
        let what = || format!("{self}: `{}`", shown(args));
        let seconds = format!("{:.3}", limit.as_secs_f64());
        let words = ["timeout", "--kill-after=5", &seconds].map(OsString::from);
        let mut command = self.command(words.iter().chain(args)).with_context(what)?;
        let start = Instant::now();
        let output = match input {
            Input::Bytes(bytes) => machine::output(&mut command, bytes),
            Input::File(file) => machine::output_from(&mut command, file.into()),
        }
        .with_context(what)?;
        let output = Output {
            status: exit_code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        if output.status == TIMED_OUT && start.elapsed() >= limit {
            let heard = output.stderr.trim();
            bail!("{}: not done after {limit:?}: {heard}", what());
        }
        Ok(output)
    }
}

pub(super) enum Input<'a> {
    Bytes(&'a [u8]),
    File(File),
}

pub(super) fn words<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Vec<OsString> {
    args.into_iter()
        .map(|arg| arg.as_ref().to_owned())
        .collect()
}

pub(super) fn shown(args: &[OsString]) -> String {
    let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    words.join(" ")
}

pub(super) fn exit_code(status: std::process::ExitStatus) -> i32 {
    let signalled = status.signal().map(|signal| 128 + signal);
    status.code().or(signalled).unwrap_or(-1)
}
