//! Control planes and workers by kubeadm: one file an order.

pub mod authority;
pub mod export;
pub mod finish;
pub mod init;
pub mod manifests;
pub mod node;
pub mod prepare;
pub mod reset;
pub mod start;
pub mod worker;
