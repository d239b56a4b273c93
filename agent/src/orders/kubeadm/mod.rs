//! Control planes and workers by kubeadm: one file an order.
//!
//! A control plane is formed by `kubeadm init` phases on every node instead of `kubeadm join`, so that all but etcd's
//! membership change is done ahead and side by side. What is on disk and in the cluster afterwards is what
//! `kubeadm init` and `kubeadm join --control-plane` leave, so that kubeadm's own upgrade, renewal and join work later.
//!
//! - [`documents`], [`config`]: kubeadm's YAML of one node (pure); [`guard`]: what the user may not set (pure);
//! - [`layout`]: kubeadm's files; [`claim`]: one node, one cluster; [`phase`]: runs kubeadm;
//! - [`pki`]: certificates, all or none of them; [`kubelet`]: its files and its identity; [`ready`]: waits;
//! - [`mark`], [`labels`], [`token`]: objects of the API (pure); [`endpoint`]: the way to another endpoint;
//! - [`out_of_service`]: what is done about dead nodes;
//! - [`recover`]: a cluster of one; [`etcd_pod`]: etcd's manifest for it (pure), [`etcd_tool`]: its tool out of its image;
//! - [`approve`]: what kubelets ask for; [`static_pod`]: starts a component anew, [`due`]: and which ones are to be.

pub mod approve;
pub mod authority;
pub mod claim;
pub mod config;
pub mod documents;
pub mod drain;
pub mod due;
pub mod endpoint;
pub mod etcd_pod;
mod etcd_tool;
pub mod export;
pub mod finish;
pub mod firewall;
pub mod guard;
pub mod init;
pub mod kubelet;
pub mod labels;
pub mod layout;
#[cfg(test)]
mod leaving_tests;
pub mod manifests;
pub mod mark;
pub mod member;
pub mod node;
pub mod out_of_service;
pub mod phase;
pub mod pki;
pub mod prepare;
pub mod ready;
pub mod recover;
pub mod remains;
pub mod reset;
pub mod start;
pub mod static_pod;
pub mod stop;
pub mod token;
pub mod worker;

/// Where containerd listens, in the form kubeadm wants it.
pub const CRI_SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// The API server's port. The load balancer's backends, preflight and the endpoint's health check count on it.
pub const API_PORT: u16 = 6443;
