//! Runs programs by argument list (never through a shell), bounded in time and output.

use quorate_proto::v1::Problem;
use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::Command;

/// Bytes of output kept of one run: far above what any tool here prints on success.
const MAX_OUTPUT: usize = 1024 * 1024;

pub struct Tool<'a> {
    program: String,
    arguments: Vec<String>,
    input: Option<Vec<u8>>,
    timeout: Duration,
    environment: Vec<(String, String)>,
    on_line: Option<&'a (dyn Fn(&str) + Send + Sync)>,
}

#[derive(Debug, Clone, Default)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.code == 0
    }

    /// The last lines of both streams, for an error.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let all: Vec<&str> = self.stdout.lines().chain(self.stderr.lines()).collect();
        let from = all.len().saturating_sub(lines);
        all[from..].iter().map(|line| (*line).to_owned()).collect()
    }
}

impl<'a> Tool<'a> {
    pub fn new(program: impl Into<String>) -> Self {
        Tool {
            program: program.into(),
            arguments: Vec::new(),
            input: None,
            timeout: Duration::from_secs(60),
            environment: Vec::new(),
            on_line: None,
        }
    }

    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Given to the program on standard input: the way for secrets, which must not show in argument lists.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Called with each line of both streams as it comes.
    pub fn on_line(mut self, callback: &'a (dyn Fn(&str) + Send + Sync)) -> Self {
        self.on_line = Some(callback);
        self
    }

    /// Runs to the end; a non-zero exit is not an error here.
    pub async fn run(self) -> Result<Output, Problem> {
        let line = self.command_line();
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (key, value) in &self.environment {
            command.env(key, value);
        }
        let mut child = command.spawn().map_err(|error| {
            Problem::new(
                "tool-missing",
                format!("cannot start {}: {error}", self.program),
            )
            .at(line.clone())
        })?;
        let mut stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let input = self.input.unwrap_or_default();
        let work = async {
            let feed = async {
                if let Some(pipe) = stdin.as_mut() {
                    // A program that ends before it has read all is judged by its exit code.
                    let _ = pipe.write_all(&input).await;
                }
                drop(stdin);
            };
            let (_, out, err, status) = tokio::join!(
                feed,
                collect(stdout, self.on_line),
                collect(stderr, self.on_line),
                child.wait()
            );
            status.map(|status| Output {
                code: status.code().unwrap_or(-1),
                stdout: out,
                stderr: err,
            })
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(Problem::new("tool-failed", error.to_string()).at(line)),
            Err(_) => Err(Problem::new(
                "tool-timeout",
                format!(
                    "{} did not finish within {} s",
                    self.program,
                    self.timeout.as_secs()
                ),
            )
            .at(line)),
        }
    }

    /// Runs to the end; a non-zero exit is an error that carries the last lines.
    pub async fn ok(self) -> Result<Output, Problem> {
        let line = self.command_line();
        let output = self.run().await?;
        if output.success() {
            return Ok(output);
        }
        Err(Problem::new(
            "tool-failed",
            format!("exit code {}: {}", output.code, output.tail(8).join(" | ")),
        )
        .at(line))
    }

    fn command_line(&self) -> String {
        std::iter::once(self.program.as_str())
            .chain(self.arguments.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

async fn collect(
    stream: Option<impl AsyncRead + Unpin>,
    on_line: Option<&(dyn Fn(&str) + Send + Sync)>,
) -> String {
    let Some(stream) = stream else {
        return String::new();
    };
    let mut lines = BufReader::new(stream).split(b'\n');
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut size = 0;
    while let Ok(Some(bytes)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(callback) = on_line {
            callback(&line);
        }
        size += line.len() + 1;
        kept.push_back(line);
        while size > MAX_OUTPUT {
            let Some(dropped) = kept.pop_front() else {
                break;
            };
            size -= dropped.len() + 1;
        }
    }
    kept.into_iter().map(|line| line + "\n").collect()
}
