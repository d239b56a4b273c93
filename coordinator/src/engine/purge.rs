//! Removes a node that was dead for long enough, as an operator would with `quorate node remove NAME --dead`: by the same checks.

use super::cluster::ClusterLoop;
use super::leaving;
use super::view::View;
use crate::store::Transaction;
use quorate_planner::intent::NodeName;
use quorate_proto::v1::{Problem, RemovalRequest};
use std::time::Duration;
use tokio::time::Instant;

/// In whose name the audit trail says it.
const WHO: &str = "coordinator";
/// Between two tries: what refuses it is mostly another operation.
const AGAIN: Duration = Duration::from_secs(60);

/// When it was last refused, and what was said then.
#[derive(Default)]
pub struct Refused {
    at: Option<Instant>,
    said: String,
}

impl ClusterLoop {
    pub(super) async fn purge(&mut self, view: &View, node: &NodeName) -> Result<(), Problem> {
        let late = self.refused.at.is_none_or(|at| at.elapsed() >= AGAIN);
        if view.operation.is_some() || !late {
            return Ok(());
        }
        let request = RemovalRequest {
            node: node.0.clone(),
            dead: true,
            ..RemovalRequest::default()
        };
        let Err(problem) = leaving::ask::begin(&self.shared, WHO, &request).await else {
            self.refused = Refused::default();
            return Ok(());
        };
        self.refused.at = Some(Instant::now());
        let said = format!("{}: {node} is not removed: {}", self.cluster, problem.what);
        if said != self.refused.said {
            tracing::warn!(cluster = %self.cluster, %node, %problem, "a dead node is not removed");
            let audit = Transaction::new().audit(WHO, "node-remove-refused", said.clone());
            self.commit(audit).await?;
            self.refused.said = said;
        }
        Ok(())
    }
}
