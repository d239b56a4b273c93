//! The Kubernetes API as far as the agent needs it: a few small calls to the API server of this very host.
//!
//! - [`http`]: one HTTPS connection to the API server, plain GETs to kubelet and etcd on the loopback;
//! - [`kubeconfig`]: reads the files that kubeadm writes;
//! - [`api`]: the API server of this host with the administrator's certificate;
//! - [`own`]: where that API server listens; [`serving`]: the certificate that a server presents;
//! - [`carrier`]: files that name an API server, [`objects`]: and objects that do (both pure);
//! - [`kubectl`]: for what a few calls cannot do: applying manifests and waiting for rollouts.

pub mod api;
pub mod carrier;
pub mod http;
pub mod kubeconfig;
pub mod kubectl;
pub mod objects;
pub mod own;
pub mod serving;
#[cfg(test)]
pub mod testing;
