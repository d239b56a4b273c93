//! Takes orders in, runs them one after the other or side by side, and tells their results: the agent behind the link.
//!
//! - [`executor`]: runs one order to its result; [`in_place`] and [`unit`]: where, and how its end is noticed;
//! - [`systemd`]: transient units; [`follow`]: changes of files; [`progress`]: lines on their way; [`sealed`]: secrets on theirs;
//! - [`recover`]: what becomes of orders that were under way when the agent stopped (pure).

pub mod executor;
pub mod follow;
pub mod in_place;
pub mod progress;
pub mod recover;
pub mod sealed;
pub mod systemd;
pub mod unit;
mod work;

use crate::host::files;
use crate::inbox::{self, Decision, Fence, is_order_id};
use crate::isolation::Isolation;
use crate::journal::Journal;
use crate::link::outbox::Outbox;
use crate::link::{Handler, LinkState};
use crate::paths::Paths;
use prost::Message;
use quorate_proto::v1::{
    self, Delivery, Hello, JoinMaterial, NodeReport, Order, OrderDone, OrderResult, OrderStatus,
    Pace, Problem, Welcome,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::task::TaskTracker;
use work::Work;

/// Orders that wait for the one that runs as a unit: more than the coordinator ever has under way on one node.
pub const UNIT_QUEUE: usize = 32;
/// Short orders that run side by side.
pub const IN_PLACE_AT_ONCE: usize = 4;
/// Short orders accepted and not finished.
pub const IN_PLACE_QUEUE: usize = 64;

/// An order of this node, on its way through a launcher.
pub struct Job {
    pub order: Order,
    pub unit: String,
}

/// How a job ended.
pub enum Ending {
    Finished(Box<OrderResult>, Option<JoinMaterial>),
    /// It did not start, and so had no effect.
    NotStarted(Problem),
    /// It died without a result.
    Lost(Problem),
}

/// Where orders run that have to survive a restart of the agent.
#[tonic::async_trait]
pub trait Launcher: Send + Sync + 'static {
    /// Starts the job and waits for its end.
    async fn run(&self, job: &Job) -> Ending;
    /// Waits for the end of a job of an earlier life of the agent.
    async fn attach(&self, job: &Job) -> Ending;
    async fn is_active(&self, unit: &str) -> bool;
}

pub type Observe =
    Arc<dyn Fn(u64, Pace, bool) -> Pin<Box<dyn Future<Output = NodeReport> + Send>> + Send + Sync>;

pub struct Settings {
    pub paths: Paths,
    pub node_id: String,
    pub node_name: String,
    /// Where short orders run: inside the agent.
    pub short: Arc<dyn Launcher>,
    pub units: Arc<dyn Launcher>,
    pub observe: Observe,
    /// Endpoints that a coordinator announces, for who keeps the identity.
    pub announced: watch::Sender<Vec<String>>,
    pub on_change: Box<dyn Fn(&LinkState) + Send + Sync>,
    pub isolation: Arc<Isolation>,
}

pub struct Runner {
    settings: Settings,
    outbox: Arc<Outbox>,
    book: Mutex<Book>,
    unit_queue: mpsc::Sender<Work>,
    in_place: Arc<Semaphore>,
    tasks: TaskTracker,
    itself: std::sync::Weak<Runner>,
}

struct Book {
    journal: Journal,
    fence: Fence,
}

impl Runner {
    /// Opens the journal, takes up what was under way, and starts to work.
    pub async fn start(settings: Settings, outbox: Arc<Outbox>) -> Result<Arc<Self>, Problem> {
        let opened = Journal::open(&settings.paths)?;
        for problem in &opened.problems {
            tracing::error!(%problem, "an order's record is set aside");
        }
        // The journal implies a fence too, should the stored one be lost.
        let mut fence = load_fence(&settings.paths)?;
        fence.merge(opened.fence);
        let (unit_queue, waiting) = mpsc::channel(UNIT_QUEUE);
        let runner = Arc::new_cyclic(|itself| Runner {
            settings,
            outbox,
            book: Mutex::new(Book {
                journal: opened.journal,
                fence,
            }),
            unit_queue,
            in_place: Arc::new(Semaphore::new(IN_PLACE_AT_ONCE)),
            tasks: TaskTracker::new(),
            itself: itself.clone(),
        });
        let again = work::recover(&runner).await?;
        tokio::spawn(work::run_units(Arc::downgrade(&runner), again, waiting));
        Ok(runner)
    }

    /// Waits for short orders; units go on without the agent.
    pub async fn short_orders_done(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, order: Order, sealed: &[u8]) -> Result<(), Problem> {
        let mut book = self.book();
        let entry = if is_order_id(&order.id) {
            book.journal.get(&order.id)?
        } else {
            None
        };
        match inbox::decide(entry.as_ref(), &order, &book.fence) {
            Decision::Start | Decision::Recompute => self.begin(&mut book, order, sealed),
            Decision::AlreadyRunning => {
                self.outbox.accepted(&order.id);
                Ok(())
            }
            Decision::ReturnRecorded(result) => {
                self.outbox.done(OrderDone {
                    result: Some(*result),
                    ..OrderDone::default()
                });
                Ok(())
            }
            Decision::Refuse(problem) => Err(problem),
        }
    }

