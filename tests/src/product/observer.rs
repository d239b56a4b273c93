//! Watches etcd's member list beside everything else that goes on, and remembers the worst that it saw.

use super::etcd;
use crate::lab::Host;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A look takes about as long; the observer is not to eat the machine.
const PAUSE: Duration = Duration::from_millis(50);

pub struct Observer {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    wrong: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Looks through whichever of these hosts answers.
    pub fn start(hosts: Vec<Host>) -> Self {
        let (stop, looks, wrong) = (Arc::default(), Arc::default(), Arc::default());
        let mut observer = Observer {
            stop,
            looks,
            wrong,
            thread: None,
        };
        let (stop, looks, wrong) = (
            observer.stop.clone(),
            observer.looks.clone(),
            observer.wrong.clone(),
        );
        observer.thread = Some(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(members) = hosts.iter().find_map(|host| etcd::members(host).ok()) {
                    looks.fetch_add(1, Ordering::Relaxed);
                    if let Some(what) = violation(&members) {
                        wrong
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(what);
                    }
                }
                std::thread::sleep(PAUSE);
            }
        }));
        observer
    }

    /// How often it saw a list, and what broke an invariant.
    pub fn finish(mut self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let wrong = self
            .wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        (self.looks.load(Ordering::Relaxed), wrong)
    }
}

/// Never more than one learner, never a voter that has not started.
fn violation(members: &[etcd::Member]) -> Option<String> {
    let learners = members.iter().filter(|m| m.learner).count();
    let unstarted = members
        .iter()
        .filter(|m| !m.learner && m.name.is_empty())
        .count();
    (learners > 1 || unstarted > 0)
        .then(|| format!("{learners} learners, {unstarted} unstarted voters: {members:?}"))
}
