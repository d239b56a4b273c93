//! What the agent sees of its machine and of the local cluster member. Read only, bounded in time.

pub mod kube;
