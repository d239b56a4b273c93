//! The reconcile loop of one cluster: observe, decide, write, send. The only writer of the cluster's slot and orders.

use super::carry::Carrier;
use super::isolation;
use super::observe::Ended;
use super::purge::Refused;
use super::records::*;
use super::shared::Shared;
use super::tracker::Tracker;
use super::view::{Reader, View};
use crate::store::{Key, Transaction};
use quorate_planner::dead;
use quorate_planner::facts::{Running, Trouble};
use quorate_planner::intent::NodeName;
use quorate_planner::round::{Outcome, Round};
use quorate_planner::step::{Membership, SideStep};
use quorate_proto::limits::{REPORT_AT_REST_MS, REPORT_AT_WORK_MS};
use quorate_proto::v1::{OrderDone, OrderProgress, Pace, Problem};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Events that wait for one loop; a sender of results waits beyond it.
const INBOX: usize = 1_024;
/// A round looks at all nodes, and each of them reports twice a second at work: with a thousand, a round a report would be all that
/// a processor does. Nobody sees a twentieth of a second.
const REPORTS_TOGETHER: Duration = Duration::from_millis(50);
/// Silence makes no event: with a policy for dead nodes it is looked for.
const LOOK_CLOSELY_MS: u32 = 1_000;
/// A round that changed something is followed by another at once, at most this often before events are read again.
const ROUNDS_AT_ONCE: usize = 8;

#[derive(Debug)]
pub enum LoopEvent {
    Wake,
    Connected(String),
    Progress(String, OrderProgress),
    /// With the time when it came, in Unix milliseconds.
    Done(String, OrderDone, u64),
    /// The material for a step came, or did not.
    Exported(SideStep, Result<OrderDone, Problem>),
}

impl LoopEvent {
    /// Whether the next round may come a moment later.
    fn may_wait(&self) -> bool {
        match self {
            LoopEvent::Wake | LoopEvent::Progress(..) => true,
            LoopEvent::Connected(_) | LoopEvent::Done(..) | LoopEvent::Exported(..) => false,
        }
    }
}

/// When the next round may come. Rounds take as long as a cluster is large; they get half of the time at most.
struct Rest {
    results: Instant,
    reports: Instant,
}

pub struct ClusterLoop {
    pub(super) shared: Arc<Shared>,
    pub(super) reader: Reader,
    pub(super) cluster: String,
    pub(super) tracker: Tracker,
    pub(super) troubles: Vec<Trouble>,
    /// Steps whose material is being fetched.
    pub(super) setting_up: Vec<Running>,
    pub(super) inbox: mpsc::Sender<LoopEvent>,
    pub(super) told: BTreeMap<String, (String, String)>,
    paced: BTreeMap<String, Pace>,
    /// Whether something is done about nodes that fall silent.
    closely: bool,
    pub(super) refused: Refused,
    /// When the last order of each node ended, and the last membership order of any.
    pub(super) ended: BTreeMap<String, Ended>,
    pub(super) membership_ended_ms: u64,
    /// When the cluster's objects were last written by an order of ours.
    pub(super) objects_ended_ms: u64,
    /// When requests for serving certificates were last looked at.
    pub(super) approved_ms: u64,
    /// From which nodes the rotation's target was proven to lead here. In memory: after a restart it is proven again.
    pub(super) proven: BTreeSet<NodeName>,
}

/// Starts the loop of a cluster unless it runs.
pub fn start(shared: &Arc<Shared>, cluster: &str) {
    if shared.has_loop(cluster) {
        return shared.wake(cluster);
    }
    let (inbox, events) = mpsc::channel(INBOX);
    shared.register(cluster, inbox.clone());
    let state = ClusterLoop {
        shared: Arc::clone(shared),
        reader: Reader::new(cluster),
        cluster: cluster.to_owned(),
        tracker: Tracker::default(),
        troubles: Vec::new(),
        setting_up: Vec::new(),
        inbox,
        told: BTreeMap::new(),
        paced: BTreeMap::new(),
        closely: false,
        refused: Refused::default(),
        ended: BTreeMap::new(),
        membership_ended_ms: 0,
        objects_ended_ms: 0,
        approved_ms: 0,
        proven: BTreeSet::new(),
    };
    shared.spawn(state.run(events));
}

