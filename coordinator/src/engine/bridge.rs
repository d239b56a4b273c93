//! The engine's view of the sessions and the artifacts of this process.

use super::agents::{AgentEvent, AgentState, Agents};
use super::ms_of;
use super::shared::ArtifactChoice;
use crate::artifacts::{self, Artifacts};
use crate::authority::Authority;
use crate::sessions::{Event, NodeView, Sessions};
use crate::store::{Kind, Prefix, Store};
use quorate_proto::v1::{ArtifactKind, ArtifactRef, CoordinatorMessage, OrderDone, Problem};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Events on their way to the engine; sessions wait beyond it.
const EVENTS: usize = 1_024;
/// What is packaged is for this architecture; agents refuse another in their preflight.
const ARCHITECTURE: &str = "amd64";

pub struct Bridge {
    sessions: Arc<Sessions>,
    store: Arc<Store>,
    authority: Arc<Authority>,
    /// An agent that has not come back since the start was heard of no later than that, as far as we know.
    started_ms: u64,
}

impl Bridge {
    pub fn new(sessions: Arc<Sessions>, store: Arc<Store>, authority: Arc<Authority>) -> Self {
        Bridge {
            sessions,
            store,
            authority,
            started_ms: super::now_ms(),
        }
    }

    /// Names of enrolled nodes that are not revoked.
    fn enrolled(&self) -> Vec<(String, String)> {
        self.store
            .scan::<String>(&Prefix::all(Kind::NodeName))
            .unwrap_or_default()
    }

    fn state(&self, name: String, id: String) -> AgentState {
        let view = self.sessions.view(&name).filter(|view| view.id == id);
        match view {
            Some(view) => connected(name, id, &view),
            None => AgentState {
                node_id: id,
                name,
                heard_ms: self.started_ms,
                ..AgentState::default()
            },
        }
    }
}

fn connected(name: String, id: String, view: &NodeView) -> AgentState {
    AgentState {
        node_id: id,
        name,
        connected: view.connected,
        heard_ms: ms_of(view.last_heard),
        reported_ms: view.reported.map(ms_of).unwrap_or_default(),
        report: view.report.clone(),
        clock_offset_ms: view.clock_offset_ms,
        revoked: false,
    }
}

/// Reports of that very millisecond may have been made before the result; one that was made after it takes longer than that.
fn after(at: Instant) -> u64 {
    ms_of(at).saturating_add(1)
}

#[tonic::async_trait]
impl Agents for Bridge {
    fn all(&self) -> Vec<AgentState> {
        self.enrolled()
            .into_iter()
            .map(|(name, id)| self.state(name, id))
            .collect()
    }

    fn get(&self, name: &str) -> Option<AgentState> {
        let key = crate::store::Key::node_name(name);
        let id = self.store.read::<String>(&key).ok().flatten()?;
        Some(self.state(name.to_owned(), id))
    }

    fn send(&self, name: &str, message: CoordinatorMessage) -> Result<(), Problem> {
        self.sessions.send(name, message).map_err(|error| {
            Problem::new(
                "agent-away",
                format!("cannot reach the agent of {name}: {error}"),
            )
            .at(name)
            .next(format!("on {name}: systemctl status quorate-agent"))
        })
    }

    async fn revoke(&self, who: &str, name: &str, node_id: &str) -> Result<(), Problem> {
        if self.get(name).is_none_or(|agent| agent.node_id != node_id) {
            return Ok(());
        }
        let node = self.authority.revoke_node(who, name).await?;
        self.sessions
            .revoke(&node, "this node left its cluster")
            .await;
        Ok(())
    }
}

/// Turns what sessions say into what the engine takes.
pub fn events(mut from: mpsc::Receiver<Event>) -> mpsc::Receiver<AgentEvent> {
    let (sender, receiver) = mpsc::channel(EVENTS);
    tokio::spawn(async move {
        while let Some(event) = from.recv().await {
            let event = match event {
                Event::Connected { node, .. } => AgentEvent::Connected(node.name),
                Event::Disconnected { node, .. } => AgentEvent::Disconnected(node.name),
                Event::Report { node } => AgentEvent::Reported(node.name),
                Event::Accepted { .. } => continue,
                Event::Progress { node, progress } => AgentEvent::Progress(node.name, progress),
                Event::Done {
                    node,
                    result,
                    sealed,
                    report,
                    at,
                } => {
                    let done = OrderDone {
                        result: Some(*result),
                        sealed: sealed.0.to_vec(),
                        report,
                    };
                    AgentEvent::Done(node.name, Box::new(done), after(at))
                }
            };
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    receiver
}

impl ArtifactChoice for Artifacts {
    fn choose(&self, packages: &[&str], binaries: &[&str], images: bool) -> Vec<ArtifactRef> {
        let all = self.list().unwrap_or_default();
        let wanted: Vec<String> = packages.iter().map(|p| (*p).to_owned()).collect();
        let mut chosen = artifacts::closure(&wanted, &all, ARCHITECTURE).debs;
        chosen.extend(all.into_iter().filter(|artifact| match artifact.kind() {
            ArtifactKind::Binary => binaries.contains(&artifact.name.as_str()),
            ArtifactKind::Image => images,
            ArtifactKind::Deb | ArtifactKind::Manifest | ArtifactKind::Unspecified => false,
        }));
        chosen
    }
}
