//! Carries out what the planner decides: one reconcile loop a cluster, the only writer of that cluster's slot and orders.
//!
//! ```text
//!   agents' reports ──> observe ─┐
//!   store (wish, slot, orders) ──┼─> planner ──> carry ──> store, then agents
//!   results ──> results ─────────┘
//! ```
//!
//! - [`observe`]: reports to facts; [`lower`]: steps to orders: the two places where wire and planner types meet.
//! - [`cluster`]: the loop; [`view`]: what it looks at; [`carry`]: begins steps; [`results`]: takes results; [`telling`]: tells watchers.
//! - [`balancer`]: a load balancer's configuration; [`endpoint`]: the endpoint's moves and the certificates.
//! - [`api`]: what operators may call; [`handle`]: does it; [`plan`], [`status`], [`check`]: their answers.

pub mod agents;
pub mod api;
mod apply;
mod balancer;
pub mod bridge;
mod carry;
mod check;
pub mod cluster;
mod endpoint;
mod handle;
pub mod lower;
pub mod observe;
mod operation;
mod plan;
pub mod records;
mod results;
mod router;
pub mod shared;
mod status;
mod telling;
mod tracker;
mod view;
pub mod wants;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use handle::Engine;

/// The coordinator's clock as the planner takes it.
fn now_ms() -> u64 {
    u64::try_from(crate::clock::unix_ms()).unwrap_or_default()
}
