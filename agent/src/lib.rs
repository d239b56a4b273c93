//! Agent of quorate: dials out to its coordinator and carries out typed orders on one machine.
//!
//! - [`cli`]: the command line; [`daemon`]: the service, which wires the rest together; [`status`]: what it shows.
//! - [`link`]: the mTLS session; [`enroll`]: how the agent got its identity; [`identity`]: where it keeps it;
//!   [`renew`]: how it stays good; [`fetch`]: artifacts from the coordinator.
//! - [`journal`]: durable record of orders; [`inbox`]: accept, refuse or answer again (pure);
//!   [`runner`]: runs an order in a transient unit or in place, and re-attaches after a restart.
//! - [`orders`]: one file an order; [`observe`]: what the agent sees, read only.
//! - [`host`]: files, tools and services of this machine, the only place with effects;
//!   [`isolation`]: stops the pods of a node that nobody can see; [`etcd`]: client of the local etcd; [`kube`]: calls to the API server of this host.

#[cfg(test)]
mod boundary;
pub mod cli;
pub mod context;
pub mod daemon;
pub mod enroll;
pub mod etcd;
pub mod fetch;
#[cfg(test)]
#[path = "../../proto/src/fuzz.rs"]
mod fuzz;
pub mod host;
pub mod identity;
pub mod inbox;
pub mod isolation;
pub mod journal;
pub mod kube;
pub mod link;
pub mod marks;
pub mod observe;
pub mod orders;
pub mod paths;
pub mod renew;
pub mod runner;
pub mod status;
#[cfg(test)]
mod testing;
