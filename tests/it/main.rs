//! Tests on real hosts; need root.

mod apt_source;
mod certificates;
mod dead_kubernetes;
mod external;
mod faults;
mod formation;
mod ipv6;
mod kubernetes;
mod load;
mod power;
mod quorum_lost;
mod quorum_lost_kubernetes;
mod recovery;
mod removal;
mod removal_kubernetes;
mod rotation;
mod rotation_faults;
mod rotation_kubernetes;
mod smoke;
