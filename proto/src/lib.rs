//! What crosses the wire between coordinator, agents and operators. Knows no policy and does no IO.
//!
//! - [`v1`]: messages and services of quorate, generated from `quorate/v1/*.proto`.
//! - [`etcd`]: the part of etcd's API that is called.
//! - [`action`]: properties of orders; [`limits`]: bounds; [`problem`]: errors for people;
//!   [`redacted`]: how messages that carry secrets are printed: without them; [`token`]: the join token.

#[allow(clippy::all, clippy::unwrap_used)]
pub mod v1 {
    tonic::include_proto!("quorate.v1");
}

#[allow(clippy::all, clippy::unwrap_used)]
pub mod etcd {
    tonic::include_proto!("etcdserverpb");
}

pub mod action;
#[cfg(test)]
mod boundary;
#[cfg(test)]
mod fuzz;
pub mod limits;
pub mod problem;
pub mod redacted;
pub mod token;

/// The compiled descriptor of [`v1`], for tests that walk every method.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
