//! What the engine needs of the agents' sessions. A trait, so that a simulation can stand in for the network.

use quorate_proto::v1::{CoordinatorMessage, NodeReport, OrderDone, OrderProgress, Problem};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct AgentState {
    pub node_id: String,
    pub name: String,
    pub connected: bool,
    /// When anything was last heard of it, and when the report came; Unix milliseconds.
    pub heard_ms: u64,
    pub reported_ms: u64,
    pub report: Option<Arc<NodeReport>>,
    pub clock_offset_ms: i64,
    pub revoked: bool,
}

#[tonic::async_trait]
pub trait Agents: Send + Sync + 'static {
    /// Every enrolled node.
    fn all(&self) -> Vec<AgentState>;
    fn get(&self, name: &str) -> Option<AgentState>;
    /// Never waits; an agent that is away or whose queue is full is an error, and the message is sent again later.
    fn send(&self, name: &str, message: CoordinatorMessage) -> Result<(), Problem>;
    /// Takes this identity back and ends its session, unless that was done before or the name has enrolled anew.
    async fn revoke(&self, who: &str, name: &str, node_id: &str) -> Result<(), Problem>;
}

#[derive(Debug)]
pub enum AgentEvent {
    Connected(String),
    Disconnected(String),
    Reported(String),
    Progress(String, OrderProgress),
    /// With the time when it came, in Unix milliseconds: compared with that of reports.
    Done(String, Box<OrderDone>, u64),
}