    /// Everything that must be on disk is there before the order is accepted, and that before it starts.
    fn begin(&self, book: &mut Book, order: Order, sealed_part: &[u8]) -> Result<(), Problem> {
        let id = order.id.clone();
        let in_unit = order.action.as_ref().is_some_and(|a| a.runs_in_unit());
        let place = if in_unit {
            Some(self.unit_queue.try_reserve().map_err(|_| busy(&id))?)
        } else if self.tasks.len() >= IN_PLACE_QUEUE {
            return Err(busy(&id));
        } else {
            None
        };
        if book.fence.raise(&order) {
            store_fence(&self.settings.paths, &book.fence)?;
        }
        if !sealed_part.is_empty() {
            sealed::put(&self.settings.paths, &id, sealed_part)?;
        }
        book.journal.accept(order, !sealed_part.is_empty())?;
        self.outbox.accepted(&id);
        match place {
            Some(place) => place.send(Work::Run(id)),
            None => self.spawn_in_place(id),
        }
        Ok(())
    }

    fn spawn_in_place(&self, id: String) {
        let (runner, slots) = (self.itself.clone(), self.in_place.clone());
        self.tasks.spawn(async move {
            let Ok(_slot) = slots.acquire_owned().await else {
                return;
            };
            if let Some(runner) = runner.upgrade() {
                work::run_in_place(&runner, &id).await;
            }
        });
    }

    fn refuse(&self, id: String, problem: Problem) {
        tracing::warn!(order = id, %problem, "order refused");
        self.outbox.done(OrderDone {
            result: Some(OrderResult {
                id,
                status: OrderStatus::Refused as i32,
                problem: Some(problem),
                ..OrderResult::default()
            }),
            ..OrderDone::default()
        });
    }

    fn finish(&self, result: OrderResult, material: Option<JoinMaterial>) {
        let id = result.id.clone();
        tracing::info!(order = id, status = result.status, "order finished");
        if let Err(problem) = self.book().journal.finish(result.clone()) {
            tracing::error!(order = id, %problem, "the result is kept in memory only");
        }
        self.outbox.done(OrderDone {
            result: Some(result),
            sealed: material.map(|m| m.encode_to_vec()).unwrap_or_default(),
            ..OrderDone::default()
        });
        self.outbox.report_now();
        sealed::discard(&self.settings.paths, &id);
        progress::discard(&self.settings.paths, &id);
    }
}

#[tonic::async_trait]
impl Handler for Runner {
    fn hello(&self) -> Hello {
        let book = self.book();
        Hello {
            node_id: self.settings.node_id.clone(),
            node_name: self.settings.node_name.clone(),
            boot_id: crate::observe::host::boot_id(&self.settings.paths),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            highest_epoch: book.fence.epoch,
            epoch_proof: book.fence.proof.clone(),
            telling: false,
            running_orders: book.journal.unfinished(),
            finished_unacknowledged: book.journal.unacknowledged(),
        }
    }

    fn welcome(&self, welcome: &Welcome) -> Result<(), Problem> {
        let mut book = self.book();
        book.fence.admit_epoch(welcome.epoch)?;
        if book.fence.raise_proven(welcome.epoch, &welcome.epoch_proof) {
            store_fence(&self.settings.paths, &book.fence)?;
        }
        let announced = welcome.endpoints.clone();
        self.settings.announced.send_replace(announced);
        Ok(())
    }

    fn deliver(&self, delivery: Delivery) {
        let Some(order) = delivery.order else {
            tracing::warn!("a delivery without an order");
            return;
        };
        let id = order.id.clone();
        if let Err(problem) = self.receive(order, &delivery.sealed) {
            self.refuse(id, problem);
        }
    }

    fn acknowledge(&self, id: &str) {
        if let Err(problem) = self.book().journal.acknowledge(id) {
            tracing::warn!(order = id, %problem, "an acknowledgement was not recorded");
        }
    }

    fn unacknowledged(&self) -> Vec<OrderResult> {
        let mut book = self.book();
        let ids = book.journal.unacknowledged();
        ids.iter()
            .filter_map(|id| book.journal.result(id))
            .collect()
    }

    async fn report(&self, sequence: u64, pace: Pace, anew: bool) -> NodeReport {
        (self.settings.observe)(sequence, pace, anew).await
    }

    fn changed(&self, state: &LinkState) {
        (self.settings.on_change)(state);
    }

    fn heard(&self, sent_ms: u64) {
        self.settings.isolation.proven(sent_ms);
    }

    fn isolation(&self, told: &v1::Isolation) {
        self.settings.isolation.take(told);
    }
}

fn load_fence(paths: &Paths) -> Result<Fence, Problem> {
    let Some(bytes) = files::read_optional(&fence_file(paths))? else {
        return Ok(Fence::default());
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(
            "fence-unreadable",
            format!("cannot parse the fence: {error}"),
        )
        .at(fence_file(paths).display().to_string())
        .because("without it a stale coordinator could not be told from the current one")
        .next("remove the file only if no old copy of the coordinator can be running")
    })
}

fn store_fence(paths: &Paths, fence: &Fence) -> Result<(), Problem> {
    let bytes = serde_json::to_vec(fence)
        .map_err(|error| Problem::new("fence-unwritable", error.to_string()))?;
    files::write_atomic(&fence_file(paths), &bytes, 0o600)
}

fn fence_file(paths: &Paths) -> std::path::PathBuf {
    paths.state().join("fence.json")
}

fn busy(id: &str) -> Problem {
    Problem::new("node-busy", "too many orders wait on this node")
        .at(id)
        .next("none: the coordinator orders again when earlier ones are done")
}

#[cfg(test)]
mod tests;
