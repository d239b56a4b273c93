//! Moves accepted orders through a launcher and their results into the journal.

use super::executor::{failed, timeout_of};
use super::recover::{Found, Recovery, recover as judge};
use super::systemd::unit_of;
use super::{Ending, Job, Launcher, Runner, sealed};
use crate::journal::{State, now_ms};
use quorate_proto::v1::{OrderResult, OrderStatus, Problem};
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;

pub enum Work {
    Run(String),
    Attach(String),
}

/// Decides on every order that was under way; returns those that go through the unit queue first.
pub async fn recover(runner: &Arc<Runner>) -> Result<Vec<Work>, Problem> {
    let mut again = Vec::new();
    let unfinished = runner.book().journal.unfinished();
    for id in unfinished {
        let Some(entry) = runner.book().journal.get(&id)? else {
            continue;
        };
        let unit_active = match &entry.state {
            State::Running { unit } => runner.settings.units.is_active(unit).await,
            State::Accepted | State::Finished { .. } => false,
        };
        let found = Found {
            unit_active,
            sealed_there: sealed::is_there(&runner.settings.paths, &id),
            now_ms: now_ms(),
        };
        let in_unit = entry
            .order
            .action
            .as_ref()
            .is_some_and(|a| a.runs_in_unit());
        let recovery = judge(&entry, timeout_of(&entry.order), found);
        tracing::info!(order = id, ?recovery, "an order was under way");
        match recovery {
            Recovery::Attach => again.insert(0, Work::Attach(id)),
            Recovery::Rerun if in_unit => again.push(Work::Run(id)),
            Recovery::Rerun => runner.spawn_in_place(id),
            Recovery::Interrupted(problem) => runner.finish(interrupted(&id, problem), None),
            Recovery::Forget => runner.book().journal.forget(&id)?,
            Recovery::Nothing => {}
        }
    }
    Ok(again)
}

/// One order at a time: they change packages, services and certificates of the same machine.
pub async fn run_units(runner: Weak<Runner>, first: Vec<Work>, mut queue: mpsc::Receiver<Work>) {
    for work in first {
        let Some(runner) = runner.upgrade() else {
            return;
        };
        step(&runner, work).await;
    }
    while let Some(work) = queue.recv().await {
        let Some(runner) = runner.upgrade() else {
            return;
        };
        step(&runner, work).await;
    }
}

async fn step(runner: &Runner, work: Work) {
    let units = runner.settings.units.clone();
    match work {
        Work::Run(id) => run(runner, &*units, &id).await,
        Work::Attach(id) => {
            let entry = runner.book().journal.get(&id);
            if let Ok(Some(entry)) = entry {
                let job = Job {
                    unit: unit_of(&id),
                    order: entry.order,
                };
                conclude(runner, &id, units.attach(&job).await);
            }
        }
    }
}

pub async fn run_in_place(runner: &Runner, id: &str) {
    let launcher = runner.settings.short.clone();
    run(runner, &*launcher, id).await;
}

async fn run(runner: &Runner, launcher: &dyn Launcher, id: &str) {
    let unit = unit_of(id);
    let started = runner.book().journal.set_running(id, &unit);
    let ending = match started {
        Ok(entry) => {
            let job = Job {
                order: entry.order,
                unit,
            };
            tracing::info!(order = id, unit = job.unit, "order starts");
            launcher.run(&job).await
        }
        Err(problem) => Ending::NotStarted(problem),
    };
    conclude(runner, id, ending);
}

fn conclude(runner: &Runner, id: &str, ending: Ending) {
    match ending {
        Ending::Finished(result, material) => runner.finish(*result, material),
        Ending::Lost(problem) => runner.finish(interrupted(id, problem), None),
        Ending::NotStarted(problem) => {
            let mut result = failed(problem);
            result.id = id.to_owned();
            runner.finish(result, None);
        }
    }
}

fn interrupted(id: &str, problem: Problem) -> OrderResult {
    OrderResult {
        id: id.to_owned(),
        status: OrderStatus::Interrupted as i32,
        problem: Some(problem),
        ..OrderResult::default()
    }
}
