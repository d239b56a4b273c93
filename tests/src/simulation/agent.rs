//! An agent on a simulated machine: the real runner with its journal and inbox on a folder in memory, behind a simulated line. Only
//! where orders run, and what is observed, is the simulation's.

use super::link::{Reader, Under};
use super::orders::{Worker, carry_out};
use super::view;
use super::world::World;
use quorate_agent::journal::{self, Entry, State as Recorded};
use quorate_agent::link::Handler;
use quorate_agent::link::backoff::{Backoff, Ended};
use quorate_agent::link::outbox::Outbox;
use quorate_agent::paths::Paths;
use quorate_agent::runner::{Ending, Job, Launcher, Runner, Settings, sealed};
use quorate_proto::limits::{HEARTBEAT_SECONDS, REPORT_AT_REST_MS};
use quorate_proto::v1::agent_message::Message as Ours;
use quorate_proto::v1::coordinator_message::Message as Theirs;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Messages taken out of the outbox at once, as in a session.
const READY: usize = 16;
/// Results without acknowledgement are told again each so many heartbeats.
const RESEND_HEARTBEATS: u64 = 2;

/// Where a process stands: on which machine, in which of its lives.
#[derive(Clone)]
struct Here {
    world: Arc<World>,
    name: String,
    boot: u64,
    life: u64,
    paths: Paths,
}

/// Starts the agent's process, unless one runs.
pub fn start(world: &Arc<World>, name: &str) {
    let paths = world.paths(name);
    let here = {
        let mut state = world.lock();
        let Some(machine) = state.machines.get_mut(name) else {
            return;
        };
        if !machine.alive || machine.agent.is_some() {
            return;
        }
        machine.life += 1;
        Here {
            world: Arc::clone(world),
            name: name.to_owned(),
            boot: machine.boot,
            life: machine.life,
            paths,
        }
    };
    let task = tokio::spawn(run(here)).abort_handle();
    if let Some(machine) = world.lock().machines.get_mut(name) {
        machine.agent = Some(task);
    }
}

/// The process dies; units go on.
pub fn kill(world: &World, name: &str) {
    let mut state = world.lock();
    if let Some(machine) = state.machines.get_mut(name) {
        machine.life += 1;
        if let Some(task) = machine.agent.take() {
            task.abort();
        }
    }
}

async fn run(here: Here) {
    let outbox = Arc::new(Outbox::default());
    age(&here);
    let seen = here.clone();
    let settings = Settings {
        isolation: Arc::new(quorate_agent::isolation::Isolation::new(here.paths.clone())),
        paths: here.paths.clone(),
        node_id: here.name.clone(),
        node_name: here.name.clone(),
        short: Arc::new(Short(here.clone())),
        units: Arc::new(Units(here.clone())),
        observe: Arc::new(move |sequence, pace, _| {
            let here = seen.clone();
            Box::pin(async move {
                here.world.sleep(5, 40).await;
                view::report(&here.world, &here.name, sequence, &pace)
            })
        }),
        announced: watch::channel(Vec::new()).0,
        on_change: Box::new(|_| {}),
    };
    let runner = match Runner::start(settings, Arc::clone(&outbox)).await {
        Ok(runner) => runner,
        Err(problem) => {
            let mut state = here.world.lock();
            return state.checks.violated(format!("no agent: {problem}"));
        }
    };
    let mut backoff = Backoff::default();
    loop {
        let mut ended = Ended::default();
        if here.world.reaches_coordinator(&here.name) {
            let began = Instant::now();
            session(&here, &runner, &outbox).await;
            ended.lasted = Some(began.elapsed());
        }
        let random = here.world.lock().random.between(0, 1_000);
        let wait = backoff.next(ended, random as f64 / 1_000.0);
        tokio::time::sleep(wait.max(Duration::from_millis(10))).await;
    }
}

/// The journal tells times by the wall clock, which stands still here: they are moved back by what has passed in the simulation.
fn age(here: &Here) {
    let now = here.world.now_ms();
    let unfinished = journal::unfinished(&here.paths).unwrap_or_default();
    for id in unfinished {
        let came = {
            let state = here.world.lock();
            let machine = state.machines.get(&here.name);
            machine.and_then(|it| it.accepted.get(&id).copied())
        };
        let (Some(came), Ok(Some(mut entry))) = (came, journal::read(&here.paths, &id)) else {
            continue;
        };
        entry.at = journal::now_ms() - i64::try_from(now - came).unwrap_or_default();
        let file = journal::path_of(&here.paths.journal(), &id);
        if let Ok(bytes) = serde_json::to_vec(&entry) {
            let _ = std::fs::write(file, bytes);
        }
    }
}

