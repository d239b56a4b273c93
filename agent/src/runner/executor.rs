//! Runs one order to its result: in time, and with a panic turned into a failure.

use crate::context::{Artifacts, Context, Done, Progress};
use crate::paths::Paths;
use quorate_proto::v1::{JoinMaterial, Order, OrderResult, OrderStatus, Problem};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// For an order that names no time: an installation over a slow link.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// No order may hold the node longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// What carries out an order; a test puts its own here. The future stays on the thread that made it.
pub type Execute = Arc<dyn Fn(Context) -> Pin<Box<dyn Future<Output = Done>>> + Send + Sync>;

pub struct Executor {
    pub paths: Paths,
    pub execute: Execute,
    pub artifacts: Arc<dyn Artifacts>,
}

/// The orders of this build.
pub fn built_in() -> Execute {
    Arc::new(|context| Box::pin(async move { crate::orders::execute(&context).await }))
}

pub fn timeout_of(order: &Order) -> Duration {
    match order.timeout_seconds {
        0 => DEFAULT_TIMEOUT,
        seconds => Duration::from_secs(u64::from(seconds)).min(MAX_TIMEOUT),
    }
}

impl Executor {
    pub async fn run(
        &self,
        order: Order,
        material: Option<JoinMaterial>,
        progress: Arc<dyn Progress>,
    ) -> (OrderResult, Option<JoinMaterial>) {
        let began = Instant::now();
        let timeout = timeout_of(&order);
        let id = order.id.clone();
        let context = Context {
            paths: self.paths.clone(),
            order: Arc::new(order),
            material: material.map(Arc::new),
            progress,
            artifacts: self.artifacts.clone(),
            deadline: began + timeout,
        };
        // A thread of its own: a panic ends the order and not the agent, and an order that computes delays no heartbeat.
        let (execute, runtime) = (self.execute.clone(), Handle::current());
        let done = tokio::task::spawn_blocking(move || {
            // What runs late is dropped here, and its tools die with it.
            runtime.block_on(async { tokio::time::timeout(timeout, execute(context)).await })
        });
        let done = match done.await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(too_slow(timeout)),
            Err(_) => Err(panicked()),
        };
        let (mut result, sealed) = match done {
            Ok(outcome) => (outcome.result, outcome.sealed),
            Err(problem) => (failed(problem), None),
        };
        if result.status == OrderStatus::Unspecified as i32 {
            result.status = OrderStatus::Succeeded as i32;
        }
        result.id = id;
        result.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (result, sealed)
    }
}

pub fn failed(problem: Problem) -> OrderResult {
    OrderResult {
        status: OrderStatus::Failed as i32,
        problem: Some(problem),
        ..OrderResult::default()
    }
}

fn panicked() -> Problem {
    // The message of the panic is in the journal of systemd; here it could carry a value.
    Problem::new(
        "agent-bug",
        "the order ended in a programming error of the agent",
    )
    .next("report it with the output of: journalctl -u 'quorate-*'")
}

fn too_slow(timeout: Duration) -> Problem {
    Problem::new(
        "order-timeout",
        format!("the order did not finish within {} s", timeout.as_secs()),
    )
    .because("see the last line of progress for what it waited for")
    .next("none: the coordinator looks at the node and orders anew")
}
