//! The network between agents and coordinator: sessions over a line that delays, is cut, breaks, and delivers what was under way
//! late or twice. In one session messages keep their order; across sessions they do not.

use super::checks::Membership;
use super::world::World;
use quorate::engine::agents::{AgentEvent, AgentState, Agents};
use quorate_proto::limits::{HEARTBEAT_SECONDS, REPORT_AT_REST_MS};
use quorate_proto::v1::agent_message::Message as Theirs;
use quorate_proto::v1::coordinator_message::Message as Ours;
use quorate_proto::v1::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Messages that wait for one agent: as in the coordinator's sessions.
const OUTBOX: usize = 64;
/// Both sides notice a line that is cut: HTTP/2 keep-alive, interval plus timeout.
pub const CUT_NOTICED_MS: u64 = 30_000;
const LOOK_MS: u64 = 200;

/// On its way, and when it arrives.
pub struct Under<T>(pub Instant, pub T);

pub type ToAgent = mpsc::Sender<Under<CoordinatorMessage>>;
pub type FromAgent = mpsc::UnboundedReceiver<Under<Theirs>>;

/// The coordinator's side of all sessions. Lost with its process.
#[derive(Default)]
pub struct Sessions {
    next: u64,
    pub started_ms: u64,
    pub events: Option<mpsc::Sender<AgentEvent>>,
    views: BTreeMap<String, View>,
}

struct View {
    number: u64,
    line: Option<ToAgent>,
    last_arrival: Instant,
    heard_ms: u64,
    reported_ms: u64,
    report: Option<Arc<NodeReport>>,
}

impl Sessions {
    pub fn forget(&mut self) {
        self.views.clear();
        self.events = None;
    }

    /// The connection is reset, for both sides at once.
    pub fn reset(&mut self, name: &str) {
        if let Some(view) = self.views.get_mut(name) {
            view.line = None;
        }
    }
}

impl World {
    pub fn reaches_coordinator(&self, name: &str) -> bool {
        let up = *self.coordinator.borrow() % 2 == 1;
        let state = self.lock();
        let free = state
            .machines
            .get(name)
            .is_some_and(|it| it.alive && it.cut_since.is_none() && !it.shut_out());
        up && free
    }

    /// A line that is cut holds messages back, until it is noticed. False: it is given up.
    pub async fn passes(&self, name: &str) -> bool {
        loop {
            let cut = {
                let state = self.lock();
                state.machines.get(name).and_then(|it| it.cut_since)
            };
            match cut {
                None => return true,
                Some(since) if self.now_ms() - since > CUT_NOTICED_MS => return false,
                Some(_) => tokio::time::sleep(Duration::from_millis(LOOK_MS)).await,
            }
        }
    }

    pub fn latency(&self) -> Duration {
        let mut state = self.lock();
        let slow = state.random.chance(20);
        Duration::from_millis(state.random.between(0, if slow { 300 } else { 5 }))
    }

    /// The coordinator greets an agent: its side of the session begins, and an older one ends.
    pub async fn open(&self, name: &str, hello: &Hello, epoch: u64) -> Option<(u64, Reader)> {
        let (now, at) = (self.now_ms(), self.elapsed_ms());
        let (line, reader) = mpsc::channel(OUTBOX);
        let greetings = [
            Ours::Welcome(Welcome {
                epoch,
                // The real one is a signature, looked at by other coordinators only.
                epoch_proof: epoch.to_be_bytes().to_vec(),
                unix_ms: i64::try_from(now).unwrap_or_default(),
                heartbeat_seconds: HEARTBEAT_SECONDS,
                endpoints: vec!["coordinator:7443".to_owned()],
            }),
            Ours::Pace(Pace {
                report_ms: REPORT_AT_REST_MS,
                ..Pace::default()
            }),
        ];
        for message in greetings {
            let message = CoordinatorMessage {
                message: Some(message),
            };
            let _ = line.try_send(Under(Instant::now() + self.latency(), message));
        }
        let (number, events) = {
            let mut state = self.lock();
            let told = format!("{name} connects: runs {:?}", hello.running_orders);
            state.trace.add(at, &told);
            let sessions = &mut state.sessions;
            sessions.next += 1;
            let number = sessions.next;
            let view = View {
                number,
                line: Some(line),
                last_arrival: Instant::now(),
                heard_ms: now,
                reported_ms: 0,
                report: None,
            };
            sessions.views.insert(name.to_owned(), view);
            (number, sessions.events.clone()?)
        };
        let connected = AgentEvent::Connected(name.to_owned());
        events.send(connected).await.ok()?;
        Some((number, reader))
    }

    /// Takes what an agent says, until nothing more can come.
    pub async fn listen(self: Arc<Self>, name: String, number: u64, mut from: FromAgent) {
        while let Some(Under(arrival, message)) = from.recv().await {
            tokio::time::sleep_until(arrival).await;
            if !self.passes(&name).await {
                break;
            }
            if !self.receive(&name, number, message).await {
                return;
            }
        }
        // A host that died says nothing: it is missed after a while.
        if self.is_silent(&name) {
            self.sleep(10_000, CUT_NOTICED_MS).await;
        }
        let events = {
            let mut state = self.lock();
            let Some(view) = state.sessions.views.get_mut(&name) else {
                return;
            };
            if view.number != number {
                return;
            }
            view.line = None;
            state.sessions.events.clone()
        };
        if let Some(events) = events {
            let _ = events.send(AgentEvent::Disconnected(name)).await;
        }
    }

