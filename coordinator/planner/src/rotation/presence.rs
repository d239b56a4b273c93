//! Who is part of the cluster and can be reached now.

use super::Turn;
use crate::facts::Facts;
use crate::intent::{Intent, NodeIntent, NodeName};
use crate::side;
use crate::step::SideStep;
use crate::waiting::WaitingOn;
use std::collections::BTreeSet;

/// Part of the cluster, as far as is known: a node that is away may be.
fn belongs(facts: &Facts, node: &NodeIntent) -> bool {
    if !(node.member || node.worker) {
        return false;
    }
    match facts.node(&node.name).marks.known() {
        Some(marks) => (node.member && marks.finished) || (node.worker && marks.worker),
        None => true,
    }
}

fn present(facts: &Facts, node: &NodeIntent) -> bool {
    belongs(facts, node) && facts.node(&node.name).connected
}

/// Members and workers that can be reached.
pub fn nodes(facts: &Facts, intent: &Intent) -> Vec<NodeName> {
    let present = |node: &&NodeIntent| present(facts, node);
    intent
        .nodes
        .iter()
        .filter(present)
        .map(|node| node.name.clone())
        .collect()
}

pub fn members<'a>(facts: &Facts, intent: &'a Intent) -> Vec<&'a NodeIntent> {
    intent
        .members()
        .filter(|node| present(facts, node))
        .collect()
}

pub fn workers<'a>(facts: &Facts, intent: &'a Intent) -> Vec<&'a NodeIntent> {
    let workers = intent.nodes.iter().filter(|node| !node.member);
    workers.filter(|node| present(facts, node)).collect()
}

/// Nodes of the cluster, load balancers too, that cannot be reached.
pub fn away(facts: &Facts, intent: &Intent) -> BTreeSet<NodeName> {
    intent
        .nodes
        .iter()
        .filter(|node| (belongs(facts, node) || node.balancer) && !facts.node(&node.name).connected)
        .map(|node| node.name.clone())
        .collect()
}

/// The step for the first member that is not right, or why it waits: never two members at once, and only while all others serve.
pub fn one_by_one(
    facts: &Facts,
    intent: &Intent,
    turn: &mut Turn,
    is_right: impl Fn(&NodeIntent) -> Option<bool>,
    step: impl Fn(NodeName) -> SideStep,
) {
    for node in members(facts, intent) {
        let name = &node.name;
        match is_right(node) {
            None => turn.waits.push(WaitingOn::ServingUnknown(name.clone())),
            Some(true) => {}
            Some(false) => {
                let other = touched(facts, intent).filter(|touched| touched != name);
                match (other, others_serve(facts, intent, name)) {
                    (Some(other), _) => turn.waits.push(WaitingOn::OneAtATime(other)),
                    (None, Err(wait)) => turn.waits.push(wait),
                    (None, Ok(())) => turn.steps.push(step(name.clone())),
                }
                return;
            }
        }
    }
}

/// A member may be touched only while every other one that can be reached serves.
pub fn others_serve(facts: &Facts, intent: &Intent, except: &NodeName) -> Result<(), WaitingOn> {
    for node in members(facts, intent) {
        if &node.name != except && side::serves(facts, intent, node) != Some(true) {
            return Err(WaitingOn::ApiNotReady(node.name.clone()));
        }
    }
    Ok(())
}

/// The member that is being touched now, if any.
pub fn touched(facts: &Facts, intent: &Intent) -> Option<NodeName> {
    facts
        .running
        .iter()
        .find(|run| {
            run.kind.touches_member() && intent.node(&run.subject).is_some_and(|node| node.member)
        })
        .map(|run| run.subject.clone())
}
