//! Which coordinator is the one: the epoch of this run, and what is known of a newer one.
//!
//! A coordinator that was restored from a backup has a higher tenure than the one that the backup was taken from. Agents
//! that have heard the newer one refuse the older one, and tell it so with a proof that only a holder of the authority's
//! key can make: a single node cannot talk a coordinator out of its office. What was superseded stays so after a restart.

use crate::authority::Authority;
use crate::store::{Key, Store, StoreError, Transaction};
use quorate_proto::limits::EPOCH_TENURE_SHIFT;
use quorate_proto::v1::Problem;
use std::sync::Arc;
use tokio::sync::watch;

const PURPOSE: &str = "epoch";

pub struct Tenure {
    store: Arc<Store>,
    authority: Arc<Authority>,
    epoch: u64,
    newer: watch::Sender<Option<u64>>,
}

/// When this state was last restored from a backup; Unix seconds.
pub fn restored_key() -> Key {
    Key::meta("restored")
}

/// The epoch of the newer coordinator.
pub fn superseded_key() -> Key {
    Key::meta("superseded")
}

impl Tenure {
    /// Durably begins a run: its epoch is higher than that of any earlier one.
    pub async fn begin(store: Arc<Store>, authority: Arc<Authority>) -> Result<Self, Problem> {
        let epoch = next_epoch(&store).await?;
        let newer: Option<u64> = store.read(&superseded_key())?;
        let tenure = Tenure {
            store,
            authority,
            epoch,
            newer: watch::Sender::new(newer),
        };
        if let Some(newer) = newer {
            tenure.tell(newer);
        }
        Ok(tenure)
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// For the welcome.
    pub fn proof(&self) -> Vec<u8> {
        self.authority.seal(PURPOSE, &self.epoch.to_be_bytes())
    }

    /// None while this coordinator is the one.
    pub fn newer(&self) -> Option<u64> {
        *self.newer.borrow()
    }

    /// Returns once another one is.
    pub async fn superseded(&self) {
        // The sender is this very object: it is not gone.
        let _ = self.newer.subscribe().wait_for(Option::is_some).await;
    }

    /// What an agent's hello says of the highest epoch that it has seen. Returns whether that is a newer coordinator's.
    pub async fn heard(&self, node: &str, epoch: u64, proof: &[u8]) -> bool {
        if epoch <= self.epoch {
            return false;
        }
        if !self
            .authority
            .is_sealed(PURPOSE, &epoch.to_be_bytes(), proof)
        {
            tracing::error!(
                node,
                theirs = epoch,
                ours = self.epoch,
                "an epoch without proof"
            );
            self.store.notice(format!(
                "{node} claims to obey a newer coordinator (epoch {epoch}, ours is {}) and has no proof of it: it takes no order \
                 of this one. If it is to belong here, enrol it again: quorate-agent enroll --force TOKEN",
                self.epoch
            ));
            return false;
        }
        if self.newer() < Some(epoch) {
            let record = Transaction::new().put(superseded_key(), &epoch).audit(
                "agents",
                "superseded",
                format!("{node} obeys epoch {epoch}, ours is {}", self.epoch),
            );
            // Not stored: then the next hello after a restart says it again.
            if let Err(error) = self.store.commit(record).await {
                tracing::error!(%error, "that a newer coordinator was heard of is not on disk");
            }
            self.tell(epoch);
            self.newer.send_replace(Some(epoch));
        }
        true
    }

    fn tell(&self, newer: u64) {
        tracing::error!(
            newer,
            ours = self.epoch,
            "agents obey a newer coordinator: this one is read-only from now on"
        );
        self.store.notice(format!(
            "SUPERSEDED: agents obey a newer coordinator (epoch {newer}, ours is {}), so this one is read-only and orders \
             nothing. {}",
            self.epoch,
            what_next()
        ));
    }

    /// Why a change is not made here.
    pub fn refusal(&self) -> Option<Problem> {
        self.newer().map(|newer| {
            Problem::new(
                "refused-superseded",
                "this coordinator was superseded and is read-only",
            )
            .because(format!(
                "agents obey a newer one: it was restored from a backup of this one (epoch {newer}, ours is {})",
                self.epoch
            ))
            .next(what_next())
        })
    }
}

fn what_next() -> &'static str {
    "Use the newer one and stop this one: systemctl disable --now quorate-coordinator. If this is the one to keep, stop the \
     other, then here: quorate backup --offline FILE; quorate restore --force FILE"
}

