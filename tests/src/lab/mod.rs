//! Real hosts on one machine, for tests that need more than a process.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use quorate_tests::lab::Lab;
//! let lab = Lab::open()?;
//! let hosts = lab.hosts(&["n1", "n2"])?;
//! hosts[0].ok(["ping", "-c1", "n2"])?;
//! hosts[1].power_cut()?;
//! # Ok(()) }
//! ```
//!
//! Each host is a systemd-nspawn container with a network namespace, a disk and cgroups of its own.
//! All traffic stays inside the lab: hosts reach each other and nothing else. Needs root.

mod background;
mod base;
mod cgroups;
mod debs;
mod exec;
mod faults;
mod files;
mod host;
mod journals;
mod lock;
mod machine;
mod names;
mod network;
mod nspawn;
mod open;
mod place;
mod processes;
mod record;
mod shared;
mod sweep;
mod wait;

pub use background::Background;
pub use exec::Output;
pub use host::Host;
pub use open::Lab;
pub use place::Place;
pub use wait::eventually;
