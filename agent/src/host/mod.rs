//! Files, tools and services of this machine: the only place with effects on it.

pub mod boot_clock;
pub mod files;
pub mod hold;
pub mod pair;
pub mod service;
pub mod tool;
