//! What is known of one node from its session. Stays when the session ends, marked as not connected.

use super::Node;
use crate::clock;
use quorate_proto::v1::{Hello, NodeReport};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

#[derive(Clone, Debug)]
pub struct NodeView {
    pub id: String,
    pub name: String,
    pub connected: bool,
    /// Counts sessions: another number is another session.
    pub session: u64,
    /// Monotonic: decisions are made from this one.
    pub last_heard: Instant,
    /// For people.
    pub last_heard_unix_ms: i64,
    pub peer: SocketAddr,
    pub agent_version: String,
    pub boot_id: String,
    pub running_orders: Arc<[String]>,
    pub report: Option<Arc<NodeReport>>,
    /// When the report came.
    pub reported: Option<Instant>,
    /// The node's clock less ours, the time on the wire included.
    pub clock_offset_ms: i64,
}

impl NodeView {
    pub(super) fn connected(node: &Node, session: u64, hello: &Hello, peer: SocketAddr) -> Self {
        NodeView {
            id: node.id.clone(),
            name: node.name.clone(),
            connected: true,
            session,
            last_heard: Instant::now(),
            last_heard_unix_ms: clock::unix_ms(),
            peer,
            agent_version: hello.agent_version.clone(),
            boot_id: hello.boot_id.clone(),
            running_orders: hello.running_orders.clone().into(),
            report: None,
            reported: None,
            clock_offset_ms: 0,
        }
    }

    pub(super) fn heard(&mut self) {
        self.last_heard = Instant::now();
        self.last_heard_unix_ms = clock::unix_ms();
    }

    pub(super) fn clock(&mut self, unix_ms: i64) {
        self.clock_offset_ms = unix_ms.saturating_sub(clock::unix_ms());
    }

    pub(super) fn observed(&mut self, report: NodeReport) {
        if report.unix_ms != 0 {
            self.clock(report.unix_ms);
        }
        self.report = Some(Arc::new(report));
        self.reported = Some(Instant::now());
    }
}
