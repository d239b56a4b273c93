//! Simulated machines before a real coordinator: thousands of agents in one process, each with the identity, the enrolment and the
//! session of a real one. Only what an order does is pretended, on a small shared model of a Kubernetes cluster.
//!
//! - [`coordinator`]: a real `quorate serve` in a folder of its own, [`operator`]: calls to it; [`fleet`]: the agents before it;
//! - [`agent`]: one agent behind the agent's own link; [`durations`]: how long its orders take;
//! - [`world`]: the cluster that all share, [`effect`]: what orders do to it, [`view`]: what agents see of it.

mod agent;
mod certificates;
pub mod coordinator;
pub mod durations;
mod effect;
pub mod fleet;
pub mod operator;
mod view;
pub mod world;

pub use coordinator::{Coordinator, Usage};
pub use durations::Durations;
pub use fleet::Fleet;
pub use world::World;
