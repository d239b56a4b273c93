//! Answers of the coordinator as text. Pure: the same answer and look give the same text.

pub mod certificates;
pub mod check;
pub mod endpoint;
pub mod lists;
pub mod nodes;
pub mod operations;
pub mod plan;
pub mod power;
pub mod recovery;
pub mod removal;
pub mod rotation;
pub mod status;
#[cfg(test)]
mod tests;

use super::text::Look;
use serde::Serialize;

/// An answer that can be shown in every form.
pub trait Show: Serialize {
    fn table(&self, look: &Look) -> String;

    /// What `-o name` prints, one a line.
    fn names(&self) -> Vec<String>;
}

/// `1 node`, `3 nodes`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
