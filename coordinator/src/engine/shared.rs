//! What the loops, the router and the calls of operators share.

use super::agents::{AgentState, Agents};
use super::cluster::LoopEvent;
use super::dead::Lives;
use super::records::{ClusterRecord, FindingsRecord, OperationRecord, OrderRecord, SlotRecord};
use super::storage::Sayings;
use crate::store::{Entry, Key, Kind, Prefix, Store, StoreError};
use quorate_planner::facts::Facts;
use quorate_planner::intent::Intent;
use quorate_planner::round::{self, Round};
use quorate_planner::time::Time;
use quorate_proto::v1::{
    ArtifactRef, CoordinatorMessage, Delivery, OperationEvent, Order, OrderDone, Problem,
    coordinator_message,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

/// Events that a watcher may be behind before it skips some; the next one carries the whole state again.
const WATCH_QUEUE: usize = 1_024;

/// Artifacts for a node: packages with what they depend on, binaries, images.
pub trait ArtifactChoice: Send + Sync + 'static {
    fn choose(&self, packages: &[&str], binaries: &[&str], images: bool) -> Vec<ArtifactRef>;
}

/// Unix milliseconds; a test gives one that follows its own time.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// New identifiers, which sort by their age; a simulation gives ones that follow from its seed.
pub type Ids = Arc<dyn Fn() -> ulid::Ulid + Send + Sync>;

/// Who decides: the planner. A simulation puts one in its place that sees or does less, to prove that this is noticed.
pub type Decide = Arc<dyn Fn(&Facts, &Intent, Time) -> Round + Send + Sync>;

pub struct Shared {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub(super) ids: Ids,
    pub(super) decide: Decide,
    tasks: Mutex<JoinSet<()>>,
    pub agents: Arc<dyn Agents>,
    pub artifacts: Arc<dyn ArtifactChoice>,
    pub epoch: u64,
    pub version: String,
    loops: Mutex<BTreeMap<String, mpsc::Sender<LoopEvent>>>,
    watchers: Mutex<BTreeMap<String, broadcast::Sender<OperationEvent>>>,
    asks: Mutex<BTreeMap<String, Ask>>,
    homes: Mutex<Homes>,
    pub lives: Lives,
    pub storage: Sayings,
}

/// Who was asked, and where the answer goes.
struct Ask {
    node: String,
    answer: oneshot::Sender<OrderDone>,
}

/// Each node's cluster, as of so many changes of clusters.
#[derive(Default)]
struct Homes {
    changes: Option<u64>,
    clusters: BTreeMap<String, String>,
}

impl Homes {
    fn new(clusters: &[ClusterRecord], changes: u64) -> Self {
        let nodes = clusters.iter().flat_map(|cluster| {
            let nodes = cluster.spec.nodes.iter();
            nodes.map(|node| (node.config.name.clone(), cluster.name.clone()))
        });
        Homes {
            changes: Some(changes),
            clusters: nodes.collect(),
        }
    }
}

impl Shared {
    pub fn new(
        store: Arc<Store>,
        agents: Arc<dyn Agents>,
        artifacts: Arc<dyn ArtifactChoice>,
        epoch: u64,
        version: &str,
        clock: Clock,
    ) -> Self {
        Shared {
            store,
            clock,
            ids: Arc::new(ulid::Ulid::new),
            decide: Arc::new(round::next),
            tasks: Mutex::default(),
            agents,
            artifacts,
            epoch,
            version: version.to_owned(),
            loops: Mutex::default(),
            watchers: Mutex::default(),
            asks: Mutex::default(),
            homes: Mutex::default(),
            lives: Lives::default(),
            storage: Sayings::default(),
        }
    }

    pub fn with_ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    pub fn with_decide(mut self, decide: Decide) -> Self {
        self.decide = decide;
        self
    }

