//! One simulated agent: takes orders in by the agent's own rules, and pretends to carry them out.

use super::durations::OBSERVING;
use super::world::World;
use quorate_agent::inbox::{self, Decision, Fence};
use quorate_agent::journal::{Entry, State, now_ms};
use quorate_agent::link::Handler;
use quorate_agent::link::outbox::Outbox;
use quorate_agent::runner::{IN_PLACE_AT_ONCE, IN_PLACE_QUEUE, UNIT_QUEUE};
use quorate_proto::v1::{
    Delivery, Hello, NodeReport, Order, OrderDone, OrderResult, OrderStatus, Pace, Problem, Welcome,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::Semaphore;

pub(super) struct Agent {
    name: String,
    node_id: String,
    world: Arc<World>,
    outbox: Arc<Outbox>,
    book: Mutex<Book>,
    /// As in a real agent: what runs in a unit goes one by one, the rest a few at a time.
    units: Arc<Semaphore>,
    short: Arc<Semaphore>,
    itself: Weak<Agent>,
}

/// A journal in memory: a simulated machine does not restart.
#[derive(Default)]
struct Book {
    entries: BTreeMap<String, Entry>,
    fence: Fence,
}

impl Agent {
    pub fn new(name: String, node_id: String, world: Arc<World>, outbox: Arc<Outbox>) -> Arc<Self> {
        Arc::new_cyclic(|itself| Agent {
            name,
            node_id,
            world,
            outbox,
            book: Mutex::default(),
            units: Arc::new(Semaphore::new(1)),
            short: Arc::new(Semaphore::new(IN_PLACE_AT_ONCE)),
            itself: itself.clone(),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self, order: Order) -> Result<(), Problem> {
        let mut book = self.book();
        match inbox::decide(book.entries.get(&order.id), &order, &book.fence) {
            Decision::Start | Decision::Recompute => {
                book.admit(&order)?;
                book.fence.raise(&order);
                let entry = Entry::new(order.clone(), State::Accepted);
                book.entries.insert(order.id.clone(), entry);
                drop(book);
                self.outbox.accepted(&order.id);
                self.start(order);
                Ok(())
            }
            Decision::AlreadyRunning => {
                self.outbox.accepted(&order.id);
                Ok(())
            }
            Decision::ReturnRecorded(result) => {
                self.tell(*result, Vec::new());
                Ok(())
            }
            Decision::Refuse(problem) => Err(problem),
        }
    }

    fn start(&self, order: Order) {
        let Some(agent) = self.itself.upgrade() else {
            return;
        };
        let slots = match in_unit(&order) {
            true => Arc::clone(&self.units),
            false => Arc::clone(&self.short),
        };
        tokio::spawn(async move {
            let Ok(_slot) = slots.acquire_owned().await else {
                return;
            };
            let begun = Instant::now();
            if let Some(action) = &order.action {
                // The work that is pretended takes its time.
                tokio::time::sleep(agent.world.duration(action)).await;
            }
            let (result, sealed) = agent.world.carry_out(&agent.name, &order, begun);
            agent.finish(result, sealed);
        });
    }

    fn finish(&self, result: OrderResult, sealed: Vec<u8>) {
        if let Some(entry) = self.book().entries.get_mut(&result.id) {
            entry.state = State::Finished {
                result: Box::new(result.clone()),
            };
        }
        self.tell(result, sealed);
        self.outbox.report_now();
    }

    fn tell(&self, result: OrderResult, sealed: Vec<u8>) {
        self.outbox.done(OrderDone {
            result: Some(result),
            sealed,
            ..OrderDone::default()
        });
    }
}

impl Book {
    /// The same bounds as a real agent's queues.
    fn admit(&self, order: &Order) -> Result<(), Problem> {
        let waiting = self.entries.values().filter(|it| {
            !matches!(it.state, State::Finished { .. }) && in_unit(&it.order) == in_unit(order)
        });
        let room = match in_unit(order) {
            true => UNIT_QUEUE,
            false => IN_PLACE_QUEUE,
        };
        if waiting.count() < room {
            return Ok(());
        }
        Err(Problem::new(
            "node-busy",
            "too many orders wait on this node",
        ))
    }

    fn finished(&self) -> impl Iterator<Item = &OrderResult> {
        self.entries
            .values()
            .filter_map(|entry| match &entry.state {
                State::Finished { result } if entry.acknowledged.is_none() => Some(&**result),
                State::Finished { .. } | State::Accepted | State::Running { .. } => None,
            })
    }
}

fn in_unit(order: &Order) -> bool {
    order
        .action
        .as_ref()
        .is_some_and(|action| action.runs_in_unit())
}

#[tonic::async_trait]
impl Handler for Agent {
    fn hello(&self) -> Hello {
        let book = self.book();
        let unfinished = book
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Accepted | State::Running { .. }));
        Hello {
            node_id: self.node_id.clone(),
            node_name: self.name.clone(),
            boot_id: "simulated".to_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            highest_epoch: book.fence.epoch,
            epoch_proof: book.fence.proof.clone(),
            telling: false,
            running_orders: unfinished.map(|(id, _)| id.clone()).collect(),
            finished_unacknowledged: book.finished().map(|it| it.id.clone()).collect(),
        }
    }

    fn welcome(&self, welcome: &Welcome) -> Result<(), Problem> {
        let mut book = self.book();
        book.fence.admit_epoch(welcome.epoch)?;
        book.fence.raise_proven(welcome.epoch, &welcome.epoch_proof);
        Ok(())
    }

    fn deliver(&self, delivery: Delivery) {
        let Some(order) = delivery.order else { return };
        let id = order.id.clone();
        if let Err(problem) = self.receive(order) {
            let refused = OrderResult {
                id,
                status: OrderStatus::Refused as i32,
                problem: Some(problem),
                ..OrderResult::default()
            };
            self.tell(refused, Vec::new());
        }
    }

    fn acknowledge(&self, id: &str) {
        if let Some(entry) = self.book().entries.get_mut(id) {
            entry.acknowledged = Some(now_ms());
        }
    }

    fn unacknowledged(&self) -> Vec<OrderResult> {
        self.book().finished().cloned().collect()
    }

    async fn report(&self, sequence: u64, pace: Pace, _anew: bool) -> NodeReport {
        // Looking takes its time too, and what is seen is how things are at the end of it.
        tokio::time::sleep(OBSERVING).await;
        self.world.report(&self.name, sequence, &pace)
    }
}
