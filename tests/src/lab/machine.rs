//! Commands run on the machine itself, outside every host.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// Runs a command and returns its standard output; any exit status but 0 is an error with its stderr.
pub(super) fn run<S: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = S>,
) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    finish(&mut command, &[])
}

/// Runs a prepared command to its end; any exit status but 0 is an error with its stderr.
pub(super) fn finish(command: &mut Command, input: &[u8]) -> Result<String> {
    let output = output(command, input)?;
    if !output.status.success() {
        bail!(
            "`{}` on the machine: {}: {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a prepared command to its end with `input` on standard input, whatever its exit status.
pub(super) fn output(command: &mut Command, input: &[u8]) -> Result<Output> {
    if input.is_empty() {
        return output_from(command, Stdio::null());
    }
    let mut child = start(command, Stdio::piped())?;
    let pipe = child.stdin.take();
    // Written beside the reading of the output: a command that answers while it reads would else
    // block for ever. A command may well end without reading everything, so a write error says nothing.
    thread::scope(|scope| {
        if let Some(mut pipe) = pipe {
            scope.spawn(move || drop(pipe.write_all(input)));
        }
        child.wait_with_output()
    })
    .with_context(|| format!("cannot wait for `{}`", shown(command)))
}

/// As [`output`], with standard input from somewhere else, such as a file.
pub(super) fn output_from(command: &mut Command, stdin: Stdio) -> Result<Output> {
    start(command, stdin)?
        .wait_with_output()
        .with_context(|| format!("cannot wait for `{}`", shown(command)))
}

fn start(command: &mut Command, stdin: Stdio) -> Result<Child> {
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}` on the machine", shown(command)))
}

/// The command as one line for messages (never run).
pub(super) fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}
