//! Whole commands against a server in this process, over TLS on the loopback.

mod applying;
mod backup;
mod calls;
mod certificates;
mod endpoint;
mod failing;
mod fake;
mod harness;
mod leaving;
mod listener;
mod power;
mod recover;
