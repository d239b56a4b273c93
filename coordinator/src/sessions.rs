//! The agents that are connected now, and what each said last. Nodes go by name here: names are unique among
//! the nodes that are not revoked, and a name's newer session ends its older one.

mod event;
mod lines;
mod view;

pub use event::{Event, Node, Sealed};
pub use view::NodeView;

use lines::Heard;
use quorate_proto::v1::{
    CoordinatorMessage, Goodbye, Hello, NodeReport, OrderProgress, coordinator_message,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages that wait for one agent. An agent runs a few orders at a time, so more means that it does not read.
const OUTBOX: usize = 64;
/// Events that wait for the engine. Beyond it sessions wait, and so do their agents.
const EVENTS: usize = 4096;

pub struct Sessions {
    nodes: Mutex<BTreeMap<String, Slot>>,
    events: mpsc::Sender<Event>,
    next: AtomicU64,
}

/// Messages are boxed because a channel allots room for many of its items ahead, once for each agent.
pub type Outbox = mpsc::Receiver<Box<CoordinatorMessage>>;
pub type OutboxSender = mpsc::Sender<Box<CoordinatorMessage>>;

pub fn outbox() -> (OutboxSender, Outbox) {
    mpsc::channel(OUTBOX)
}

struct Slot {
    view: NodeView,
    live: Option<Live>,
    heard: Heard,
}

struct Live {
    number: u64,
    outbox: OutboxSender,
    ended: CancellationToken,
}

/// Held by the task that serves one agent's stream.
pub struct Session {
    pub node: Node,
    /// Cancelled once a newer session or a revocation has ended this one.
    pub ended: CancellationToken,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the node is not connected")]
    NotConnected,
    /// The agent does not read; its session is left to the keep-alive.
    #[error("too many messages wait for the node")]
    Full,
}

impl Sessions {
    /// The receiver is the engine's.
    pub fn new() -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let sessions = Sessions {
            nodes: Mutex::default(),
            events,
            next: AtomicU64::new(1),
        };
        (sessions, receiver)
    }

    /// Starts a session and ends an older one of the same name.
    pub async fn open(
        &self,
        node: Node,
        hello: Hello,
        peer: SocketAddr,
        outbox: OutboxSender,
    ) -> Session {
        let session = Session {
            node: node.clone(),
            ended: CancellationToken::new(),
            number: self.next.fetch_add(1, Ordering::Relaxed),
        };
        let live = Live {
            number: session.number,
            outbox,
            ended: session.ended.clone(),
        };
        let view = NodeView::connected(&node, session.number, &hello, peer);
        let older = {
            let mut nodes = self.lock();
            let older = nodes.remove(&node.name);
            let (older, heard) = older.map(|slot| (slot.live, slot.heard)).unzip();
            let slot = Slot {
                view,
                live: Some(live),
                // Of orders that go on across sessions.
                heard: heard.unwrap_or_default(),
            };
            nodes.insert(node.name.clone(), slot);
            older.flatten()
        };
        if let Some(older) = older {
            older.ended.cancel();
        }
        self.tell(Event::Connected { node, hello }).await;
        session
    }

    /// Ends a session, unless a newer one has taken its place. `clean`: the agent said goodbye.
    pub async fn close(&self, session: &Session, clean: bool) {
        let was_current = self.with_current(session, |slot| {
            slot.live = None;
            slot.view.connected = false;
        });
        if was_current.is_some() {
            let node = session.node.clone();
            self.tell(Event::Disconnected { node, clean }).await;
        }
    }

    pub fn heard(&self, session: &Session) {
        self.with_current(session, |slot| slot.view.heard());
    }

    pub fn heartbeat(&self, session: &Session, unix_ms: i64) {
        self.with_current(session, |slot| slot.view.clock(unix_ms));
    }

    /// Keeps the report; the event only says that there is a new one, and may be dropped when the engine is behind.
    pub fn report(&self, session: &Session, report: NodeReport) {
        let current = self.with_current(session, |slot| slot.view.observed(report));
        if current.is_some() {
            let node = session.node.clone();
            let _ = self.events.try_send(Event::Report { node });
        }
    }

    /// Passes a line on, unless it was; it may be lost when the engine is behind.
    pub fn progress(&self, session: &Session, progress: OrderProgress) {
        let new = self.with_current(session, |slot| slot.heard.is_new(&progress));
        if new == Some(true) {
            let node = session.node.clone();
            let _ = self.events.try_send(Event::Progress { node, progress });
        }
    }

    /// For events that must arrive; waits while the engine is behind.
    pub async fn tell(&self, event: Event) {
        // Without an engine (it has ended first) nobody is left to tell.
        let _ = self.events.send(event).await;
    }

    /// Hands a message to a node's session; never waits.
    pub fn send(&self, name: &str, message: CoordinatorMessage) -> Result<(), SendError> {
        let nodes = self.lock();
        let live = nodes.get(name).and_then(|slot| slot.live.as_ref());
        let live = live.ok_or(SendError::NotConnected)?;
        live.outbox
            .try_send(Box::new(message))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SendError::Full,
                mpsc::error::TrySendError::Closed(_) => SendError::NotConnected,
            })
    }

    pub fn view(&self, name: &str) -> Option<NodeView> {
        self.lock().get(name).map(|slot| slot.view.clone())
    }

    /// Every node that was connected since the coordinator started, by name.
    pub fn snapshot(&self) -> BTreeMap<String, NodeView> {
        self.lock()
            .iter()
            .map(|(name, slot)| (name.clone(), slot.view.clone()))
            .collect()
    }

    /// Ends the session of a revoked identity and forgets what it said.
    pub async fn revoke(&self, node: &Node, reason: &str) {
        let slot = {
            let mut nodes = self.lock();
            let same = nodes
                .get(&node.name)
                .is_some_and(|slot| slot.view.id == node.id);
            same.then(|| nodes.remove(&node.name)).flatten()
        };
        if let Some(live) = slot.and_then(|slot| slot.live) {
            let _ = live.outbox.try_send(Box::new(goodbye(reason)));
            live.ended.cancel();
            let node = node.clone();
            self.tell(Event::Disconnected { node, clean: false }).await;
        }
    }

    /// Says goodbye to all and ends their sessions: the coordinator stops.
    pub fn end_all(&self, reason: &str) {
        for slot in self.lock().values_mut() {
            slot.view.connected = false;
            if let Some(live) = slot.live.take() {
                let _ = live.outbox.try_send(Box::new(goodbye(reason)));
                live.ended.cancel();
            }
        }
    }

    fn with_current<T>(&self, session: &Session, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut nodes = self.lock();
        let slot = nodes.get_mut(&session.node.name)?;
        let number = slot.live.as_ref().map(|live| live.number);
        (number == Some(session.number)).then(|| change(slot))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What agents of a superseded coordinator are told.
pub const SUPERSEDED: &str = "there is a newer coordinator";

impl NodeView {
    /// Whether it has a session and was heard of lately.
    pub fn is_alive(&self, now: Instant) -> bool {
        let silence = now.saturating_duration_since(self.last_heard);
        self.connected && silence.as_secs() < quorate_proto::limits::LOST_AFTER_SECONDS
    }
}

/// The last message of a session.
pub fn goodbye(reason: &str) -> CoordinatorMessage {
    let goodbye = Goodbye {
        reason: reason.to_owned(),
    };
    CoordinatorMessage {
        message: Some(coordinator_message::Message::Goodbye(goodbye)),
    }
}

#[cfg(test)]
mod tests;
