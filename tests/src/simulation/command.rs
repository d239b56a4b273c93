//! Many schedules: how fast they went, which was the worst, what was done to them, and each that failed.

use super::schedule::{Options, Report, run};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Failures that are shown; more say nothing new.
const SHOWN: usize = 20;
/// How often a long run says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Folders of a schedule live here, in memory where there is such a place.
const MEMORY: &str = "/dev/shm";

#[derive(Default)]
pub struct Sum {
    pub schedules: u64,
    pub events: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub failed: Vec<(u64, Vec<String>)>,
    /// Seed and time of what took longest to converge.
    pub worst: (u64, u64),
}

impl Sum {
    pub fn add(&mut self, report: Report) {
        self.schedules += 1;
        self.events += report.events;
        for (kind, count) in report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        if report.converged_ms >= self.worst.1 {
            self.worst = (report.seed, report.converged_ms);
        }
        if !report.violations.is_empty() {
            self.failed.push((report.seed, report.violations));
        }
    }
}

pub fn scratch() -> PathBuf {
    let memory = Path::new(MEMORY);
    match memory.is_dir() {
        true => memory.to_owned(),
        false => std::env::temp_dir(),
    }
}

/// All of these seeds, on so many threads.
pub fn run_all(seeds: RangeInclusive<u64>, jobs: usize, say: bool) -> Result<Sum> {
    let sum = Mutex::new(Sum::default());
    let next = AtomicU64::new(*seeds.start());
    let (began, scratch) = (Instant::now(), scratch());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed > *seeds.end() {
                            return Ok(());
                        }
                        let report = run(seed, &scratch, Options::default())?;
                        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                        sum.add(report);
                        drop(sum);
                    }
                })
            })
            .collect();
        let mut told = Instant::now();
        while say && workers.iter().any(|it| !it.is_finished()) {
            std::thread::sleep(Duration::from_millis(200));
            if told.elapsed() >= SAY_EVERY {
                told = Instant::now();
                let sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                let rate = sum.schedules as f64 / began.elapsed().as_secs_f64();
                println!("{} schedules, {rate:.0} a second", sum.schedules);
            }
        }
        for worker in workers {
            match worker.join() {
                Ok(done) => done?,
                Err(_) => anyhow::bail!("a schedule panicked; its message is above"),
            }
        }
        Ok(())
    })?;
    Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// `lab simulate`
pub fn many(seeds: RangeInclusive<u64>, jobs: usize) -> Result<()> {
    let began = Instant::now();
    let sum = run_all(seeds, jobs, true)?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} schedules in {seconds:.1} s: {:.0} a second on {jobs} threads, {} events",
        sum.schedules,
        sum.schedules as f64 / seconds,
        sum.events
    );
    let (seed, ms) = sum.worst;
    println!(
        "longest to converge: seed {seed}, {:.1} s",
        ms as f64 / 1_000.0
    );
    println!("\n{:>10}  fault", "injected");
    for (kind, count) in &sum.faults {
        println!("{count:>10}  {kind}");
    }
    for (seed, violations) in sum.failed.iter().take(SHOWN) {
        println!("\nseed {seed}: {}", violations.join("\n  "));
        println!("  replay it: tests/run simulate --seed {seed} --trace");
    }
    ensure!(
        sum.failed.is_empty(),
        "{} of {} schedules failed",
        sum.failed.len(),
        sum.schedules
    );
    Ok(())
}

/// `lab simulate --seed`
pub fn one(seed: u64, trace: bool) -> Result<()> {
    let options = Options {
        keep_trace: trace,
        ..Options::default()
    };
    let report = run(seed, &scratch(), options).context("cannot run the schedule")?;
    for line in &report.lines {
        println!("{line}");
    }
    println!(
        "seed {seed}: {} events, trace {:016x}, converged {:.1} s after the faults",
        report.events,
        report.hash,
        report.converged_ms as f64 / 1_000.0
    );
    ensure!(
        report.violations.is_empty(),
        "{}",
        report.violations.join("\n")
    );
    Ok(())
}
