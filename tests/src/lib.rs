//! The lab: real Debian hosts with systemd as PID 1 on one machine, and the means to break them.

pub mod lab;
