//! Moves a running cluster to another endpoint, so that no request is lost: accept, switch, soak, drop, retire.
//!
//! A stage says how far it may go; what is to be done in it is decided from what is observed, so that a restart, a node that
//! comes back and a change by another hand are all the same case. A node that is away holds up nobody until the drop.
//!
//! - [`names`]: what the members' certificates cover, one member at a time;
//! - [`line`]: every carrier of the address; [`presence`]: who counts, who is away, who serves.

pub mod line;
pub mod names;
pub mod presence;
#[cfg(test)]
mod tests;

use crate::endpoint::{Rotation, Stage};
use crate::facts::Facts;
use crate::intent::{Intent, NodeName};
use crate::membership::held_back;
use crate::quorum;
use crate::step::SideStep;
use crate::time::Time;
use crate::waiting::WaitingOn;
use std::collections::BTreeSet;

/// One round of a rotation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    pub steps: Vec<SideStep>,
    /// Enter this stage durably.
    pub advance: Option<Advance>,
    pub waits: Vec<WaitingOn>,
    /// Nodes that are away. They are brought along when they return.
    pub behind: BTreeSet<NodeName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    To(Stage),
    /// All is as wanted.
    Complete,
}

impl Turn {
    fn is_idle(&self) -> bool {
        self.steps.is_empty() && self.waits.is_empty()
    }
}

pub fn next(facts: &Facts, intent: &Intent, now: Time) -> Turn {
    let Some(rotation) = &intent.endpoint.rotation else {
        return Turn::default();
    };
    let mut turn = match rotation.stage {
        Stage::Accept => accept(facts, intent, rotation),
        Stage::Switch => switch(facts, intent, rotation),
        Stage::Soak => soak(facts, intent, rotation, now),
        Stage::Drop => drop_names(facts, intent),
        Stage::Retire => retire(facts, intent),
    };
    turn.behind = presence::away(facts, intent);
    let running = |step: &SideStep| facts.is_running(step.kind(), step.nodes().1);
    // Also one that was begun before the rotation was turned round: what it does is still to be seen.
    if facts.running.iter().any(|run| run.kind.moves_endpoint()) {
        turn.advance = None;
    }
    turn.steps.retain(|step| {
        let (_, subject) = step.nodes();
        !running(step)
            && held_back(facts, step.kind(), subject, now).is_none()
            && facts.failed(subject).is_none()
    });
    turn
}

/// Nothing has changed for anybody when this ends; from here a mere drop leads back.
fn accept(facts: &Facts, intent: &Intent, rotation: &Rotation) -> Turn {
    let mut turn = Turn::default();
    balancers(facts, intent, &mut turn);
    names::bring(facts, intent, &mut turn);
    if !turn.is_idle() {
        return turn;
    }
    let members = intent.members().count();
    let present = presence::members(facts, intent).len();
    if present < quorum::quorum(members) {
        turn.waits.push(WaitingOn::TooFewMembers {
            present,
            needed: quorum::quorum(members),
        });
        return turn;
    }
    if rotation.other.is_some() {
        turn.steps = presence::nodes(facts, intent)
            .into_iter()
            .filter(|node| !facts.proven.contains(node))
            .map(|node| SideStep::Probe { node })
            .collect();
    }
    if turn.is_idle() {
        turn.advance = Some(Advance::To(Stage::Switch));
    }
    turn
}

fn switch(facts: &Facts, intent: &Intent, rotation: &Rotation) -> Turn {
    let mut turn = in_line(facts, intent);
    if turn.is_idle() {
        let stage = if rotation.other.is_some() {
            Stage::Soak
        } else {
            Stage::Drop
        };
        turn.advance = Some(Advance::To(stage));
    }
    turn
}

/// Everything and everyone that can be reached, at any stage from the switch on.
fn in_line(facts: &Facts, intent: &Intent) -> Turn {
    let mut turn = Turn::default();
    balancers(facts, intent, &mut turn);
    names::bring(facts, intent, &mut turn);
    if turn.is_idle() {
        line::bring(facts, intent, &mut turn);
    }
    turn
}

fn soak(facts: &Facts, intent: &Intent, rotation: &Rotation, now: Time) -> Turn {
    let mut turn = in_line(facts, intent);
    if !turn.is_idle() {
        return turn;
    }
    let away = presence::away(facts, intent);
    if !away.is_empty() && !rotation.without_absent {
        turn.waits.extend(away.into_iter().map(WaitingOn::Away));
    }
    if !rotation.hurry {
        turn.waits.extend(not_quiet(facts, rotation, now));
    }
    if turn.is_idle() {
        turn.advance = Some(Advance::To(Stage::Drop));
    }
    turn
}

fn not_quiet(facts: &Facts, rotation: &Rotation, now: Time) -> Option<WaitingOn> {
    let address = rotation.other.as_ref()?.to_string();
    match facts.quiet_since {
        None => Some(WaitingOn::StillDialed {
            address,
            by: facts.dialers.clone(),
        }),
        Some(since) if now.since(since) < rotation.soak_ms => Some(WaitingOn::Soaking {
            remaining_ms: rotation.soak_ms - now.since(since),
        }),
        Some(_) => None,
    }
}

fn drop_names(facts: &Facts, intent: &Intent) -> Turn {
    let mut turn = in_line(facts, intent);
    if turn.is_idle() {
        turn.advance = Some(Advance::To(Stage::Retire));
    }
    turn
}

fn retire(facts: &Facts, intent: &Intent) -> Turn {
    let mut turn = Turn::default();
    balancers(facts, intent, &mut turn);
    if turn.is_idle() {
        turn.advance = Some(Advance::Complete);
    }
    turn
}

/// Of the nodes that were away when the endpoint moved: those that have all that they missed.
pub fn caught_up(facts: &Facts, intent: &Intent) -> BTreeSet<NodeName> {
    let wanted = intent.endpoint.address.to_string();
    let proxy = |name: &NodeName| {
        let objects = facts.objects.known();
        objects
            .and_then(|it| it.proxies.get(name))
            .is_none_or(|held| held == &wanted)
    };
    let caught_up = |name: &&NodeName| match intent.node(name) {
        None => true,
        Some(node) => {
            facts.node(name).connected
                && (!node.member || names::complete(facts, intent, node))
                && line::node_in_line(facts, intent, name) == Some(true)
                && proxy(name)
        }
    };
    facts.behind.iter().filter(caught_up).cloned().collect()
}

/// The load balancers' own steps come with every round; here is only waited for them.
fn balancers(facts: &Facts, intent: &Intent, turn: &mut Turn) {
    let balancers = || intent.nodes.iter().filter(|node| node.balancer);
    let mut some = balancers().next().is_none();
    for node in balancers() {
        let known = facts.node(&node.name);
        if !known.connected {
            continue;
        }
        match known.balancer.known() {
            Some(balancer) if balancer.running && balancer.current => some = true,
            Some(_) | None => turn
                .waits
                .push(WaitingOn::BalancerBehind(node.name.clone())),
        }
    }
    if !some && turn.waits.is_empty() {
        turn.waits.push(WaitingOn::BalancerNotReady);
    }
}
