//! Tests on real hosts; need root.

mod faults;
mod formation;
mod kubernetes;
mod load;
mod smoke;
