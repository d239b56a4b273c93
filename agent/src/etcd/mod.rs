//! Client of etcd for both distributions: membership and maintenance calls with bounded time, refusals by name.
//!
//! - [`access`]: where the local member answers and with which certificate;
//! - [`client`]: the calls; [`connect`]: gRPC over our own TLS;
//! - [`gauges`]: what it tells of itself beside them;
//! - [`refusal`]: what etcd says no to; [`failure`]: every way a call can fail, told to a person.

mod access;
mod client;
mod connect;
mod failure;
pub mod gauges;
mod refusal;
#[cfg(test)]
pub(crate) mod testing;

pub use access::{CLIENT_PORT, EtcdAccess};
pub use client::EtcdClient;
pub use failure::EtcdFailure;
pub use refusal::EtcdRefusal;
