//! A coordinator and enrolled nodes.

use super::packages::packages;
use crate::lab::{Host, Lab, Output, eventually};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The coordinator's host; its address is what agents dial.
pub const COORDINATOR: &str = "co";
const PORT: u16 = 7443;

pub struct Fleet {
    pub lab: Lab,
    pub coordinator: Host,
    pub nodes: Vec<Host>,
}

impl Fleet {
    /// Fresh hosts, both packages installed, every node enrolled and connected.
    pub fn new(lab: Lab, nodes: &[&str]) -> Result<Self> {
        let names: Vec<&str> = std::iter::once(COORDINATOR)
            .chain(nodes.iter().copied())
            .collect();
        let mut hosts = lab.hosts(&names)?;
        let coordinator = hosts.remove(0);
        let fleet = Fleet {
            lab,
            coordinator,
            nodes: hosts,
        };
        fleet.start_coordinator()?;
        fleet.enroll_all(&fleet.nodes)?;
        Ok(fleet)
    }

    fn start_coordinator(&self) -> Result<()> {
        self.coordinator.install_debs(&[&packages()?.coordinator])?;
        let advertise = format!("{}:{PORT}", self.coordinator.ip());
        self.quorate(&["init", "--advertise", &advertise])?;
        eventually(Duration::from_secs(20), "the coordinator to answer", || {
            self.quorate(&["nodes", "-o", "json"]).map(Some)
        })?;
        Ok(())
    }

    /// More hosts, enrolled.
    pub fn add(&mut self, names: &[&str]) -> Result<()> {
        let hosts = self.lab.hosts(names)?;
        self.enroll_all(&hosts)?;
        self.nodes.extend(hosts);
        Ok(())
    }

    fn enroll_all(&self, hosts: &[Host]) -> Result<()> {
        let results: Vec<Result<()>> = thread::scope(|scope| {
            let tasks: Vec<_> = hosts
                .iter()
                .map(|host| scope.spawn(|| self.enroll(host)))
                .collect();
            tasks
                .into_iter()
                .map(|task| task.join().unwrap_or_else(|_| bail!("enrolling panicked")))
                .collect()
        });
        results.into_iter().collect::<Result<()>>()?;
        for host in hosts {
            self.wait_connected(host.name())?;
        }
        Ok(())
    }

    /// As a user would: the printed line, pasted on the node.
    fn enroll(&self, host: &Host) -> Result<()> {
        host.install_debs(&[&packages()?.agent])?;
        let printed = self.quorate(&["token", "create", "--node", host.name()])?;
        let token = token_in(&printed)?;
        host.ok(["quorate-agent", "enroll", token])?;
        Ok(())
    }

    /// A host that has left a cluster, or was given up: its certificate was taken back.
    pub fn enroll_again(&self, host: &Host) -> Result<()> {
        let printed = self.quorate(&["token", "create", "--node", host.name()])?;
        let token = token_in(&printed)?;
        host.ok(["quorate-agent", "enroll", "--force", token])?;
        self.wait_connected(host.name())
    }

    pub fn wait_connected(&self, node: &str) -> Result<()> {
        eventually(
            Duration::from_secs(30),
            &format!("{node} to be connected"),
            || {
                let nodes = self.json(&["nodes"])?;
                // An earlier machine of the name may be listed too, as one that was revoked.
                let connected = |one: &Value| one["name"] == node && one["connected"] == true;
                let nodes = nodes["nodes"].as_array().context("no nodes")?;
                Ok(nodes.iter().any(connected).then_some(()))
            },
        )
    }

    pub fn node(&self, name: &str) -> Result<&Host> {
        self.nodes
            .iter()
            .find(|host| host.name() == name)
            .with_context(|| format!("no node {name}"))
    }

    // ---- the command line

    /// Runs `quorate` on the coordinator; a non-zero exit is an error.
    pub fn quorate(&self, arguments: &[&str]) -> Result<String> {
        self.coordinator.ok(command(arguments))
    }

    pub fn quorate_output(&self, arguments: &[&str], timeout: Duration) -> Result<Output> {
        self.coordinator.run_within(timeout, command(arguments))
    }

    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut with_output = arguments.to_vec();
        with_output.extend(["-o", "json"]);
        let text = self.quorate(&with_output)?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Also of an unhealthy cluster, for which the command ends with 3.
    pub fn status(&self, cluster: &str) -> Result<Value> {
        let output = self
            .coordinator
            .run(command(&["status", cluster, "-o", "json"]))?;
        ensure!(
            matches!(output.status, 0 | 3),
            "status ended with {}: {}",
            output.status,
            output.stderr
        );
        let status: Value = serde_json::from_str(&output.stdout)
            .with_context(|| format!("not JSON: {}", output.stdout))?;
        Ok(status["clusters"][0].clone())
    }

    /// Uploads a folder of packages, binaries, images.
    pub fn add_artifacts(&self, folder: &Path) -> Result<()> {
        self.coordinator.push_dir(folder, "/var/tmp/artifacts")?;
        let added = self.quorate_output(
            &["artifacts", "add", "/var/tmp/artifacts"],
            Duration::from_secs(300),
        )?;
        ensure!(
            added.success(),
            "artifacts add: {}{}",
            added.stdout,
            added.stderr
        );
        self.coordinator.ok(["rm", "-rf", "/var/tmp/artifacts"])?;
        Ok(())
    }

    pub fn write_file(&self, name: &str, text: &str) -> Result<String> {
        let path = format!("/root/{name}");
        self.coordinator.write(&path, text, 0o644)?;
        Ok(path)
    }

    /// Applies a cluster file and waits for the end of the operation, whichever it is.
    pub fn try_apply(&self, text: &str, timeout: Duration) -> Result<Output> {
        let file = self.write_file("cluster.yaml", text)?;
        self.quorate_output(
            &["apply", "-f", &file, "--yes", "--progress", "plain"],
            timeout,
        )
    }

    /// The same, to its good end.
    pub fn apply(&self, text: &str, timeout: Duration) -> Result<Output> {
        let output = self.try_apply(text, timeout)?;
        if !output.success() {
            bail!(
                "apply ended with {}:\n{}{}\n{}",
                output.status,
                output.stdout,
                output.stderr,
                self.journals()
            );
        }
        Ok(output)
    }

    /// The last lines of every daemon, for a failure's message.
    pub fn journals(&self) -> String {
        let mut text = String::new();
        let daemons = std::iter::once((&self.coordinator, "quorate-coordinator"));
        for (host, unit) in daemons.chain(self.nodes.iter().map(|host| (host, "quorate-agent"))) {
            let lines = host.run(["journalctl", "--no-pager", "-n", "40", "-u", unit]);
            let lines = lines
                .map(|o| o.stdout)
                .unwrap_or_else(|error| format!("{error:#}"));
            text.push_str(&format!("--- {} {unit}\n{lines}\n", host.name()));
        }
        text
    }

    /// Waits until the cluster's health is this word.
    pub fn wait_health(&self, cluster: &str, health: &str, timeout: Duration) -> Result<Value> {
        eventually(timeout, &format!("{cluster} to be {health}"), || {
            let status = self.status(cluster)?;
            if status["health"] == health {
                return Ok(Some(status));
            }
            bail!("it is {}: {}", status["health"], status["waiting_on"]);
        })
    }
}

fn token_in(printed: &str) -> Result<&str> {
    let token = printed.split_whitespace().find(|it| it.starts_with("q1."));
    token.with_context(|| format!("no token in: {printed}"))
}

fn command<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    std::iter::once("quorate")
        .chain(arguments.iter().copied())
        .collect()
}