impl ClusterLoop {
    async fn run(mut self, mut events: mpsc::Receiver<LoopEvent>) {
        self.resume();
        loop {
            let begun = Instant::now();
            if let Err(problem) = self.rounds().await {
                tracing::error!(cluster = %self.cluster, "round failed: {problem}");
            }
            let pause = if self.at_work() {
                REPORT_AT_WORK_MS
            } else if self.closely {
                LOOK_CLOSELY_MS
            } else {
                REPORT_AT_REST_MS
            };
            let pause = Duration::from_millis(pause.into());
            let now = Instant::now();
            let rest = Rest {
                results: now + (now - begun),
                reports: now + (now - begun).max(REPORTS_TOGETHER),
            };
            match tokio::time::timeout(pause, events.recv()).await {
                Ok(None) => return,
                Ok(Some(event)) => self.gather(event, &mut events, &rest).await,
                Err(_) => {}
            }
            while let Ok(event) = events.try_recv() {
                self.take(event).await;
            }
        }
    }

    /// Reports of many nodes are looked at together; a result ends the waiting earlier.
    async fn gather(
        &mut self,
        first: LoopEvent,
        events: &mut mpsc::Receiver<LoopEvent>,
        rest: &Rest,
    ) {
        let mut until = rest.reports;
        let mut next = Some(first);
        while let Some(event) = next {
            if !event.may_wait() {
                until = rest.results;
            }
            self.take(event).await;
            if Instant::now() >= until {
                return;
            }
            next = tokio::time::timeout_at(until, events.recv())
                .await
                .unwrap_or_default();
        }
    }

    /// After a restart: what the operation under way has suffered so far.
    fn resume(&mut self) {
        let record = self.shared.cluster(&self.cluster).ok().flatten();
        let operation = record
            .and_then(|r| r.operation)
            .and_then(|id| self.shared.operation(&id).ok().flatten());
        self.troubles = operation.map(|o| o.troubles).unwrap_or_default();
    }

    fn at_work(&mut self) -> bool {
        let durable = self.durable().ok().flatten();
        durable.is_some_and(|it| it.slot.is_some() || it.operation.is_some())
    }

    async fn take(&mut self, event: LoopEvent) {
        let outcome = match event {
            LoopEvent::Wake => Ok(()),
            LoopEvent::Connected(node) => {
                self.paced.remove(&node);
                // A session counts its reports anew, and begins all of them after what has ended.
                if let Some(ended) = self.ended.get_mut(&node) {
                    ended.report = 0;
                }
                self.redeliver(&node)
            }
            LoopEvent::Progress(node, progress) => self.tell_progress(&node, progress),
            LoopEvent::Done(node, done, at_ms) => self.finish(&node, done, at_ms).await,
            LoopEvent::Exported(step, result) => self.exported(step, result).await,
        };
        if let Err(problem) = outcome {
            tracing::error!(cluster = %self.cluster, "event failed: {problem}");
        }
    }

