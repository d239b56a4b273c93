//! The product on lab hosts, handled as a user would: packages, tokens, the command line.
//!
//! - [`packages`]: the .debs under test; [`fleet`]: a coordinator and enrolled nodes; [`file`]: cluster files;
//!   [`etcd`]: etcd seen with etcdctl, apart from the product, and [`observer`] all the time; [`kubernetes`]: real Kubernetes, where its binaries are given;
//!   [`by_hand`]: a machine prepared without the product;
//!   [`apt_source`]: a signed repository; [`haproxy`]: a load balancer of somebody else's; [`endpoint`]: where a cluster is reached, and [`load`]: clients that notice.

pub mod apt_source;
pub mod by_hand;
pub mod endpoint;
pub mod etcd;
pub mod file;
pub mod fleet;
pub mod haproxy;
pub mod kubernetes;
pub mod load;
pub mod observer;
pub mod packages;

pub use fleet::Fleet;
