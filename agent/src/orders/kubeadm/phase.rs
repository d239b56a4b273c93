//! Runs kubeadm with a configuration that is on disk, in memory only, for as long as the command runs.

use crate::context::Context;
use crate::host::files;
use crate::host::tool::{Output, Tool};
use quorate_proto::v1::Problem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// `kubeadm init phase ...`.
pub async fn phase(context: &Context, words: &[&str], config: &str) -> Result<(), Problem> {
    let words: Vec<&str> = ["init", "phase"].iter().chain(words).copied().collect();
    kubeadm(context, &words, config).await
}

/// kubeadm with these words and this configuration, which may hold a token.
pub async fn kubeadm(context: &Context, words: &[&str], config: &str) -> Result<(), Problem> {
    let file = ConfigFile::write(context, config)?;
    let say = |line: &str| say_line(context, line);
    let output = Tool::new("kubeadm")
        .args(words.iter().copied())
        .args(["--config", &file.0.display().to_string()])
        .timeout(context.time_left())
        .on_line(&say)
        .run()
        .await?;
    judge(words, &output)
}

pub fn judge(words: &[&str], output: &Output) -> Result<(), Problem> {
    if output.success() {
        return Ok(());
    }
    Err(Problem::new("kubeadm-failed", reason(output))
        .at(format!("kubeadm {}", words.join(" ")))
        .next("look at the step's log; the order is safe to run again"))
}

pub fn say_line(context: &Context, line: &str) {
    let line = line.trim();
    if !line.is_empty() {
        context.say(line);
    }
}

/// What kubeadm itself calls the error, or else its last words.
fn reason(output: &Output) -> String {
    let lines = || {
        output
            .stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let named: Vec<&str> = lines()
        .filter(|line| line.starts_with("[ERROR") || line.starts_with("error"))
        .collect();
    if !named.is_empty() {
        return named.join(" | ");
    }
    lines()
        .rfind(|line| !line.starts_with("To see the stack trace"))
        .map_or_else(|| format!("exit code {}", output.code), str::to_owned)
}

/// Removed when dropped; the folder is on a tmpfs, so that a power cut removes it too.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn write(context: &Context, text: &str) -> Result<Self, Problem> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{}-{}.yaml",
            Path::new(&context.order.id)
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = context.paths.runtime().join("kubeadm").join(name);
        files::write_atomic(&path, text.as_bytes(), 0o600)?;
        Ok(ConfigFile(path))
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = files::remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(stderr: &str) -> String {
        reason(&Output {
            code: 1,
            stderr: stderr.to_owned(),
            ..Output::default()
        })
    }

    #[test]
    fn prefers_what_kubeadm_calls_an_error() {
        assert_eq!(
            failed(
                "W1120 a warning\nerror execution phase preflight: x\n\t[ERROR Port-6443]: in use\nTo see the stack trace...\n"
            ),
            "error execution phase preflight: x | [ERROR Port-6443]: in use"
        );
        assert_eq!(
            failed("something\nlast\nTo see the stack trace of this error\n\n"),
            "last"
        );
        assert_eq!(failed(""), "exit code 1");
    }
}
