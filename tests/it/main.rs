//! Tests on real hosts; need root.

mod smoke;
