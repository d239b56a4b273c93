//! Tests on real hosts; need root.

mod formation;
mod smoke;
