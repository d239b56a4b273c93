//! Nodes that leave, and those that take their places: `quorate node remove`, `quorate node replace`.
//!
//! - [`ask`]: what operators may ask for, and what is refused; [`refuse`]: why;
//! - [`turn`]: the end, in one transaction, or the way back.
//!
//! The operator's word stands in the cluster's record until the node is gone; what is to be done next is the planner's.

pub mod ask;
mod refuse;
#[cfg(test)]
mod tests;
mod turn;

pub use turn::turned_back;

use super::records::{ClusterRecord, OrderRecord};
use quorate_planner::leaving::Leaving;
use quorate_planner::step::StepKind;

/// What no observation tells: written with the order's result.
pub fn note(record: &mut ClusterRecord, ended: &OrderRecord) {
    let Some(leaving) = record
        .leaving
        .as_mut()
        .filter(|leaving| leaving.node.0 == ended.subject)
    else {
        return;
    };
    leaving.drained |= ended.step == StepKind::Drain;
    leaving.stopped |= ended.step == StepKind::StopServing;
    leaving.reset |= ended.step == StepKind::Reset;
    leaving.deleted |= ended.step == StepKind::DeleteNode;
}

/// With which an operator goes on.
pub fn command(leaving: &Leaving) -> String {
    let node = &leaving.node;
    match &leaving.successor {
        None => format!("quorate node remove {node}"),
        Some(same) if same == node => format!("quorate node replace {node}"),
        Some(other) => format!("quorate node replace {node} {other}"),
    }
}
