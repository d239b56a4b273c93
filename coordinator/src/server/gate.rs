//! How many connections and handshakes there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub handshakes: Bound,
    pub connections: Bound,
}

#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub total: usize,
    pub per_address: usize,
}

impl Limits {
    /// Agents may all come through one address, and come back all at once. A half-open handshake costs about 10 KiB,
    /// so all of them together stay below 50 MiB; connections are bound by open files.
    pub const MUTUAL: Limits = Limits {
        handshakes: Bound {
            total: 4096,
            per_address: 2048,
        },
        connections: Bound {
            total: 25_000,
            per_address: 25_000,
        },
    };
    /// Anybody may open these, and none lives for longer than half a minute.
    pub const ENROLLMENT: Limits = Limits {
        handshakes: Bound {
            total: 1024,
            per_address: 256,
        },
        connections: Bound {
            total: 2048,
            per_address: 512,
        },
    };
}

#[derive(Clone)]
pub struct Gate {
    bound: Bound,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place; given back when dropped.
pub struct Pass {
    gate: Gate,
    address: IpAddr,
}

impl Gate {
    pub fn new(bound: Bound) -> Self {
        Gate {
            bound,
            inside: Arc::default(),
        }
    }

    pub fn enter(&self, address: IpAddr) -> Option<Pass> {
        let mut inside = self.lock();
        let here = inside.by_address.get(&address).copied().unwrap_or_default();
        if inside.total >= self.bound.total || here >= self.bound.per_address {
            return None;
        }
        inside.total += 1;
        inside.by_address.insert(address, here + 1);
        Some(Pass {
            gate: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.total -= 1;
        if let Some(here) = inside.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_in_all_and_by_address() {
        let gate = Gate::new(Bound {
            total: 3,
            per_address: 2,
        });
        let address = |last: u32| IpAddr::V4(last.into());
        let first = gate.enter(address(1)).unwrap();
        let _second = gate.enter(address(1)).unwrap();
        assert!(gate.enter(address(1)).is_none());
        let third = gate.enter(address(2)).unwrap();
        assert!(gate.enter(address(3)).is_none());
        drop(first);
        assert!(gate.enter(address(1)).is_some());
        drop(third);
        assert_eq!(gate.lock().by_address.len(), 1);
    }
}
