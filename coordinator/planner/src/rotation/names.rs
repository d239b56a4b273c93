//! What the members' serving certificates cover: one member at a time, proven by the handshakes that agents report.

use super::Turn;
use super::presence;
use crate::facts::Facts;
use crate::intent::{Intent, NodeIntent};
use crate::side;
use crate::step::SideStep;
use std::collections::BTreeSet;

/// The step for the next member that has to change, or why it waits.
pub fn bring(facts: &Facts, intent: &Intent, turn: &mut Turn) {
    let covers = |node: &NodeIntent| covers(facts, intent, node);
    presence::one_by_one(facts, intent, turn, covers, |node| SideStep::SetNames {
        node,
    });
}

/// Whether the member serves a certificate with all that is wanted and nothing that is not. None: not known.
pub fn covers(facts: &Facts, intent: &Intent, node: &NodeIntent) -> Option<bool> {
    let served = served(facts, intent, node)?;
    let (missing, surplus) = difference(&served, intent, node);
    Some(missing.is_empty() && surplus.is_empty())
}

/// Whether the member is known to serve all of the wanted names.
pub fn complete(facts: &Facts, intent: &Intent, node: &NodeIntent) -> bool {
    served(facts, intent, node).is_some_and(|served| difference(&served, intent, node).0.is_empty())
}

/// What a certificate lacks, and what it has too much.
pub fn difference(
    served: &BTreeSet<String>,
    intent: &Intent,
    node: &NodeIntent,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let own = |name: &String| name == &node.name.0 || name == &node.address;
    let missing = intent.endpoint.wanted_names();
    let missing = missing.difference(served).cloned().collect();
    let surplus = intent.endpoint.unwanted_names();
    let surplus = surplus.intersection(served).cloned();
    (missing, surplus.filter(|name| !own(name)).collect())
}

/// A member that does not serve yet has to be brought along before it does: it counts as covering nothing. One that serves, but whose
/// handshake could not be seen this time, is not known.
fn served(facts: &Facts, intent: &Intent, node: &NodeIntent) -> Option<BTreeSet<String>> {
    let known = &facts.node(&node.name).endpoint;
    match known.known()?.serving.clone() {
        Some(serving) => Some(serving.names),
        None if side::serves(facts, intent, node) == Some(true) => None,
        None => Some(BTreeSet::new()),
    }
}
