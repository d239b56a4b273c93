//! Pure text: what comes from elsewhere made harmless, numbers for people, tables, YAML and JSON.

pub mod escape;
pub mod grid;
pub mod json;
pub mod look;
pub mod units;
pub mod yaml;

pub use escape::{clean, flat};
pub use grid::{Column, Grid, Item};
pub use look::{Look, Tone};
