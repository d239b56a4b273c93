//! Runs an order in a transient unit and notices its end: by its record, or by the unit being gone without one.

use super::executor::{Executor, failed, timeout_of};
use super::follow::Watch;
use super::progress::{self, Tail, ToFile, ToOutbox};
use super::systemd::Units;
use super::{Ending, Job, Launcher, sealed};
use crate::context::Progress;
use crate::host::files;
use crate::journal::{self, State};
use crate::link::outbox::Outbox;
use crate::paths::Paths;
use quorate_proto::v1::{OrderResult, Problem};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

/// How often the unit itself is asked after; results and progress are noticed at once.
const UNIT_CHECK: Duration = Duration::from_secs(2);

pub struct Unit<U> {
    pub paths: Paths,
    pub units: U,
    pub outbox: Arc<Outbox>,
}

#[tonic::async_trait]
impl<U: Units> Launcher for Unit<U> {
    async fn run(&self, job: &Job) -> Ending {
        let follower = match Follower::new(self, job) {
            Ok(follower) => follower,
            Err(problem) => return Ending::NotStarted(problem),
        };
        let timeout = timeout_of(&job.order);
        match self.units.start(&job.unit, &job.order.id, timeout).await {
            Ok(()) => follower.end().await,
            Err(problem) => Ending::NotStarted(problem),
        }
    }

    async fn attach(&self, job: &Job) -> Ending {
        match Follower::new(self, job) {
            Ok(follower) => follower.end().await,
            Err(problem) => Ending::Lost(problem),
        }
    }

    async fn is_active(&self, unit: &str) -> bool {
        self.units.is_active(unit).await.unwrap_or(false)
    }
}

struct Follower<'a, U> {
    launcher: &'a Unit<U>,
    job: &'a Job,
    watch: Watch,
    tail: Tail,
    lines: ToOutbox,
    /// The record as it was last looked at: inode and time of change.
    seen: Option<(u64, i64)>,
}

impl<'a, U: Units> Follower<'a, U> {
    fn new(launcher: &'a Unit<U>, job: &'a Job) -> Result<Self, Problem> {
        let paths = &launcher.paths;
        let records = paths.journal();
        let lines = progress::file(paths, "").to_path_buf();
        files::make_folder(&lines, 0o700)?;
        Ok(Follower {
            watch: Watch::new(&[&records, &lines])?,
            launcher,
            job,
            tail: Tail::default(),
            lines: ToOutbox::new(&job.order.id, launcher.outbox.clone()),
            seen: None,
        })
    }

    async fn end(mut self) -> Ending {
        let mut check = tokio::time::interval(UNIT_CHECK);
        loop {
            let gone = tokio::select! {
                () = self.watch.changed() => false,
                _ = check.tick() => self.is_gone().await,
            };
            self.follow();
            if let Some(result) = self.result() {
                return Ending::Finished(Box::new(result), None);
            }
            if gone {
                let verdict = self.launcher.units.verdict(&self.job.unit).await;
                return Ending::Lost(died(&self.job.unit, &verdict));
            }
        }
    }

    /// systemd that does not answer is no sign that the unit is gone.
    async fn is_gone(&self) -> bool {
        match self.launcher.units.is_active(&self.job.unit).await {
            Ok(active) => !active,
            Err(problem) => {
                tracing::warn!(%problem, "systemd does not answer");
                false
            }
        }
    }

    fn follow(&mut self) {
        for line in self.tail.read(&self.launcher.paths, &self.job.order.id) {
            self.lines.line(&line);
        }
    }

    /// Reads the record only after it was replaced: it can be large, and progress wakes us often.
    fn result(&mut self) -> Option<OrderResult> {
        let paths = &self.launcher.paths;
        let id = &self.job.order.id;
        let meta = std::fs::metadata(journal::path_of(&paths.journal(), id)).ok()?;
        let stamp = (meta.ino(), meta.ctime_nsec());
        if self.seen == Some(stamp) {
            return None;
        }
        self.seen = Some(stamp);
        match journal::read(paths, id).ok()??.state {
            State::Finished { result } => Some(*result),
            State::Accepted | State::Running { .. } => None,
        }
    }
}

/// The other side: what the unit runs. Whatever happens is recorded, if the disk takes it.
pub async fn execute(executor: &Executor, id: &str) -> Result<(), Problem> {
    let paths = &executor.paths;
    let entry = journal::read(paths, id)?.ok_or_else(|| not_to_run(id, "it is not known"))?;
    match &entry.state {
        State::Running { .. } => {}
        State::Accepted => return Err(not_to_run(id, "the agent has not started it")),
        State::Finished { .. } => return Err(not_to_run(id, "it is finished")),
    }
    let lines = Arc::new(ToFile::create(paths, id)?);
    let mut result = match sealed::take(paths, id) {
        Ok(material) => executor.run(entry.order.clone(), material, lines).await.0,
        Err(problem) => failed(problem),
    };
    result.id = id.to_owned();
    journal::write_result(paths, &entry, result)
}

fn not_to_run(id: &str, cause: &str) -> Problem {
    Problem::new("order-not-to-run", "this order is not to be run")
        .at(id)
        .because(cause)
        .next("none: the agent starts orders by itself")
}

fn died(unit: &str, verdict: &str) -> Problem {
    Problem::new("order-interrupted", "the order ended without a result")
        .at(unit)
        .because(format!("systemd says: {verdict}"))
        .next(format!("journalctl -u {unit}"))
}

#[cfg(test)]
mod tests;
