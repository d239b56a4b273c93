//! `lab`: hosts to try things on by hand.

use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use quorate_tests::bench;
use quorate_tests::faults;
use quorate_tests::lab::Lab;
use quorate_tests::simulation::command;

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
    /// Run the coordinator and its agents through simulated schedules of faults; needs no hosts
    Simulate(Simulate),
    /// Break things at every step of every operation on real hosts, and print what came of it
    Faults {
        /// Only those whose name contains this
        #[arg(
            long,
            default_value = "",
            hide_default_value = true,
            value_name = "WORD"
        )]
        only: String,
        /// Not beyond this event of each operation
        #[arg(long, default_value_t = 40, value_name = "COUNT")]
        steps: usize,
    },
    /// Measure; without a word, how long forming a cluster takes
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        #[command(subcommand)]
        what: Option<Bench>,
        #[command(flatten)]
        forming: Forming,
    },
}

#[derive(clap::Args)]
struct Simulate {
    /// The schedules to run
    #[arg(long, default_value = "1..1000000", value_name = "FROM..TO", value_parser = seeds)]
    seeds: RangeInclusive<u64>,
    /// How many at once [default: as many as there are processors]
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
    /// Only this one
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Tell everything that happens in it
    #[arg(long, requires = "seed")]
    trace: bool,
}

#[derive(Subcommand)]
enum Bench {
    /// How long forming a cluster takes, with the plain tools and with quorate
    Forming(Forming),
    /// How long moving a cluster's endpoint takes, and how that grows with the workers
    Endpoint(Endpoint),
}

#[derive(clap::Args)]
struct Forming {
    /// How often each way is taken; the best counts
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    rounds: u32,
    /// Where the figures go [default: target/bench/forming.json]
    out: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Endpoint {
    /// Leave out the real hosts, which need root and some minutes
    #[arg(long)]
    simulated_only: bool,
    /// Simulated workers, one cluster after the other
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "10,100,1000",
        value_name = "COUNT,..."
    )]
    workers: Vec<usize>,
    /// What each simulated order takes where the coordinator's own share is measured
    #[arg(long, default_value_t = 20, value_name = "MS")]
    order_ms: u64,
    /// Where the figures go [default: target/bench/endpoint.json]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    match Args::parse().verb {
        Verb::Up { names } => up(&names),
        Verb::Sh { name, command } => sh(&name, command),
        Verb::Down { names } => down(&names),
        Verb::List => list(),
        Verb::Demo => quorate_tests::demo::run(),
        Verb::Faults { only, steps } => faults::run(&faults::Wanted { only, steps }),
        Verb::Simulate(asked) => simulate(asked),
        Verb::Bench { what, forming } => match what.unwrap_or(Bench::Forming(forming)) {
            Bench::Forming(Forming { rounds, out }) => bench::run(&bench::Options { rounds, out }),
            Bench::Endpoint(asked) => bench::endpoint::run(&bench::endpoint::Options {
                real: !asked.simulated_only,
                workers: asked.workers,
                order_ms: asked.order_ms,
                out: asked.out,
            }),
        },
    }
}

fn simulate(asked: Simulate) -> Result<()> {
    if let Some(seed) = asked.seed {
        return command::one(seed, asked.trace);
    }
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    command::many(asked.seeds, asked.jobs.unwrap_or_else(processors))
}

/// `1..1000`, both included.
fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || format!("{text} is no range of seeds such as 1..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let (from, to) = (number(from)?, number(to)?);
    match from <= to {
        true => Ok(from..=to),
        false => Err(wrong()),
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
