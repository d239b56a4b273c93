//! How many connections, handshakes and downloads there may be, in all and of one source (an address,
//! or an IPv6 subnet) or node.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub handshakes: Bound,
    pub connections: Bound,
}

#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub total: usize,
    pub each: usize,
}

impl Limits {
    /// Agents may all come through one address, and come back all at once. A half-open handshake costs about 10 KiB,
    /// so all of them together stay below 50 MiB; connections are bound by open files.
    pub const MUTUAL: Limits = Limits {
        handshakes: Bound {
            total: 4096,
            each: 2048,
        },
        connections: Bound {
            total: 25_000,
            each: 25_000,
        },
    };
    /// Anybody may open these, and none lives for longer than half a minute.
    pub const ENROLLMENT: Limits = Limits {
        handshakes: Bound {
            total: 1024,
            each: 256,
        },
        connections: Bound {
            total: 2048,
            each: 512,
        },
    };
}

/// Who is counted: a source, or a node by its id.
pub trait Who: Clone + Eq + Hash {}
impl<T: Clone + Eq + Hash> Who for T {}

#[derive(Clone)]
pub struct Gate<W: Who> {
    bound: Bound,
    inside: Arc<Mutex<Inside<W>>>,
}

struct Inside<W> {
    total: usize,
    by_who: HashMap<W, usize>,
}

/// A place; given back when dropped.
pub struct Pass<W: Who> {
    gate: Gate<W>,
    who: W,
}

impl<W: Who> Gate<W> {
    pub fn new(bound: Bound) -> Self {
        let inside = Inside {
            total: 0,
            by_who: HashMap::new(),
        };
        Gate {
            bound,
            inside: Arc::new(Mutex::new(inside)),
        }
    }

    pub fn enter(&self, who: W) -> Option<Pass<W>> {
        let mut inside = self.lock();
        let here = inside.by_who.get(&who).copied().unwrap_or_default();
        if inside.total >= self.bound.total || here >= self.bound.each {
            return None;
        }
        inside.total += 1;
        inside.by_who.insert(who.clone(), here + 1);
        Some(Pass {
            gate: self.clone(),
            who,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inside<W>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Who> Drop for Pass<W> {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.total -= 1;
        if let Some(here) = inside.by_who.get_mut(&self.who) {
            *here -= 1;
            if *here == 0 {
                inside.by_who.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn bounded_in_all_and_by_address() {
        let gate = Gate::new(Bound { total: 3, each: 2 });
        let address = |last: u32| IpAddr::V4(last.into());
        let first = gate.enter(address(1)).unwrap();
        let _second = gate.enter(address(1)).unwrap();
        assert!(gate.enter(address(1)).is_none());
        let third = gate.enter(address(2)).unwrap();
        assert!(gate.enter(address(3)).is_none());
        drop(first);
        assert!(gate.enter(address(1)).is_some());
        drop(third);
        assert_eq!(gate.lock().by_who.len(), 1);
    }
}