    async fn rounds(&mut self) -> Result<(), Problem> {
        for _ in 0..ROUNDS_AT_ONCE {
            let Some(mut view) = self.look()? else {
                return Ok(());
            };
            if self.note_isolation(&view).await? {
                continue;
            }
            self.set_pace(&view);
            self.give_up_lost(&mut view).await?;
            let round = (self.shared.decide)(&view.facts, &view.intent, view.now);
            if !self.act(&view, round).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns whether something changed that the next round should see at once.
    async fn act(&mut self, view: &View, round: Round) -> Result<bool, Problem> {
        self.tell_round(view, &round);
        if let Some(node) = &round.dead.purge {
            self.purge(view, node).await?;
        }
        if self.advance(view, &round).await? {
            return Ok(true);
        }
        let mut again = false;
        let mut carrier = Carrier::new(self, view);
        if allowed_membership(view, &round.membership) {
            again |= carrier.membership(&round.membership).await?;
        }
        for step in &round.side {
            if view.operation.is_some() || allowed_at_rest(step) {
                again |= carrier.side(step).await?;
            }
        }
        again |= carrier.send_all().await?;
        if view.operation.is_some() && !again {
            self.maybe_end(view, &round.outcome).await?;
        }
        Ok(again)
    }

    /// Returns whether the record was changed.
    async fn note_isolation(&self, view: &View) -> Result<bool, Problem> {
        let next = isolation::next(&view.record, &view.intent, &view.agents);
        let Some(next) = next else {
            return Ok(false);
        };
        let record = ClusterRecord {
            isolation: next,
            ..ClusterRecord::clone(&view.record)
        };
        let key = Key::cluster(&record.name);
        let transaction = Transaction::new().unchanged(key.clone(), view.stored);
        self.commit(transaction.put(key, &record)).await?;
        Ok(true)
    }

    /// Nodes report quickly while work is under way, and rarely at rest. Said once a session and pace.
    fn set_pace(&mut self, view: &View) {
        let at_work = view.operation.is_some() || view.slot.is_some();
        let pace = if at_work {
            REPORT_AT_WORK_MS
        } else {
            REPORT_AT_REST_MS
        };
        let watch = super::endpoint::observe::watched(&view.record);
        let suspects = dead::watched(&view.facts, &view.intent);
        self.closely = dead::acts(&view.intent);
        let others = Pace {
            report_ms: pace,
            watch,
            suspects: Vec::new(),
            heartbeat_ms: isolation::heartbeat_ms(&view.intent),
            isolation: isolation::told(&view.record),
        };
        let control: BTreeSet<&str> = view.intent.members().map(|it| it.name.0.as_str()).collect();
        let members = Pace {
            report_ms: super::dead::looking_ms(&view.facts, &suspects, pace),
            suspects: suspects.into_iter().map(|node| node.0).collect(),
            ..others.clone()
        };
        // Who is away, or of another cluster meanwhile, comes back with a session that was told nothing.
        self.paced
            .retain(|name, _| view.agents.get(name).is_some_and(|it| it.connected));
        for (name, agent) in &view.agents {
            let wanted = match control.contains(name.as_str()) {
                true => &members,
                false => &others,
            };
            if agent.connected
                && self.paced.get(name) != Some(wanted)
                && self.shared.pace(name, wanted.clone())
            {
                self.paced.insert(name.clone(), wanted.clone());
            }
        }
    }

    async fn maybe_end(&mut self, view: &View, outcome: &Outcome) -> Result<(), Problem> {
        match outcome {
            Outcome::Working => Ok(()),
            Outcome::Settled => self.end_operation(view, OperationState::Done, None).await,
            Outcome::Stuck(nodes) => {
                let problem = stuck(view, nodes);
                let record = super::leaving::turned_back(&view.record, &view.facts);
                self.end_operation_with(view, record, OperationState::Failed, Some(problem))
                    .await
            }
        }
    }
}

/// Without an operation a change under way is brought to its end, and dead learners are removed; nothing new begins.
fn allowed_membership(view: &View, membership: &Membership) -> bool {
    use quorate_planner::facts::ChangeKind;
    match membership {
        Membership::Begin(change, _) => {
            view.operation.is_some() || change.kind == ChangeKind::DropGhost
        }
        Membership::Continue(_)
        | Membership::Complete(_)
        | Membership::Abandon(_)
        | Membership::Release(_) => true,
        Membership::Settled | Membership::Underway(..) | Membership::Wait(_) => true,
    }
}

/// Load balancers follow their members, abandoned nodes are cleaned, dead ones dealt with, and those that were away while the cluster
/// was stopped or started follow it, at any time.
fn allowed_at_rest(step: &SideStep) -> bool {
    match step {
        SideStep::ConfigureBalancer { .. }
        | SideStep::Reset { .. }
        | SideStep::TaintNode { .. }
        | SideStep::UntaintNode { .. }
        | SideStep::StopNode { .. }
        | SideStep::StartNode { .. }
        | SideStep::ApproveServing { .. } => true,
        SideStep::Preflight { .. }
        | SideStep::Install { .. }
        | SideStep::CreateAuthority { .. }
        | SideStep::Prepare { .. }
        | SideStep::Finish { .. }
        | SideStep::JoinWorker { .. }
        | SideStep::ApplyManifests { .. }
        | SideStep::ConfigureNode { .. }
        | SideStep::DeleteNode { .. }
        | SideStep::SetNames { .. }
        | SideStep::Probe { .. }
        | SideStep::SetObjects { .. }
        | SideStep::SetCarriers { .. }
        | SideStep::RestartProxies { .. }
        | SideStep::Drain { .. }
        | SideStep::HandOver { .. }
        | SideStep::StopServing { .. }
        | SideStep::CheckStorage { .. }
        | SideStep::Renew { .. } => false,
    }
}

fn stuck(view: &View, nodes: &[NodeName]) -> Problem {
    let each: Vec<String> = nodes
        .iter()
        .map(|node| {
            let known = view.facts.node(node);
            let why = match view.facts.failed(node) {
                Some(trouble) => trouble.last_error.clone(),
                None => known.preflight_fatal.join("; "),
            };
            format!("{node}: {why}")
        })
        .collect();
    Problem::new(
        "operation-failed",
        format!("{} of the nodes failed", nodes.len()),
    )
    .at(nodes
        .iter()
        .map(|n| n.0.clone())
        .collect::<Vec<_>>()
        .join(", "))
    .because(each.join("\n         "))
    .next("correct what is named, then apply the same file again; finished steps are not repeated")
}
