//! Clients of a cluster, while its endpoint moves: requests at a steady rate through every address that is to serve, and watches that
//! are to stay open. Each handshake proves the certificate against the cluster's authority, under the name that was dialled.
//!
//! It runs in this process, but on the lab's network.

mod access;
mod call;
mod counts;
mod proof;
mod watching;

pub use access::{Access, Target};
pub use counts::Counts;
pub use proof::{certificate, serves_as};

use crate::lab::Lab;
use anyhow::{Context, Result, anyhow, ensure};
use call::Caller;
use counts::Tally;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

/// Requests a second, through all addresses together. Half of them begin with a handshake.
pub const RATE: u32 = 500;
/// Often enough that requests are spread out, seldom enough that timers cost nothing.
const TICKS: u32 = 50;
/// What is not answered by then is not answered at all: far more than a machine with two cores needs at this rate.
const IN_FLIGHT: usize = 1000;
/// Through each address.
const WATCHES: usize = 4;

pub struct Load {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    driver: Option<JoinHandle<()>>,
}

struct Shared {
    access: Access,
    tally: Arc<Tally>,
    ways: Mutex<Vec<Way>>,
    /// Each request under way holds the one that was here when it was sent.
    sent: Mutex<Arc<()>>,
}

/// An address in use.
#[derive(Clone)]
struct Way {
    caller: Arc<Caller>,
    watches: Vec<AbortHandle>,
}

impl Load {
    /// Begins through these addresses, and returns once each has answered and its watches are open.
    pub fn start(lab: &Lab, access: Access, targets: &[Target]) -> Result<Self> {
        let shared = Arc::new(Shared {
            access,
            tally: Arc::default(),
            ways: Mutex::default(),
            sent: Mutex::default(),
        });
        // Threads inherit the network of the one that starts them.
        let runtime = lab.beside_hosts(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
        })??;
        let mut load = Load {
            shared: Arc::clone(&shared),
            runtime: Some(runtime),
            stop: None,
            driver: None,
        };
        for target in targets {
            load.through(target)?;
        }
        let (stop, stopped) = oneshot::channel();
        let handle = load.runtime()?.handle().clone();
        load.stop = Some(stop);
        load.driver = Some(std::thread::spawn(move || {
            handle.block_on(drive(shared, stopped));
        }));
        Ok(load)
    }

    /// From now on through this address too.
    pub fn through(&self, target: &Target) -> Result<()> {
        let caller = Arc::new(Caller::new(
            &self.shared.access,
            target,
            Arc::clone(&self.shared.tally),
        )?);
        let proving = Arc::clone(&caller);
        self.on_the_lab(async move { proving.prove().await })?
            .map_err(|error| anyhow!("{target} does not answer: {error}"))?;
        let mut watches = Vec::new();
        for _ in 0..WATCHES {
            let opening = Arc::clone(&caller);
            let watch = self
                .on_the_lab(async move { opening.watch().await })?
                .map_err(|error| anyhow!("no watch through {target}: {error}"))?;
            let task = self
                .runtime()?
                .spawn(watching::hold(Arc::clone(&caller), watch));
            watches.push(task.abort_handle());
        }
        self.shared.ways().push(Way { caller, watches });
        Ok(())
    }

    /// No longer through this address: a client that has been told about the new one.
    pub fn not_through(&self, target: &Target) -> Result<()> {
        let mut ways = self.shared.ways();
        let at = ways.iter().position(|way| way.caller.target() == target);
        let way = ways.remove(at.with_context(|| format!("nothing goes through {target}"))?);
        way.watches.iter().for_each(AbortHandle::abort);
        Ok(())
    }

    pub fn counts(&self) -> Counts {
        self.shared.tally.counts()
    }

    /// Waits until so many more requests have been answered, and all that were sent before: whatever was just done has been seen by
    /// clients, and a request that was lost then is counted.
    pub fn answered(&self, more: u64, timeout: Duration) -> Result<()> {
        let before = self.counts().ok;
        crate::lab::eventually(timeout, &format!("{more} more answers"), || {
            Ok((self.counts().ok >= before + more).then_some(()))
        })?;
        let sent = std::mem::take(&mut *self.shared.sent());
        crate::lab::eventually(timeout, "the answers to all requests", || {
            Ok((Arc::strong_count(&sent) == 1).then_some(()))
        })
    }

    /// Ends all of it; requests under way are waited for.
    pub fn finish(mut self) -> Result<Counts> {
        drop(self.stop.take());
        if let Some(driver) = self.driver.take() {
            driver.join().map_err(|_| anyhow!("the load panicked"))?;
        }
        for way in self.shared.ways().drain(..) {
            way.watches.iter().for_each(AbortHandle::abort);
        }
        Ok(self.counts())
    }

    /// On a thread of the runtime: the calling one is on the machine's network.
    fn on_the_lab<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let runtime = self.runtime()?;
        Ok(runtime.block_on(runtime.spawn(work))?)
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().context("the load has ended")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn ways(&self) -> MutexGuard<'_, Vec<Way>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self) -> MutexGuard<'_, Arc<()>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Round and round: the addresses in turn, each once with a handshake and once without.
async fn drive(shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / TICKS);
    // A machine that was busy elsewhere is not to be hit by all that it missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0_usize;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        for _ in 0..RATE / TICKS {
            let callers: Vec<_> = shared
                .ways()
                .iter()
                .map(|way| Arc::clone(&way.caller))
                .collect();
            let Some(caller) = callers.get(number % callers.len().max(1)) else {
                break;
            };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                shared.tally.skipped();
                continue;
            };
            let (caller, turn) = (Arc::clone(caller), number / callers.len());
            let sent = Arc::clone(&shared.sent());
            tokio::spawn(async move {
                caller.call(turn.is_multiple_of(2), turn / 2).await;
                drop((permit, sent));
            });
            number += 1;
        }
    }
    // All permits: nothing is under way any more. A call has a deadline of its own.
    let all = u32::try_from(IN_FLIGHT).unwrap_or(u32::MAX);
    drop(room.acquire_many(all).await);
}

/// What a rotation promises: nobody noticed.
pub fn unharmed(counts: &Counts, at_least: u64) -> Result<()> {
    ensure!(
        counts.failed == 0 && counts.watches_ended == 0,
        "clients noticed: {counts}"
    );
    ensure!(
        counts.ok >= at_least,
        "too few requests to mean anything: {counts}"
    );
    Ok(())
}
