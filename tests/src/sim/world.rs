//! The cluster that all simulated machines share. Consistent as a real one is: what an order changed, the next reports show.

use super::durations::Durations;
use super::{effect, view};
use quorate_proto::v1::order::Action;
use quorate_proto::v1::{
    EtcdMember, Marks, NodeReport, Order, OrderResult, OrderStatus, Pace, Problem,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub struct World {
    state: Mutex<State>,
}

pub(super) struct State {
    pub machines: BTreeMap<String, Machine>,
    pub members: Vec<EtcdMember>,
    pub objects: Option<Objects>,
    /// Of members and certificates: never given twice.
    pub numbers: u64,
    /// Counts what was written, as a raft index does.
    pub index: u64,
    durations: Durations,
    spans: BTreeMap<Place, Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Member,
    Worker,
}

pub(super) struct Machine {
    pub name: String,
    pub address: String,
    pub role: Role,
    pub marks: Marks,
    pub etcd_started: bool,
    /// What its API server presents: the certificate's number and its names.
    pub serving: Option<(u64, BTreeSet<String>)>,
    /// host:port that its kubeconfigs hold, where they follow the endpoint.
    pub follows: Option<String>,
    /// host:port that its kube-proxy was started with, as that dials it.
    pub proxy: Option<String>,
}

/// The cluster's own objects.
pub(super) struct Objects {
    pub endpoint: String,
    pub names: BTreeSet<String>,
    pub proxy: String,
    /// What kube-proxy's template says that its pods are for; empty until somebody sets it.
    pub template: String,
    /// Node -> what its pod was made for.
    pub proxies: BTreeMap<String, String>,
}

/// Orders of one kind, on members or on workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub kind: &'static str,
    pub on_worker: bool,
}

/// From the first beginning to the last end.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub begun: Instant,
    pub ended: Instant,
    pub orders: u64,
    pub refused: u64,
}

impl Span {
    pub fn wall(&self) -> Duration {
        self.ended.saturating_duration_since(self.begun)
    }
}

impl World {
    pub fn new(durations: Durations) -> Self {
        World {
            state: Mutex::new(State {
                machines: BTreeMap::new(),
                members: Vec::new(),
                objects: None,
                numbers: 0,
                index: 1,
                durations,
                spans: BTreeMap::new(),
            }),
        }
    }

    pub fn add(&self, name: &str, address: &str, role: Role) {
        let machine = Machine {
            name: name.to_owned(),
            address: address.to_owned(),
            role,
            marks: Marks::default(),
            etcd_started: false,
            serving: None,
            follows: None,
            proxy: None,
        };
        self.state().machines.insert(name.to_owned(), machine);
    }

    /// From the next order on.
    pub fn take(&self, durations: Durations) {
        self.state().durations = durations;
    }

    /// What was carried out since this was asked last.
    pub fn spans(&self) -> BTreeMap<Place, Span> {
        std::mem::take(&mut self.state().spans)
    }

    pub(super) fn duration(&self, action: &Action) -> Duration {
        self.state().durations.of(action)
    }

    pub(super) fn report(&self, name: &str, sequence: u64, pace: &Pace) -> NodeReport {
        view::report(&self.state(), name, sequence, pace)
    }

    /// The effect of an order at its end, with what it has to be kept secret.
    pub(super) fn carry_out(
        &self,
        name: &str,
        order: &Order,
        begun: Instant,
    ) -> (OrderResult, Vec<u8>) {
        let mut state = self.state();
        let mut result = OrderResult {
            id: order.id.clone(),
            status: OrderStatus::Succeeded as i32,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..OrderResult::default()
        };
        let outcome = match &order.action {
            Some(action) => effect::carry_out(&mut state, name, order, action, &mut result),
            None => Err(Problem::new("order-malformed", "no action")),
        };
        state.note(name, order, begun, outcome.is_err());
        match outcome {
            Ok(sealed) => (result, sealed),
            Err(problem) => {
                result.status = OrderStatus::Failed as i32;
                result.problem = Some(problem);
                (result, Vec::new())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn note(&mut self, name: &str, order: &Order, begun: Instant, failed: bool) {
        let Some(action) = &order.action else { return };
        let place = Place {
            kind: action.kind(),
            on_worker: self
                .machines
                .get(name)
                .is_some_and(|machine| machine.role == Role::Worker),
        };
        let now = Instant::now();
        let span = self.spans.entry(place).or_insert(Span {
            begun,
            ended: now,
            orders: 0,
            refused: 0,
        });
        span.begun = span.begun.min(begun);
        span.ended = now;
        span.orders += 1;
        span.refused += u64::from(failed);
    }
}
