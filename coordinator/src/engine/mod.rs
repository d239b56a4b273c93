//! Carries out what the planner decides: one reconcile loop a cluster.

pub mod api;
