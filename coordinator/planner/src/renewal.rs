//! New certificates, one member at a time, only while the others serve.

use crate::facts::Facts;
use crate::intent::Intent;
use crate::membership::held_back;
use crate::rotation::presence;
use crate::step::SideStep;
use crate::time::Time;
use crate::waiting::WaitingOn;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Renewing {
    pub steps: Vec<SideStep>,
    pub waits: Vec<WaitingOn>,
    /// Every node that was asked for has certificates that are new enough.
    pub complete: bool,
}

pub fn next(facts: &Facts, intent: &Intent, now: Time) -> Renewing {
    let mut renewing = Renewing::default();
    let Some(renewal) = &intent.endpoint.renewal else {
        return renewing;
    };
    for name in &renewal.nodes {
        let Some(node) = intent.node(name).filter(|node| node.member) else {
            continue;
        };
        let known = facts.node(name);
        if !known.connected {
            renewing.waits.push(WaitingOn::Away(name.clone()));
            continue;
        }
        match known.oldest_issue_unix.known() {
            None => renewing.waits.push(WaitingOn::ServingUnknown(name.clone())),
            Some(Some(issued)) if *issued < renewal.since_unix => {
                renewing.touch(facts, intent, &node.name, now);
                return renewing;
            }
            Some(_) => {}
        }
    }
    renewing.complete = renewing.waits.is_empty();
    renewing
}

impl Renewing {
    fn touch(&mut self, facts: &Facts, intent: &Intent, node: &crate::intent::NodeName, now: Time) {
        let step = SideStep::Renew { node: node.clone() };
        if let Some(touched) = presence::touched(facts, intent) {
            self.waits.push(WaitingOn::OneAtATime(touched));
        } else if let Err(wait) = presence::others_serve(facts, intent, node) {
            self.waits.push(wait);
        } else if let Some(wait) = held_back(facts, step.kind(), node, now) {
            self.waits.push(wait);
        } else if facts.failed(node).is_none() {
            self.steps.push(step);
        }
    }
}