/// The clock is part of it, so that a copy of the state that was put back by hand does not go back to an epoch that was
/// used before.
async fn next_epoch(store: &Store) -> Result<u64, StoreError> {
    let key = Key::meta("epoch");
    let last: u64 = store.read(&key)?.unwrap_or_default();
    let restored: u64 = store.read(&restored_key())?.unwrap_or_default();
    let seconds = u64::try_from(crate::clock::unix()).unwrap_or_default();
    let lower = seconds & ((1 << EPOCH_TENURE_SHIFT) - 1);
    let epoch = (restored << EPOCH_TENURE_SHIFT | lower).max(last.saturating_add(1));
    store.commit(Transaction::new().put(key, &epoch)).await?;
    Ok(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Files;

    struct Bench {
        _folder: tempfile::TempDir,
        store: Arc<Store>,
        authority: Arc<Authority>,
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        files.create_ca(crate::clock::now()).unwrap();
        let store = Arc::new(Store::in_memory());
        let authority = Authority::open(folder.path(), Vec::new(), Arc::clone(&store)).unwrap();
        Bench {
            authority: Arc::new(authority),
            _folder: folder,
            store,
        }
    }

    impl Bench {
        async fn begin(&self) -> Tenure {
            let (store, authority) = (Arc::clone(&self.store), Arc::clone(&self.authority));
            Tenure::begin(store, authority).await.unwrap()
        }

        async fn put(&self, key: Key, value: u64) {
            let transaction = Transaction::new().put(key, &value);
            self.store.commit(transaction).await.unwrap();
        }
    }

    #[tokio::test]
    async fn epochs_only_rise() {
        let bench = bench();
        let first = bench.begin().await.epoch();
        let second = bench.begin().await.epoch();
        assert!(first < second);
        // A clock that went back, or a state that another machine had used.
        let far = second + 1_000_000_000;
        bench.put(Key::meta("epoch"), far).await;
        assert_eq!(bench.begin().await.epoch(), far + 1);
    }

    #[tokio::test]
    async fn what_was_restored_outranks_every_later_start() {
        let bench = bench();
        let old = bench.begin().await.epoch();
        let restored = u64::try_from(crate::clock::unix()).unwrap();
        bench.put(restored_key(), restored).await;
        let new = bench.begin().await.epoch();
        assert_eq!(new >> EPOCH_TENURE_SHIFT, restored);
        assert_eq!(old >> EPOCH_TENURE_SHIFT, 0);
        let again = bench.begin().await.epoch();
        assert!(again > new);
        bench.put(restored_key(), restored + 1).await;
        assert!(bench.begin().await.epoch() >> EPOCH_TENURE_SHIFT > restored);
    }

    #[tokio::test]
    async fn only_a_proof_supersedes_and_then_for_good() {
        let bench = bench();
        let tenure = bench.begin().await;
        let newer = tenure.epoch() + 5;
        let seal = |epoch: u64| bench.authority.seal(PURPOSE, &epoch.to_be_bytes());
        let own = tenure.proof();
        for (epoch, proof) in [
            (tenure.epoch(), own.clone()),
            (newer, Vec::new()),
            (newer, own),
            (newer + 1, seal(newer)),
        ] {
            assert!(!tenure.heard("n1", epoch, &proof).await);
        }
        assert!(tenure.refusal().is_none());
        assert!(tenure.heard("n1", newer, &seal(newer)).await);
        tenure.superseded().await;
        assert_eq!(tenure.refusal().unwrap().code, "refused-superseded");
        // A start raises the epoch, and still is not what agents obey.
        let again = bench.begin().await;
        assert_eq!(again.newer(), Some(newer));
        let notices = bench.store.notices();
        assert!(
            notices.iter().any(|it| it.starts_with("SUPERSEDED")),
            "{notices:?}"
        );
    }
}
