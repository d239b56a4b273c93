//! `tests/run demo`: what a newcomer sees first. Fresh hosts, the packages, one file, one command, the status.

use crate::lab::{Host, Lab};
use crate::product::kubernetes;
use crate::product::{Fleet, file};
use anyhow::{Context, Result, ensure};
use std::process::Stdio;

const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];

pub fn run() -> Result<()> {
    let lab = Lab::open()?;
    match kubernetes::given()? {
        Some(folder) => {
            println!("Kubernetes: from {}", folder.display());
            let fleet = Fleet::new(lab, &["n1", "n2", "n3", "w1", "lb"])?;
            let debs = fleet.lab.debs(&["haproxy"])?;
            fleet.add_artifacts(&debs)?;
            kubernetes::add_artifacts(&fleet, &folder)?;
            let text = kubernetes::file(&fleet, "demo", &MEMBERS, &["w1"], Some("lb"))?;
            show(&fleet, &text)
        }
        None => {
            println!(
                "etcd from Debian's packages (QUORATE_KUBERNETES names no folder of Kubernetes binaries and images)"
            );
            let fleet = Fleet::new(lab, &["n1", "n2", "n3", "lb"])?;
            let debs = fleet.lab.debs(&["etcd-server", "etcd-client", "haproxy"])?;
            fleet.add_artifacts(&debs)?;
            let members: Vec<&Host> = MEMBERS
                .iter()
                .map(|name| fleet.node(name))
                .collect::<Result<_>>()?;
            let text = file::etcd("demo", &members, Some(fleet.node("lb")?));
            show(&fleet, &text)
        }
    }
}

fn show(fleet: &Fleet, text: &str) -> Result<()> {
    let file = fleet.write_file("cluster.yaml", text)?;
    println!("\n$ cat cluster.yaml\n{text}");
    seen(fleet, &["nodes"])?;
    seen(fleet, &["plan", "-f", &file])?;
    seen(fleet, &["apply", "-f", &file, "--yes"])?;
    fleet.wait_health("demo", "healthy", std::time::Duration::from_secs(120))?;
    seen(fleet, &["status"])
}

/// Runs with this terminal, and shows the command first.
fn seen(fleet: &Fleet, arguments: &[&str]) -> Result<()> {
    println!("\n$ quorate {}", arguments.join(" "));
    let words: Vec<&str> = std::iter::once("quorate")
        .chain(arguments.iter().copied())
        .collect();
    let mut command = fleet.coordinator.command(&words)?;
    let status = command
        .stdin(Stdio::null())
        .status()
        .context("cannot run quorate")?;
    ensure!(
        status.success(),
        "quorate {} ended with {status}",
        arguments.join(" ")
    );
    Ok(())
}
