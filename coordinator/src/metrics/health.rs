//! Whether the coordinator is well: it serves, and what is committed gets to the disk.

use crate::clock;
use crate::store::{Key, Store, Transaction};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Every look writes to the disk; whoever asks more often gets the last answer.
const KEPT: Duration = Duration::from_secs(5);
/// A disk that needs longer for a few bytes holds up everything else too.
const LIMIT: Duration = Duration::from_secs(3);

pub struct Health {
    store: Arc<Store>,
    /// Cancelled when a listener has ended, or the daemon stops.
    shutdown: CancellationToken,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Health {
    pub fn new(store: Arc<Store>, shutdown: CancellationToken) -> Self {
        Health {
            store,
            shutdown,
            last: Mutex::default(),
        }
    }

    /// Why it is not well. Those who ask at the same time share one look.
    pub async fn look(&self) -> Result<(), String> {
        if self.shutdown.is_cancelled() {
            return Err("the coordinator stops".to_owned());
        }
        let mut last = self.last.lock().await;
        if let Some((when, verdict)) = &*last
            && when.elapsed() < KEPT
        {
            return verdict.clone();
        }
        let verdict = self.commit().await;
        *last = Some((Instant::now(), verdict.clone()));
        verdict
    }

    async fn commit(&self) -> Result<(), String> {
        let transaction = Transaction::new().put(Key::meta("health"), &clock::unix());
        match timeout(LIMIT, self.store.commit(transaction)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the store does not accept changes: {error}")),
            Err(_) => Err(format!(
                "the store has not accepted a change for {} s",
                LIMIT.as_secs()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn follows_the_store_and_asks_it_seldom() {
        let store = Arc::new(Store::in_memory());
        let shutdown = CancellationToken::new();
        let health = Health::new(Arc::clone(&store), shutdown.clone());
        assert_eq!(health.look().await, Ok(()));
        let revision = store.revision();
        assert_eq!(health.look().await, Ok(()));
        assert_eq!(store.revision(), revision, "asked again at once");
        store.close().await;
        tokio::time::pause();
        tokio::time::advance(KEPT).await;
        // The store's thread has a time of its own, which a paused clock would overtake.
        tokio::time::resume();
        let why = health.look().await.unwrap_err();
        assert!(why.contains("the store is closed"), "{why}");
        shutdown.cancel();
        assert_eq!(health.look().await.unwrap_err(), "the coordinator stops");
    }
}
