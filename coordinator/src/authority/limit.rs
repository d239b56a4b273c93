//! Bounds on failed enrolments from one address, or one IPv6 subnet. Successful ones are not counted: many nodes may share an address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Failed tries of one address within the window: a person with the wrong token stays below, guessing gets nowhere.
pub const MAX_FAILURES: u32 = 10;
pub const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. With more at a time all others are refused, which an attacker could reach only with
/// that many real addresses.
const MAX_ADDRESSES: usize = 10_000;

/// Whom an address stands for. A single machine may have all IPv6 addresses of its /64, so these count as one.
pub fn source(address: IpAddr) -> IpAddr {
    const SUBNET: u128 = u128::MAX << 64;
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from(u128::from(six) & SUBNET).into(),
        four => four,
    }
}

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
        let address = source(address);
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
            .entry(source(address))
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
    fn a_machine_with_many_addresses_is_one() {
        let (mut limit, start) = (FailureLimit::default(), Instant::now());
        let six =
            |subnet: u16, host: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, subnet, 0, 0, 0, host));
        for host in 0..MAX_FAILURES as u16 {
            assert!(limit.allows(six(1, host), start));
            limit.failed(six(1, host), start);
        }
        assert!(!limit.allows(six(1, 1_000), start));
        assert!(limit.allows(six(2, 1), start));
        assert_eq!(limit.failures.len(), 1);
        let mapped = Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, 1]);
        assert_eq!(source(mapped.into()), IpAddr::from([10, 0, 0, 1]));
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
