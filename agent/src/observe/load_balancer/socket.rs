//! HAProxy's runtime socket: one command a connection.

use super::stats::{self, Row};
use crate::paths::Paths;
use quorate_proto::v1::Problem;
use std::io::Error;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub const SOCKET: &str = "/run/haproxy/admin.sock";
/// It answers from memory.
const WITHIN: Duration = Duration::from_secs(1);
/// A table of some thousand servers.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// The table of what the running process serves.
pub async fn stats(paths: &Paths) -> Result<Vec<Row>, Problem> {
    let table = ask(paths, "show stat").await?;
    stats::parse(&table).ok_or_else(|| {
        Problem::new(
            "haproxy-unreadable",
            "cannot read HAProxy's table of servers",
        )
        .at(SOCKET)
        .because("a version of HAProxy that this agent does not know")
    })
}

/// The process that answers; a reload brings another one.
pub async fn process(paths: &Paths) -> Result<u32, Problem> {
    let info = ask(paths, "show info").await?;
    info.lines()
        .find_map(|line| line.strip_prefix("Pid: "))
        .and_then(|pid| pid.trim().parse().ok())
        .ok_or_else(|| {
            Problem::new("haproxy-unreadable", "cannot read HAProxy's process id").at(SOCKET)
        })
}

/// Sends one command. It must hold no line break and no semicolon, which begin another one.
pub async fn ask(paths: &Paths, command: &str) -> Result<String, Problem> {
    let work = async {
        let mut stream = UnixStream::connect(paths.at(SOCKET)).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok::<_, Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(WITHIN, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(silent(format!("HAProxy does not answer: {error}"))),
        Err(_) => Err(silent(format!(
            "HAProxy did not answer within {} ms",
            WITHIN.as_millis()
        ))),
    }
}

fn silent(what: String) -> Problem {
    Problem::new("haproxy-down", what)
        .at(SOCKET)
        .because("haproxy.service does not run")
        .next("journalctl -u haproxy")
}
