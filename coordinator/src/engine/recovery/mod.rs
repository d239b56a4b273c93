//! A quorum that is lost for good: `quorate recover`. The only place where one is given up, on an operator's typed word.
//!
//! - [`ask`]: what operators may ask for; [`survey`]: who holds what, and why it is refused;
//! - [`turn`]: the end, after which the others join anew.

pub mod ask;
mod survey;
#[cfg(test)]
mod tests;
mod turn;

use super::records::{ClusterRecord, OrderRecord};
use quorate_planner::intent::NodeName;
use quorate_planner::step::StepKind;

/// What no observation tells: written with the order's result.
pub fn note(record: &mut ClusterRecord, ended: &OrderRecord) {
    let Some(recovery) = record.recovery.as_mut() else {
        return;
    };
    if ended.step == StepKind::StopServing {
        recovery.stopped.insert(NodeName(ended.subject.clone()));
    }
    recovery.made |= ended.step == StepKind::Recover && ended.subject == recovery.node.0;
}
