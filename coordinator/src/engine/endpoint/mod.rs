//! The cluster's endpoint and its certificates, as operators ask for them and as the loop carries them out.
//!
//! - [`observe`]: reports to facts; [`turn`]: enters the stages durably, and begins by itself what is due;
//! - [`ask`]: what operators may ask for; [`refuse`]: what speaks against it;
//! - [`show`], [`certificates`]: what they are shown.

pub mod ask;
pub mod certificates;
pub mod observe;
mod precheck;
pub mod refuse;
pub mod show;
#[cfg(test)]
mod tests;
mod turn;