    /// No end of its session comes over the line.
    fn is_silent(&self, name: &str) -> bool {
        let state = self.lock();
        let machine = state.machines.get(name);
        machine.is_none_or(|it| !it.alive || it.cut_since.is_some())
    }

    /// False: there is no coordinator any more.
    async fn receive(&self, name: &str, number: u64, message: Theirs) -> bool {
        let (now, at) = (self.now_ms(), self.elapsed_ms());
        let Some(events) = self.lock().sessions.events.clone() else {
            return false;
        };
        let current = {
            let mut state = self.lock();
            let view = state.sessions.views.get_mut(name);
            let view = view.filter(|view| view.number == number && view.line.is_some());
            view.map(|view| view.heard_ms = now).is_some()
        };
        match message {
            Theirs::Report(report) if current => {
                if let Some(view) = self.lock().sessions.views.get_mut(name) {
                    view.reported_ms = now;
                    view.report = Some(Arc::new(report));
                }
                let _ = events.try_send(AgentEvent::Reported(name.to_owned()));
            }
            Theirs::Progress(progress) if current => {
                let _ = events.try_send(AgentEvent::Progress(name.to_owned(), progress));
            }
            Theirs::Done(done) => {
                let times = 1 + self.twice("a result arrives twice", name);
                if let Some(result) = &done.result {
                    let mut state = self.lock();
                    state.checks.result(result);
                    let line = format!("{name} result {} status {}", result.id, result.status);
                    state.trace.add(at, &line);
                }
                for _ in 0..times {
                    let done = AgentEvent::Done(name.to_owned(), Box::new(done.clone()), now);
                    if events.send(done).await.is_err() {
                        return false;
                    }
                }
            }
            Theirs::Report(_)
            | Theirs::Progress(_)
            | Theirs::Hello(_)
            | Theirs::Heartbeat(_)
            | Theirs::Accepted(_)
            | Theirs::Goodbye(_) => {}
        }
        true
    }

    fn twice(&self, kind: &'static str, name: &str) -> u32 {
        let twice = {
            let mut state = self.lock();
            let rate = state.twice_per_mille;
            !state.faults_over && state.random.chance(rate)
        };
        if twice {
            self.fault(kind, name);
        }
        u32::from(twice)
    }
}

pub type Reader = mpsc::Receiver<Under<CoordinatorMessage>>;

#[tonic::async_trait]
impl Agents for World {
    fn all(&self) -> Vec<AgentState> {
        let names: Vec<String> = self.lock().machines.keys().cloned().collect();
        names.iter().filter_map(|name| self.get(name)).collect()
    }

    fn get(&self, name: &str) -> Option<AgentState> {
        let state = self.lock();
        let machine = state.machines.get(name).filter(|it| !it.shut_out())?;
        let known = AgentState {
            node_id: machine.node_id(),
            name: name.to_owned(),
            heard_ms: state.sessions.started_ms,
            ..AgentState::default()
        };
        Some(match state.sessions.views.get(name) {
            None => known,
            Some(view) => AgentState {
                connected: view.line.is_some(),
                heard_ms: view.heard_ms,
                reported_ms: view.reported_ms,
                report: view.report.clone(),
                ..known
            },
        })
    }

    fn send(&self, name: &str, message: CoordinatorMessage) -> Result<(), Problem> {
        let away = || Problem::new("agent-away", "there is no session").at(name);
        let order = match &message.message {
            Some(Ours::Delivery(delivery)) => delivery.order.clone(),
            Some(_) | None => None,
        };
        match (&order, &message.message) {
            (Some(order), _) => self.check_order(name, order),
            (None, Some(Ours::Acknowledge(done))) => self.lock().checks.ended(&done.id),
            (None, _) => {}
        }
        let times = match &order {
            Some(_) => 1 + self.twice("an order arrives twice", name),
            None => 1,
        };
        for _ in 0..times {
            let latency = self.latency();
            let mut state = self.lock();
            let view = state.sessions.views.get_mut(name).ok_or_else(away)?;
            view.last_arrival = view.last_arrival.max(Instant::now() + latency);
            let line = view.line.as_ref().ok_or_else(away)?;
            line.try_send(Under(view.last_arrival, message.clone()))
                .map_err(|_| away())?;
        }
        Ok(())
    }

    async fn revoke(&self, _who: &str, name: &str, node_id: &str) -> Result<(), Problem> {
        let at = self.elapsed_ms();
        let mut state = self.lock();
        let Some(machine) = state.machines.get_mut(name) else {
            return Ok(());
        };
        if machine.node_id() != node_id || machine.shut_out() {
            return Ok(());
        }
        machine.revoked = Some(machine.disk);
        state.sessions.reset(name);
        state.trace.add(at, &format!("{node_id} is revoked"));
        Ok(())
    }
}

impl World {
    /// What leaves the coordinator, seen from outside of it.
    fn check_order(&self, name: &str, order: &Order) {
        self.refresh();
        let (now, at) = (self.now_ms(), self.elapsed_ms());
        let on_record = self.disk.keys("order");
        let mut state = self.lock();
        let kind = order.action.as_ref().map_or("nothing", |it| it.kind());
        let line = format!("order {} {kind} to {name}", order.id);
        state.trace.add(at, &line);
        let voters = state.voters(now);
        let members = state.clusters.first().map(|it| it.members.as_slice());
        let learners = members
            .unwrap_or_default()
            .iter()
            .filter(|it| it.learner)
            .map(|it| it.peer_url.clone())
            .collect();
        let shown = format!("{order:?}");
        let truth = Membership {
            voters: &voters,
            learners,
        };
        state.checks.public("an order", shown.as_bytes());
        state.checks.sent(order, &truth, &on_record);
    }
}
