//! `tests/run bench endpoint`: how long moving a cluster's endpoint takes, and what its clients notice.
//!
//! - [`real`]: real hosts, with clients that call, by quorate and by the [`plain`] recipe.
//! - [`simulated`]: how it grows with the workers, by simulated agents before a real coordinator; [`report`]: the table and the file.

mod plain;
mod real;
mod report;
mod simulated;

use crate::product::kubernetes;

use anyhow::{Context, Result};
use report::Report;
use std::path::PathBuf;

pub struct Options {
    /// Whether real hosts are to be moved too.
    pub real: bool,
    /// Workers beside three control planes, one cluster after the other.
    pub workers: Vec<usize>,
    /// What every simulated order takes where the coordinator's own share is measured.
    pub order_ms: u64,
    pub out: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<()> {
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| super::default_out("endpoint.json"));
    let mut report = Report::new(options.order_ms);
    if options.real {
        let folder = kubernetes::given()?;
        report.distribution = if folder.is_some() { "kubeadm" } else { "etcd" };
        report.moved = real::measure(folder.as_deref())?;
        report.write(&out)?;
    }
    let program = coordinator()?;
    for workers in &options.workers {
        simulated::measure(&program, *workers, options.order_ms, |figure| {
            println!("{figure}");
            report.simulated.push(figure);
            // Also what came before an error is worth having.
            report.write(&out)
        })?;
    }
    println!("\n{report}");
    println!("\nas JSON: {}", out.display());
    Ok(())
}

/// Of the same build as this program.
fn coordinator() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("quorate");
    let there = program.is_file().then_some(program.clone());
    there.with_context(|| {
        format!(
            "{} is not built: cargo build -p quorate, with the same profile",
            program.display()
        )
    })
}
