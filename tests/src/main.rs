//! `lab`: hosts to try things on by hand.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use quorate_tests::bench;
use quorate_tests::lab::Lab;

#[derive(Parser)]
#[command(
    name = "lab",
    about = "Real hosts on this machine, to try things on by hand"
)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make hosts and leave them running
    Up {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Run a command (a shell without one) inside a host
    Sh {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Remove these hosts, or all of them
    Down { names: Vec<String> },
    /// Show the hosts there are
    List,
    /// Show what the product can do
    Demo,
    /// Measure how long forming a cluster takes, with the plain tools and with quorate
    Bench {
        /// How often each way is taken; the best counts
        #[arg(long, default_value_t = 1, value_name = "COUNT")]
        rounds: u32,
        /// Where the figures go [default: target/bench/forming.json]
        out: Option<PathBuf>,
    },
}

fn main() -> Result<()> {
    match Args::parse().verb {
        Verb::Up { names } => up(&names),
        Verb::Sh { name, command } => sh(&name, command),
        Verb::Down { names } => down(&names),
        Verb::List => list(),
        Verb::Demo => quorate_tests::demo::run(),
        Verb::Bench { rounds, out } => bench::run(&bench::Options { rounds, out }),
    }
}

fn up(names: &[String]) -> Result<()> {
    let mut lab = Lab::attach()?;
    lab.keep();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for host in lab.hosts(&names)? {
        println!("{host} {} {}", host.ip(), host.ip6());
    }
    Ok(())
}

fn sh(name: &str, mut command: Vec<String>) -> Result<()> {
    let hosts = Lab::look()?;
    let host = hosts.into_iter().find(|host| host.name() == name);
    let host = host.with_context(|| format!("the lab has no host {name}"))?;
    if command.is_empty() {
        command = vec!["bash".to_owned(), "--login".to_owned()];
    }
    let mut inside: Command = host.command(&command)?;
    if let Some(terminal) = std::env::var_os("TERM") {
        inside.env("TERM", terminal);
    }
    Err(inside.exec()).context("cannot enter the host")
}

fn down(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Lab::clean();
    }
    let mut lab = Lab::attach()?;
    lab.keep();
    for name in names {
        let host = lab.all().into_iter().find(|host| host.name() == name);
        host.with_context(|| format!("the lab has no host {name}"))?
            .down()?;
    }
    Ok(())
}

fn list() -> Result<()> {
    for host in Lab::look()? {
        let power = if host.running() { "on" } else { "off" };
        println!("{host} {} {} {power}", host.ip(), host.ip6());
    }
    Ok(())
}
