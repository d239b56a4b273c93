//! What is new in an event. Events repeat the state of all nodes; people want to see what changed.

use quorate_proto::v1::{NodeProgress, OperationEvent};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Changes {
    nodes: BTreeMap<String, NodeProgress>,
}

impl Changes {
    /// Takes the event in; returns the nodes that are not as they were.
    pub fn take(&mut self, event: &OperationEvent) -> Vec<NodeProgress> {
        let mut changed = Vec::new();
        for node in &event.nodes {
            if self.nodes.get(&node.node) != Some(node) {
                self.nodes.insert(node.node.clone(), node.clone());
                changed.push(node.clone());
            }
        }
        changed
    }

    pub fn nodes(&self) -> impl Iterator<Item = &NodeProgress> {
        self.nodes.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, phase: &str) -> NodeProgress {
        NodeProgress {
            node: name.into(),
            phase: phase.into(),
            ..NodeProgress::default()
        }
    }

    fn event(nodes: &[NodeProgress]) -> OperationEvent {
        OperationEvent {
            nodes: nodes.to_vec(),
            ..OperationEvent::default()
        }
    }

    #[test]
    fn only_what_changed() {
        let mut changes = Changes::default();
        let (a, b) = (node("a", "install"), node("b", "waiting"));
        assert_eq!(
            changes.take(&event(&[a.clone(), b.clone()])),
            [a.clone(), b.clone()]
        );
        assert_eq!(changes.take(&event(&[a.clone(), b])), []);
        let joins = node("b", "join");
        assert_eq!(
            changes.take(&event(&[a.clone(), joins.clone()])),
            vec![joins.clone()]
        );
        assert_eq!(
            changes.take(&event(&[])),
            [],
            "a line of the log says nothing of nodes"
        );
        assert_eq!(changes.nodes().cloned().collect::<Vec<_>>(), [a, joins]);
    }
}
