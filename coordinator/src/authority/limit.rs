//! Bounds on failed enrolments from one address. Successful ones are not counted: many nodes may share an address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failed tries of one address within the window: a person with the wrong token stays below, guessing gets nowhere.
pub const MAX_FAILURES: u32 = 10;
pub const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. With more at a time all others are refused, which an attacker could reach only with
/// that many real addresses.
const MAX_ADDRESSES: usize = 10_000;

#[derive(Debug, Default)]
pub struct FailureLimit {
    failures: HashMap<IpAddr, Failures>,
}

#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl FailureLimit {
    pub fn allows(&mut self, address: IpAddr, now: Instant) -> bool {
        let expired = |failures: &Failures| now.saturating_duration_since(failures.since) >= WINDOW;
        match self.failures.get(&address) {
            Some(failures) if expired(failures) => {
                self.failures.remove(&address);
                true
            }
            Some(failures) => failures.count < MAX_FAILURES,
            None => {
                if self.failures.len() >= MAX_ADDRESSES {
                    self.failures.retain(|_, failures| !expired(failures));
                }
                self.failures.len() < MAX_ADDRESSES
            }
        }
    }

    pub fn failed(&mut self, address: IpAddr, now: Instant) {
        self.failures
            .entry(address)
            .or_insert(Failures {
                since: now,
                count: 0,
            })
            .count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4(last.into())
    }

    #[test]
    fn ten_failures_a_minute() {
        let (mut limit, start) = (FailureLimit::default(), Instant::now());
        for _ in 0..MAX_FAILURES {
            assert!(limit.allows(address(1), start));
            limit.failed(address(1), start);
        }
        assert!(!limit.allows(address(1), start + WINDOW / 2));
        assert!(limit.allows(address(2), start));
        assert!(limit.allows(address(1), start + WINDOW));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut limit, start) = (FailureLimit::default(), Instant::now());
        for last in 0..MAX_ADDRESSES as u32 {
            limit.failed(address(last), start);
        }
        assert!(!limit.allows(address(u32::MAX), start));
        assert!(limit.allows(address(u32::MAX), start + WINDOW));
        assert!(limit.failures.is_empty());
    }
}
