//! Deterministic simulation: the real coordinator engine, planner and store, and the real agents' runner, inbox and journal, in one
//! thread and in virtual time, over machines, a network, a disk and an etcd that are models. Everything follows from a seed.
//! Not to be confused with [`crate::sim`], which puts simulated agents before a real coordinator process to measure it.
//!
//! - [`schedule`]: one run; [`command`]: many of them; [`trace`]: what happened; [`log`]: what was logged; [`random`]: all chance;
//! - [`world`]: the truth, [`machine`]: what survives what, [`etcd`]: membership as etcd has it;
//! - [`coordinator`]: its process, [`agent`]: an agent's, [`link`]: the network between them;
//! - [`orders`], [`calls`]: what orders do, [`view`]: what agents see;
//! - [`operator`]: what is wished, [`faults`]: what gets in the way;
//! - [`checks`]: what must hold, and [`broken`]: coordinators for which it does not.

mod agent;
pub mod broken;
mod calls;
mod checks;
pub mod command;
mod coordinator;
mod etcd;
mod faults;
mod link;
mod log;
mod machine;
pub mod operator;
mod orders;
mod random;
pub mod schedule;
mod trace;
mod view;
mod world;

#[cfg(test)]
mod tests;
