//! The cluster file: what the operator wants.
//!
//! - [`file`]: the YAML as written, with unknown fields refused; [`address`]: hosts and ports.
//! - [`resolve`]: checks it as a whole and fills in defaults; every mistake is reported, not just the first.
//! - [`snapshots`]: how often etcd is saved; [`dead_nodes`]: what is done about dead nodes; [`storage`]: who is asked before one is taken
//!   down.
//! - [`compare`]: what a new file may change of the one in force.

pub mod address;
pub mod compare;
pub mod dead_nodes;
pub mod file;
pub mod resolve;
pub mod snapshots;
pub mod storage;
mod words;

pub use resolve::{Spec, SpecNode};