/// One session, by the rules of the agent's own.
async fn session(here: &Here, runner: &Arc<Runner>, outbox: &Arc<Outbox>) {
    let world = &here.world;
    tokio::time::sleep(world.latency() * 3).await;
    let coordinator = *world.coordinator.borrow();
    if !world.reaches_coordinator(&here.name) {
        return;
    }
    let hello = runner.hello();
    let Some((number, mut reader)) = world.open(&here.name, &hello, coordinator).await else {
        return;
    };
    let (sender, from) = mpsc::unbounded_channel();
    tokio::spawn(Arc::clone(world).listen(here.name.clone(), number, from));
    let mut line = Line {
        sender,
        last: Instant::now(),
    };
    let Some(Theirs::Welcome(welcome)) = next(here, &mut reader).await else {
        return;
    };
    if runner.welcome(&welcome).is_err() {
        return;
    }
    outbox.open();
    tell_again(runner, outbox);
    serve(here, runner, outbox, &mut line, &mut reader).await;
    outbox.close();
}

struct Line {
    sender: mpsc::UnboundedSender<Under<Ours>>,
    last: Instant,
}

impl Line {
    fn send(&mut self, world: &World, message: Ours) {
        self.last = self.last.max(Instant::now() + world.latency());
        let _ = self.sender.send(Under(self.last, message));
    }
}

/// The next message of the coordinator; none once the session is over.
async fn next(here: &Here, reader: &mut Reader) -> Option<Theirs> {
    loop {
        let Under(arrival, message) = reader.recv().await?;
        tokio::time::sleep_until(arrival).await;
        if !here.world.passes(&here.name).await {
            return None;
        }
        if message.message.is_some() {
            return message.message;
        }
    }
}

async fn serve(
    here: &Here,
    runner: &Arc<Runner>,
    outbox: &Arc<Outbox>,
    line: &mut Line,
    reader: &mut Reader,
) {
    let mut pace = Pace {
        report_ms: REPORT_AT_REST_MS,
        ..Pace::default()
    };
    let beat = Duration::from_secs(HEARTBEAT_SECONDS.into());
    let (mut beats, mut reports) = (0, 0);
    let (mut next_beat, mut next_report) = (Instant::now() + beat, Instant::now());
    // Received in a task of its own, as taking a message out waits for its arrival and must not be cut short.
    loop {
        let mut report = false;
        tokio::select! {
            biased;
            message = reader.recv() => {
                let Some(Under(arrival, message)) = message else { return };
                tokio::time::sleep_until(arrival).await;
                if !here.world.passes(&here.name).await {
                    return;
                }
                match message.message {
                    Some(Theirs::Delivery(delivery)) => deliver(here, runner, delivery),
                    Some(Theirs::Acknowledge(done)) => runner.acknowledge(&done.id),
                    Some(Theirs::Pace(asked)) => {
                        if asked.report_ms != pace.report_ms {
                            next_report = Instant::now();
                        }
                        pace = asked;
                    }
                    Some(Theirs::Goodbye(_)) => return,
                    Some(Theirs::Welcome(_) | Theirs::Heard(_)) | None => {}
                }
            }
            () = outbox.changed() => {
                let (messages, asked) = outbox.take(READY);
                for mut message in messages {
                    if let Ours::Done(done) = &mut message {
                        done.report = reports + 1;
                    }
                    line.send(&here.world, message);
                }
                report = asked;
            }
            () = tokio::time::sleep_until(next_report) => report = true,
            () = tokio::time::sleep_until(next_beat) => {
                beats += 1;
                next_beat += beat;
                line.send(&here.world, Ours::Heartbeat(Heartbeat { sequence: beats, unix_ms: 0 }));
                if beats % RESEND_HEARTBEATS == 0 {
                    tell_again(runner, outbox);
                }
            }
        }
        if report {
            reports += 1;
            let report = runner.report(reports, pace.clone(), false).await;
            line.send(&here.world, Ours::Report(report));
            next_report = Instant::now() + Duration::from_millis(pace.report_ms.into());
        }
    }
}

fn tell_again(runner: &Arc<Runner>, outbox: &Arc<Outbox>) {
    for result in runner.unacknowledged() {
        outbox.done(OrderDone {
            result: Some(result),
            ..OrderDone::default()
        });
    }
}

