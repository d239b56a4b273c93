//! A whole coordinator on the loopback, with real TLS.

mod access;
mod bench;
mod metrics;
mod nodes;
mod security;
mod takeover;
mod transfers;
