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
//! - [`balancer`]: a load balancer's configuration; [`endpoint`]: the endpoint's moves and the certificates; [`leaving`]: nodes that go; [`recovery`]: a quorum that is lost;
//!   [`shutdown`]: a cluster that stands still; [`storage`]: who is asked before a node is taken down;
//!   [`dead`]: who tells that a node is dead; [`isolation`]: nodes that stop their own pods; [`purge`]: dead ones that are removed.
//! - [`api`]: what operators may call; [`handle`]: does it; [`plan`], [`status`], [`check`]: their answers.

pub mod agents;
pub mod api;
mod apply;
mod balancer;
pub mod bridge;
mod carry;
mod check;
pub mod cluster;
mod dead;
mod endpoint;
mod handle;
mod isolation;
mod leaving;
pub mod lower;
pub mod observe;
mod operation;
mod plan;
mod purge;
pub mod records;
mod recovery;
mod results;
mod router;
pub mod shared;
mod shutdown;
mod snapshots;
mod status;
mod storage;
mod telling;
mod tracker;
mod view;
pub mod wants;

#[cfg(test)]
mod forged;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use handle::Engine;

use std::sync::LazyLock;
use std::time::Instant;

/// When the process began to count, and the time of day then.
static START: LazyLock<(Instant, u64)> = LazyLock::new(|| {
    let now = u64::try_from(crate::clock::unix_ms()).unwrap_or_default();
    (Instant::now(), now)
});

/// The coordinator's clock as the planner takes it: it does not jump when the time of day is set, which would make everything look
/// silent, or fresh, for as long as the jump was.
fn now_ms() -> u64 {
    ms_of(Instant::now())
}

/// The same clock's time of this moment; moments compare as their times do.
fn ms_of(at: Instant) -> u64 {
    let (start, start_ms) = *START;
    let since = at.saturating_duration_since(start).as_millis();
    start_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod clock_tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_as_far_apart_as_moments() {
        let begun = now_ms();
        let now = Instant::now();
        let later = now + Duration::from_millis(1_500);
        assert_eq!(ms_of(later) - ms_of(now), 1_500);
        assert!(begun <= ms_of(now) && ms_of(now) <= now_ms());
    }
}
