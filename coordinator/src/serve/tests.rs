//! A whole coordinator on the loopback, with real TLS.

mod access;
mod bench;
mod nodes;
mod transfers;
