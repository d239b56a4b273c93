//! Coordinator of quorate: knows the clusters, decides the next safe steps and orders agents to take them.
//!
//! - [`store`]: durable state; [`authority`]: who may call; [`server`]: listeners and services.
//! - [`sessions`]: connected agents; [`artifacts`]: packages and images that nodes fetch.
//! - [`tenure`]: whether this coordinator is the one; [`backup`]: its state as one file, and back.
//! - [`engine`]: the reconcile loop; [`spec`]: the cluster file; [`cli`]: the command line.
//! - [`serve`]: the daemon, put together; [`init`]: what `quorate init` does to a machine; [`metrics`]: what monitoring asks.

pub mod artifacts;
pub mod authority;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod engine;
pub mod files;
#[cfg(test)]
#[path = "../../proto/src/fuzz.rs"]
mod fuzz;
pub mod init;
pub mod metrics;
pub mod serve;
pub mod server;
pub mod sessions;
pub mod spec;
pub mod store;
pub mod tenure;
