//! Decides the next safe steps from facts, intent and the time. Does nothing itself: no clock, no IO, no tokio.
//!
//! ```text
//!   facts (observed) ─┐
//!   intent (the file) ┼─> round::next ─> Round { side: many, membership: at most one, progress, outcome }
//!   now ──────────────┘
//! ```
//!
//! The policy in short:
//! - Everything that is not a membership change runs side by side ([`step::SideStep`]).
//! - A membership change goes through [`membership::next`], which returns at most one step, and only if [`safety`]
//!   has nothing against it. One slot a cluster ([`facts::Change`]) says whose turn it is, and is kept durably.
//! - A voter is removed only on an operator's word that stands in the intent ([`leaving`]), through the same slot.
//! - A quorum is given up in one place only, on an operator's word that stands in the intent ([`recovery`]).
//! - A cluster stands still only on an operator's word that stands in the intent ([`shutdown`]); then nothing else is done.
//! - Decisions come from what is observed: a restart needs no memory of a script. Unknown is a value, and unsafe.
//! - [`quorum`] is the only file with arithmetic on voters.
//! - [`predict`] unrolls rounds on predicted facts: that is what `quorate plan` prints.

pub mod dead;
pub mod endpoint;
pub mod facts;
pub mod intent;
pub mod leaving;
pub mod membership;
pub mod predict;
pub mod progress;
pub mod quorum;
pub mod recovery;
pub mod renewal;
pub mod rotation;
pub mod round;
pub mod safety;
pub mod shutdown;
pub mod side;
pub mod step;
pub mod storage;
pub mod time;
pub mod waiting;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
