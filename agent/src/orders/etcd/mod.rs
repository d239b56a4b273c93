//! Members of an etcd cluster of its own, from Debian's etcd-server package: one file an order.

pub mod authority;
pub mod export;
pub mod finish;
pub mod init;
pub mod prepare;
pub mod reset;
pub mod start;