    pub fn new_id(&self) -> ulid::Ulid {
        (self.ids)()
    }

    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// Runs until the engine stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).spawn(task);
    }

    /// Ends all tasks at their next await, as a crash would: what is durable is what a next start goes on from.
    pub fn stop(&self) {
        lock(&self.tasks).abort_all();
        lock(&self.loops).clear();
    }

    // ---- records

    pub fn cluster(&self, name: &str) -> Result<Option<ClusterRecord>, Problem> {
        self.store.read(&Key::cluster(name)).map_err(stored)
    }

    pub fn cluster_entry(&self, name: &str) -> Result<Option<Entry<ClusterRecord>>, Problem> {
        self.store.entry(&Key::cluster(name)).map_err(stored)
    }

    pub fn clusters(&self) -> Result<Vec<ClusterRecord>, Problem> {
        let found = self
            .store
            .scan(&Prefix::all(Kind::Cluster))
            .map_err(stored)?;
        Ok(found.into_iter().map(|(_, record)| record).collect())
    }

    pub fn operation(&self, id: &str) -> Result<Option<OperationRecord>, Problem> {
        self.store.read(&Key::operation(id)).map_err(stored)
    }

    pub fn slot(&self, cluster: &str) -> Result<Option<SlotRecord>, Problem> {
        self.store.read(&Key::slot(cluster)).map_err(stored)
    }

    pub fn pending(&self, cluster: &str) -> Result<Vec<OrderRecord>, Problem> {
        let found = self
            .store
            .scan(&Prefix::under(Kind::Order, &[cluster]))
            .map_err(stored)?;
        Ok(found.into_iter().map(|(_, record)| record).collect())
    }

    pub fn findings(
        &self,
        cluster: &str,
    ) -> Result<BTreeMap<String, Arc<FindingsRecord>>, Problem> {
        let found = self
            .store
            .scan(&Prefix::under(Kind::Finding, &[cluster]))
            .map_err(stored)?;
        Ok(found
            .into_iter()
            .map(|(node, findings)| (node, Arc::new(findings)))
            .collect())
    }

    pub fn agents_of(&self, record: &ClusterRecord) -> BTreeMap<String, AgentState> {
        record
            .spec
            .nodes
            .iter()
            .filter_map(|node| self.agents.get(&node.config.name))
            .map(|agent| (agent.name.clone(), agent))
            .collect()
    }

    // ---- loops

    pub fn register(&self, cluster: &str, inbox: mpsc::Sender<LoopEvent>) {
        lock(&self.loops).insert(cluster.to_owned(), inbox);
    }

    pub fn has_loop(&self, cluster: &str) -> bool {
        lock(&self.loops).contains_key(cluster)
    }

    pub fn inbox(&self, cluster: &str) -> Option<mpsc::Sender<LoopEvent>> {
        lock(&self.loops).get(cluster).cloned()
    }

    /// A wake-up may be dropped when the loop is behind: it looks at everything anyway.
    pub fn wake(&self, cluster: &str) {
        if let Some(inbox) = self.inbox(cluster) {
            let _ = inbox.try_send(LoopEvent::Wake);
        }
    }

    /// The cluster that this node is part of. Asked for every event of every agent.
    pub fn cluster_of(&self, node: &str) -> Option<String> {
        let changes = self.store.changes(Kind::Cluster);
        let mut homes = lock(&self.homes);
        if homes.changes != Some(changes)
            && let Ok(clusters) = self.clusters()
        {
            *homes = Homes::new(&clusters, changes);
        }
        homes.clusters.get(node).cloned()
    }

    // ---- watchers

    pub fn watch(&self, operation: &str) -> broadcast::Receiver<OperationEvent> {
        let mut watchers = lock(&self.watchers);
        watchers
            .entry(operation.to_owned())
            .or_insert_with(|| broadcast::channel(WATCH_QUEUE).0)
            .subscribe()
    }

    pub fn publish(&self, operation: &str, event: OperationEvent) {
        if let Some(watchers) = lock(&self.watchers).get(operation) {
            let _ = watchers.send(event);
        }
    }

    /// The operation has ended: watchers' streams end once they have read what is queued.
    pub fn end_watch(&self, operation: &str) {
        lock(&self.watchers).remove(operation);
    }

    // ---- orders

    pub fn deliver(&self, node: &str, order: Order, sealed: Vec<u8>) -> Result<(), Problem> {
        let delivery = Delivery {
            order: Some(order),
            sealed,
        };
        let message = coordinator_message::Message::Delivery(delivery);
        self.agents.send(
            node,
            CoordinatorMessage {
                message: Some(message),
            },
        )
    }

    pub fn acknowledge(&self, node: &str, id: &str) {
        let message = coordinator_message::Message::Acknowledge(quorate_proto::v1::Acknowledge {
            id: id.to_owned(),
        });
        // An agent that is away reports the result again when it is back.
        let _ = self.agents.send(
            node,
            CoordinatorMessage {
                message: Some(message),
            },
        );
    }

    /// Whether it is on its way; if not, it is to be said again.
    pub fn pace(&self, node: &str, pace: quorate_proto::v1::Pace) -> bool {
        let message = CoordinatorMessage {
            message: Some(coordinator_message::Message::Pace(pace)),
        };
        self.agents.send(node, message).is_ok()
    }

    /// Sends a short order and waits for its result, which nobody keeps. For reads and for secrets.
    pub async fn ask(
        &self,
        node: &str,
        order: Order,
        patience: Duration,
    ) -> Result<OrderDone, Problem> {
        let id = order.id.clone();
        let kind = order
            .action
            .as_ref()
            .map_or("order", |action| action.kind());
        let (answer, result) = oneshot::channel();
        let ask = Ask {
            node: node.to_owned(),
            answer,
        };
        lock(&self.asks).insert(id.clone(), ask);
        let sent = self.deliver(node, order, Vec::new());
        let outcome = match sent {
            Ok(()) => tokio::time::timeout(patience, result).await,
            Err(problem) => {
                lock(&self.asks).remove(&id);
                return Err(problem.at(node));
            }
        };
        lock(&self.asks).remove(&id);
        match outcome {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) | Err(_) => Err(Problem::new(
                "agent-no-answer",
                format!(
                    "{node} did not answer {kind} within {} s",
                    patience.as_secs()
                ),
            )
            .at(node)
            .because("the agent was disconnected or is busy")
            .next(format!("on {node}: journalctl -u quorate-agent"))),
        }
    }

    /// Gives the result to whoever asked this node; hands it back if nobody did. Another node's word is not the answer,
    /// whatever id it carries.
    pub fn answer(&self, node: &str, done: OrderDone) -> Option<OrderDone> {
        let id = done
            .result
            .as_ref()
            .map(|result| result.id.clone())
            .unwrap_or_default();
        let mut asks = lock(&self.asks);
        if asks.get(&id).is_none_or(|ask| ask.node != node) {
            return Some(done);
        }
        if let Some(ask) = asks.remove(&id) {
            // The asker may have lost patience.
            let _ = ask.answer.send(done);
        }
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn stored(error: StoreError) -> Problem {
    if error.is_conflict() {
        return Problem::new(
            "refused-conflict",
            "somebody else changed the cluster at the same time",
        )
        .because(error.to_string())
        .next("look at the new state (quorate status), then apply again");
    }
    Problem::new("store", error.to_string()).at("the coordinator's state")
}
