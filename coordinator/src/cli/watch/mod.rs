//! Following an operation to its end: re-attaches when the coordinator restarts, leaves on Ctrl-C or when the time
//! is up. The operation itself goes on in any case.

mod changes;
mod rows;
mod view;

use super::args::WatchArgs;
use super::connect::{Client, failed};
use super::console::Console;
use super::context::Context;
use super::exit::{self, Exit};
use super::failure::{Failure, Outcome};
use super::render::operations::{ending, is_over, succeeded};
use super::text::clean;
use quorate_proto::v1::{OperationEvent, OperationInfo, Problem, WatchOperationRequest};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use view::View;

/// A coordinator that restarts is back well within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between attempts to reach it: its return cannot be observed but by trying.
const PAUSE: Duration = Duration::from_secs(1);
/// How far away a deadline is that nobody set.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Comes when the watcher is to leave.
pub type Leave = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ctrl-C, from now on: before this it ends the program.
pub fn interrupt() -> Leave {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()) {
        Ok(mut signal) => Box::pin(async move {
            signal.recv().await;
        }),
        Err(_) => Box::pin(std::future::pending()),
    }
}

pub struct Follow<'a> {
    pub console: &'a Console,
    pub context: &'a Context,
    pub client: Client,
    pub id: String,
    pub args: WatchArgs,
    pub leave: Leave,
}

/// Why watching stopped for now.
enum Stop {
    Over(Box<OperationInfo>),
    /// The stream ended or broke before the operation did.
    Broken(Option<Status>),
    Left,
    TimeUp,
}

impl Follow<'_> {
    pub async fn until_it_ends(mut self) -> Outcome<Exit> {
        let view = View::new(self.console, self.args.progress);
        let deadline = Instant::now() + self.args.timeout.unwrap_or(FOREVER);
        let result = self.attempts(view, deadline).await;
        match result? {
            Stop::Over(operation) => Ok(self.over(&operation)),
            Stop::TimeUp => {
                let failure = Problem::new("time-up", "the time is up; the operation goes on");
                Err(Failure::new(
                    Exit::StillRunning,
                    failure.next(self.attach()),
                ))
            }
            Stop::Left | Stop::Broken(_) => {
                self.console.say(&format!(
                    "detached; the operation goes on: {}",
                    self.attach()
                ));
                Ok(Exit::StillRunning)
            }
        }
    }

    async fn attempts(&mut self, mut view: View<'_>, deadline: Instant) -> Outcome<Stop> {
        let mut give_up = Instant::now() + PATIENCE;
        loop {
            let before = view.events();
            let stop = self.attempt(&mut view, deadline).await?;
            let Stop::Broken(status) = stop else {
                return Ok(stop);
            };
            if view.events() > before {
                give_up = Instant::now() + PATIENCE;
            }
            let failure = match &status {
                Some(status) => failed(status, self.context).await,
                None => ended_early(),
            };
            // Another attempt would only repeat a definite answer.
            if failure.exit != Exit::Unreachable {
                return Err(failure);
            }
            let again = Instant::now() + PAUSE;
            if again > give_up {
                return Err(self.lost(failure));
            }
            view.say("lost the coordinator; trying again");
            tokio::select! {
                () = sleep_until(again) => {}
                () = sleep_until(deadline) => return Ok(Stop::TimeUp),
                () = &mut self.leave => return Ok(Stop::Left),
            }
        }
    }

    async fn attempt(&mut self, view: &mut View<'_>, deadline: Instant) -> Outcome<Stop> {
        let request = WatchOperationRequest {
            id: self.id.clone(),
        };
        let mut client = self.client.clone();
        let opened = tokio::select! {
            opened = client.watch_operation(request) => opened,
            () = sleep_until(deadline) => return Ok(Stop::TimeUp),
            () = &mut self.leave => return Ok(Stop::Left),
        };
        let mut events = match opened {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Stop::Broken(Some(status))),
        };
        loop {
            let next = tokio::select! {
                next = events.message() => next,
                () = sleep_until(deadline) => return Ok(Stop::TimeUp),
                () = &mut self.leave => return Ok(Stop::Left),
            };
            match next {
                Ok(Some(event)) => {
                    view.show(&event)?;
                    if let Some(operation) = ended(event) {
                        return Ok(Stop::Over(Box::new(operation)));
                    }
                }
                Ok(None) => return Ok(Stop::Broken(None)),
                Err(status) => return Ok(Stop::Broken(Some(status))),
            }
        }
    }

    fn lost(&self, mut failure: Failure) -> Failure {
        let lost = Problem::new("watch-lost", "stopped watching; the operation goes on");
        failure.problems.push(lost.next(self.attach()));
        failure
    }

    fn over(&self, operation: &OperationInfo) -> Exit {
        let text = ending(operation, &self.console.err_look());
        if succeeded(operation) {
            self.console.note(text.trim_end());
            return Exit::Ok;
        }
        self.console.say(text.trim_end());
        let cluster = clean(&operation.cluster);
        self.console.note(format!(
            "look closer: quorate status {cluster}; quorate check {cluster}"
        ));
        match &operation.problem {
            Some(problem) if exit::is_refusal(problem) => Exit::Refused,
            Some(_) | None => Exit::Failure,
        }
    }

    fn attach(&self) -> String {
        format!("quorate operation watch {}", clean(&self.id))
    }
}

fn ended_early() -> Failure {
    let what = "the coordinator keeps ending the watch before the operation ends";
    Failure::new(Exit::Unreachable, Problem::new("watch-ended", what))
}

fn ended(event: OperationEvent) -> Option<OperationInfo> {
    event.operation.filter(is_over)
}
