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
            let before = self.nodes.insert(node.node.clone(), node.clone());
            if before.is_none_or(|before| !only_counts_down(&before, node)) {
                changed.push(node.clone());
            }
        }
        changed
    }

    pub fn nodes(&self) -> impl Iterator<Item = &NodeProgress> {
        self.nodes.values()
    }
}

/// The same text with other numbers: seconds that remain are no news, nor is what has not changed at all.
fn only_counts_down(before: &NodeProgress, now: &NodeProgress) -> bool {
    let digitless =
        |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_digit()).collect() };
    let same = |node: &NodeProgress| {
        (
            node.phase.clone(),
            digitless(&node.detail),
            node.problem.clone(),
        )
    };
    same(before) == same(now)
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
        let waits = |seconds: u32| NodeProgress {
            detail: format!("tried again in {seconds} s after: no"),
            ..node("c", "waiting")
        };
        assert_eq!(changes.take(&event(&[waits(10)])), [waits(10)]);
        assert_eq!(changes.take(&event(&[waits(9)])), [], "a countdown");
        assert_eq!(
            changes.take(&event(&[])),
            [],
            "a line of the log says nothing of nodes"
        );
        let shown: Vec<_> = changes.nodes().cloned().collect();
        assert_eq!(shown, [a, joins, waits(9)]);
    }
}
