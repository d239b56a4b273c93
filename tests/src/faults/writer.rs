//! Writes one key after the other through whichever member takes it, and remembers those that were acknowledged.

use crate::lab::Host;
use crate::product::etcd;
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Each write starts a program on a host; the machine has other work.
const PAUSE: Duration = Duration::from_millis(300);
const PREFIX: &str = "written/";

pub struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(hosts: Vec<Host>) -> Self {
        let (stop, acknowledged): (Arc<AtomicBool>, Arc<Mutex<BTreeSet<String>>>) =
            (Arc::default(), Arc::default());
        let (ends, taken) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let thread = std::thread::spawn(move || {
            let mut number = 0_u64;
            while !ends.load(Ordering::Relaxed) {
                number += 1;
                let key = format!("{PREFIX}{number:08}");
                let take = |host: &Host| etcd::put(host, None, &key, "x").is_ok();
                if hosts.iter().any(take) {
                    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                    taken.insert(key);
                }
                std::thread::sleep(PAUSE);
            }
        });
        Writer {
            stop,
            acknowledged,
            thread: Some(thread),
        }
    }

    /// How many were acknowledged; an error if one of them is not there.
    pub fn all_there(&self, host: &Host) -> Result<usize> {
        let acknowledged = {
            let all = self.acknowledged.lock();
            all.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let words = ["get", PREFIX, "--prefix", "--keys-only"];
        let there = etcd::etcdctl(host, None, &words)?;
        let there: BTreeSet<&str> = there.lines().collect();
        let lost: Vec<_> = (acknowledged.iter())
            .filter(|key| !there.contains(key.as_str()))
            .take(5)
            .collect();
        ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        Ok(acknowledged.len())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