fn deliver(here: &Here, runner: &Arc<Runner>, delivery: Delivery) {
    let id = delivery.order.as_ref().map(|order| order.id.clone());
    let now = here.world.now_ms();
    if let (Some(id), Some(machine)) = (id, here.world.lock().machines.get_mut(&here.name)) {
        machine.accepted.entry(id).or_insert(now);
    }
    runner.deliver(delivery);
}

/// Orders inside the agent: they die with it.
struct Short(Here);

#[tonic::async_trait]
impl Launcher for Short {
    async fn run(&self, job: &Job) -> Ending {
        let here = &self.0;
        let material = match sealed::take(&here.paths, &job.order.id) {
            Ok(material) => material,
            Err(problem) => return Ending::NotStarted(problem),
        };
        let worker = here.worker(Some(here.life));
        match carry_out(&worker, &job.order, material).await {
            Ok((result, material)) => Ending::Finished(Box::new(result), material),
            Err(_) => std::future::pending().await,
        }
    }

    async fn attach(&self, job: &Job) -> Ending {
        self.run(job).await
    }

    async fn is_active(&self, _: &str) -> bool {
        false
    }
}

/// Transient units: they survive the agent, and end with the host.
struct Units(Here);

impl Here {
    fn worker(&self, life: Option<u64>) -> Worker {
        Worker {
            world: Arc::clone(&self.world),
            name: self.name.clone(),
            boot: self.boot,
            life,
        }
    }

    fn runs(&self, unit: &str) -> bool {
        let state = self.world.lock();
        let machine = state.machines.get(&self.name);
        machine.is_some_and(|it| it.boot == self.boot && it.units.contains(unit))
    }

    fn is_dead(&self) -> bool {
        let state = self.world.lock();
        let machine = state.machines.get(&self.name);
        machine.is_none_or(|it| it.life != self.life)
    }

    /// Waits for the end of the unit, as its follower does, and reads what it has left.
    async fn end(&self, job: &Job) -> Ending {
        loop {
            let changed = {
                let state = self.world.lock();
                let machine = state.machines.get(&self.name);
                machine.map(|it| Arc::clone(&it.units_changed))
            };
            let Some(changed) = changed else {
                return std::future::pending().await;
            };
            let notified = changed.notified();
            if !self.runs(&job.unit) {
                break;
            }
            notified.await;
        }
        if self.is_dead() {
            return std::future::pending().await;
        }
        match journal::read(&self.paths, &job.order.id) {
            Ok(Some(Entry {
                state: Recorded::Finished { result },
                ..
            })) => Ending::Finished(result, None),
            Ok(_) | Err(_) => Ending::Lost(Problem::new("order-interrupted", "no result")),
        }
    }
}

#[tonic::async_trait]
impl Launcher for Units {
    async fn run(&self, job: &Job) -> Ending {
        let here = self.0.clone();
        if here.is_dead() {
            return std::future::pending().await;
        }
        if let Some(machine) = here.world.lock().machines.get_mut(&here.name) {
            machine.units.insert(job.unit.clone());
        }
        tokio::spawn(unit(here, job.order.id.clone(), job.unit.clone()));
        self.0.end(job).await
    }

    async fn attach(&self, job: &Job) -> Ending {
        self.0.end(job).await
    }

    async fn is_active(&self, unit: &str) -> bool {
        self.0.runs(unit)
    }
}

/// The unit's own process: what `quorate-agent execute` does.
async fn unit(here: Here, id: String, unit: String) {
    let entry = match journal::read(&here.paths, &id) {
        Ok(Some(entry)) if matches!(entry.state, Recorded::Running { .. }) => entry,
        Ok(_) | Err(_) => return here.unit_ends(&unit),
    };
    let worker = here.worker(None);
    let material = sealed::take(&here.paths, &id).ok().flatten();
    let Ok((result, _)) = carry_out(&worker, &entry.order, material).await else {
        return; // the machine died
    };
    if worker.lives().is_ok() {
        if let Err(problem) = journal::write_result(&here.paths, &entry, result) {
            let mut state = here.world.lock();
            state.checks.violated(format!("no result: {problem}"));
        }
        here.unit_ends(&unit);
    }
}

impl Here {
    fn unit_ends(&self, unit: &str) {
        let mut state = self.world.lock();
        if let Some(machine) = state.machines.get_mut(&self.name)
            && machine.boot == self.boot
        {
            machine.units.remove(unit);
            machine.units_changed.notify_waiters();
        }
    }
}
