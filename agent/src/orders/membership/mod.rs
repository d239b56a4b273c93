//! Membership changes of etcd, run on a healthy member for both distributions.

pub mod add;
pub mod promote;
pub mod remove;
