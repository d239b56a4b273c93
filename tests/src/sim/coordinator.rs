//! A real coordinator, the program as it is built, with state, configuration and ports of its own.

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use quorate_pki::TlsMaterial;
use serde::Deserialize;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use zeroize::Zeroizing;

/// Ports that are looked at for two that follow each other; the system gives them out at random.
const PORTS_LOOKED_AT: usize = 50;
const KIB: u64 = 1024;

pub struct Coordinator {
    program: PathBuf,
    folder: PathBuf,
    /// host:port of its services.
    pub address: String,
    process: Child,
}

/// What the process has used since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    /// Resident bytes, now and at most.
    pub resident: u64,
    pub peak: u64,
}

/// The file that `quorate init` writes for root.
#[derive(Deserialize)]
struct Access {
    ca_pem: String,
    cert_pem: String,
    key_pem: String,
}

impl Coordinator {
    /// Starts; it may take a moment until it answers.
    pub fn start(program: &Path, folder: &Path) -> Result<Self> {
        let port = two_free_ports()?;
        let address = format!("127.0.0.1:{port}");
        let (state, config) = (folder.join("state"), folder.join("etc"));
        let mut init = Command::new(program);
        init.args(["init", "--no-start", "--advertise", &address]);
        init.arg("--state-dir").arg(&state);
        init.arg("--config-dir").arg(&config);
        said(&mut init)?;
        let file = config.join("coordinator.yaml");
        // Monitoring's port is the same everywhere, and a machine may run a coordinator already.
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text.replace("127.0.0.1:7446", "127.0.0.1:0"))?;
        let process = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .env("QUORATE_LOG", "warn")
            .stdin(Stdio::null())
            .stderr(File::create(folder.join("log"))?)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Coordinator {
            program: program.to_owned(),
            folder: folder.to_owned(),
            address,
            process,
        })
    }

    /// The administrator's, as `quorate init` has made it.
    pub fn access(&self) -> Result<TlsMaterial> {
        let text = Zeroizing::new(std::fs::read_to_string(self.context())?);
        let access: Access = serde_saphyr::from_str(&text)?;
        Ok(TlsMaterial {
            cert_chain_pem: access.cert_pem,
            key_pem: Zeroizing::new(access.key_pem),
            ca_bundle_pem: access.ca_pem,
        })
    }

    /// Runs the command line as the administrator. `what` says what failed.
    pub fn quorate(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("QUORATE_CONTEXT", self.context());
        said(&mut command).with_context(|| format!("its log ends with: {}", self.log_tail()))
    }

    pub fn usage(&self) -> Result<Usage> {
        let process = PathBuf::from(format!("/proc/{}", self.process.id()));
        let stat = std::fs::read_to_string(process.join("stat"))?;
        let status = std::fs::read_to_string(process.join("status"))?;
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
        let seconds = cpu_ticks(&stat)? as f64 / ticks as f64;
        Ok(Usage {
            cpu: Duration::from_secs_f64(seconds),
            resident: kib_of(&status, "VmRSS:")? * KIB,
            peak: kib_of(&status, "VmHWM:")? * KIB,
        })
    }

    fn context(&self) -> PathBuf {
        self.folder.join("etc/context.yaml")
    }

    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let process = Pid::from_raw(self.process.id().cast_signed());
        // One that has ended by itself is not there to be told.
        let _ = kill(process, Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

fn said(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// The enrolment listens one port above the other.
fn two_free_ports() -> Result<u16> {
    for _ in 0..PORTS_LOOKED_AT {
        let first = TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        let next = port.checked_add(1);
        if let Some(next) = next
            && TcpListener::bind(("127.0.0.1", next)).is_ok()
        {
            return Ok(port);
        }
    }
    bail!("no two free ports follow each other")
}

/// User and system time; the name before them may hold anything, and ends with the last bracket.
fn cpu_ticks(stat: &str) -> Result<u64> {
    let (_, rest) = stat.rsplit_once(')').context("no process")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| -> Result<u64> {
        let text = fields.get(at).context("a short stat")?;
        Ok(text.parse()?)
    };
    Ok(field(11)? + field(12)?)
}

fn kib_of(status: &str, key: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.with_context(|| format!("no {key}"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 100 1 1";
        assert_eq!(cpu_ticks(stat).unwrap(), 200);
        assert!(cpu_ticks("42 (x) S 1").is_err());
        let status = "VmPeak:\t  9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(kib_of(status, "VmHWM:").unwrap(), 2048);
        assert!(kib_of(status, "VmSwap:").is_err());
    }
}
