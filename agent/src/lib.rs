//! Agent of quorate: dials out to its coordinator and carries out typed orders on one machine.
//!
//! - [`link`]: the mTLS session; [`enroll`]: how the agent got its identity; [`identity`]: where it keeps it.
//! - [`journal`]: durable record of orders; [`inbox`]: accept, refuse or answer again (pure);
//!   [`runner`]: runs an order in a transient unit or in place, and re-attaches after a restart.
//! - [`orders`]: one file an order; [`observe`]: what the agent sees, read only.
//! - [`host`]: files, tools and services of this machine, the only place with effects;
//!   [`etcd`]: client of the local etcd; [`kube`]: calls to the API server of this host.

pub mod context;
pub mod etcd;
pub mod host;
pub mod kube;
pub mod marks;
pub mod observe;
pub mod orders;
pub mod paths;
