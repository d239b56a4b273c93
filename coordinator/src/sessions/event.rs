//! What sessions tell the engine.

use quorate_proto::v1::{Hello, OrderProgress, OrderResult};
use std::fmt;
use std::time::Instant;
use zeroize::Zeroizing;

/// A node by both of its names: the minted id of its identity and the name that people use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    pub id: String,
    pub name: String,
}

#[derive(Clone, Debug)]
pub enum Event {
    Connected {
        node: Node,
        hello: Hello,
    },
    /// `clean`: the agent said goodbye. Anything else counts as lost.
    Disconnected {
        node: Node,
        clean: bool,
    },
    /// A new report is in the node's view.
    Report {
        node: Node,
    },
    Accepted {
        node: Node,
        order: String,
    },
    Progress {
        node: Node,
        progress: OrderProgress,
    },
    /// To be acknowledged with `CoordinatorMessage::Acknowledge` once the result is stored; until then the agent keeps it.
    Done {
        node: Node,
        result: Box<OrderResult>,
        sealed: Sealed,
        /// The first report of the session that was begun after the order's end.
        report: u64,
        /// When it came: compared with when reports came.
        at: Instant,
    },
}

/// The secret part of a result. Never stored or printed.
#[derive(Clone, Default)]
pub struct Sealed(pub Zeroizing<Vec<u8>>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}
