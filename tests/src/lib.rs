//! The lab: real Debian hosts with systemd as PID 1 on one machine, and the means to break them. And the product on it: the built
//! packages installed and enrolled as a user would. [`sim`] needs no hosts: it pretends them.

pub mod bench;
pub mod demo;
pub mod faults;
pub mod lab;
pub mod product;
pub mod sim;
pub mod simulation;
