//! What was acknowledged is there after the store was opened again.

use super::*;
use crate::store::staged::Writes;
use crate::store::writer::{self, Backend};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn reopened_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path());
    let store = open(folder.path());
    assert_eq!(all(&store), before);
    assert!(store.notices().is_empty());
    let next = store.commit_blocking(put("later", 1)).unwrap();
    assert_eq!(next, Revision(11));
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert!(matches!(
        Store::open(folder.path()),
        Err(StoreError::Locked(_))
    ));
    drop(store);
    open(folder.path());
}

#[test]
fn an_unfinished_snapshot_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path());
    let left = folder.path().join("db/snap.00000000FFFFFFFF.generating");
    std::fs::write(&left, b"half").unwrap();
    let store = open(folder.path());
    assert!(!left.exists());
    assert_eq!(all(&store), before);
    assert!(store.notices().is_empty());
}

#[tokio::test]
async fn a_closed_store_refuses_and_keeps_what_was_queued() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (written, ()) = tokio::join!(store.commit(put("a", 1)), store.close());
    written.unwrap();
    assert!(matches!(
        store.commit(put("b", 1)).await,
        Err(StoreError::Closed)
    ));
    let again = open(folder.path());
    assert_eq!(all(&again), [("a".to_owned(), 1)]);
}

#[test]
fn exports_and_tails_stay_few() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..12 {
        open(folder.path()).commit_blocking(put("a", at)).unwrap();
    }
    let exports = folder.path().join("exports");
    let files = std::fs::read_dir(exports).unwrap().count();
    assert!(files <= 2 * export::KEPT + 2, "{files}");
}

/// Counts the writes that would each end in an fsync, the first of which takes long.
struct Slow {
    writes: Arc<AtomicUsize>,
    go: std::sync::mpsc::Receiver<()>,
}

impl Backend for Slow {
    fn ready(&mut self, _: &Shared) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, _: &Records, _: &Writes, _: Revision) -> Result<(), StoreError> {
        if self.writes.fetch_add(1, Ordering::SeqCst) == 0 {
            self.go.recv().unwrap();
        }
        Ok(())
    }

    fn written(&mut self, _: &Shared) {}

    fn close(&mut self, _: &Shared) {}
}

#[tokio::test]
async fn what_waits_for_one_fsync_shares_the_next() {
    let writes = Arc::new(AtomicUsize::new(0));
    let (start, go) = std::sync::mpsc::channel();
    let slow = Slow {
        writes: Arc::clone(&writes),
        go,
    };
    let store = Arc::new(Store::start(slow, Records::default(), Vec::new()));
    let commit = |at: u64| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(put(&at.to_string(), at)).await })
    };
    let first = commit(0);
    while writes.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let rest: Vec<_> = (1..500).map(commit).collect();
    // All of them wait in the queue while the first one is being written.
    while store.queue.capacity() > QUEUE - 499 {
        tokio::task::yield_now().await;
    }
    assert!(all(&store).is_empty());
    start.send(()).unwrap();
    first.await.unwrap().unwrap();
    for one in rest {
        one.await.unwrap().unwrap();
    }
    assert_eq!(writes.load(Ordering::SeqCst), 2);
    assert_eq!(all(&store).len(), 500);
}

/// Fails once, as a disk does that comes back.
struct Failing(bool);

impl Backend for Failing {
    fn ready(&mut self, _: &Shared) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, _: &Records, _: &Writes, _: Revision) -> Result<(), StoreError> {
        match std::mem::take(&mut self.0) {
            true => Err(StoreError::NoSpace("/".into())),
            false => Ok(()),
        }
    }

    fn written(&mut self, _: &Shared) {}

    fn close(&mut self, _: &Shared) {}
}

#[test]
fn what_was_not_written_is_not_seen() {
    let store = Store::start(Failing(true), Records::default(), Vec::new());
    let refused = store.commit_blocking(put("a", 1));
    assert!(matches!(refused, Err(StoreError::NoSpace(_))));
    assert!(all(&store).is_empty());
    store.commit_blocking(put("b", 1)).unwrap();
    assert_eq!(all(&store), [("b".to_owned(), 1)]);
}

#[test]
fn jobs_after_the_end_find_the_queue_closed() {
    let shared = Shared {
        records: RwLock::default(),
        notices: RwLock::default(),
    };
    let (queue, jobs) = mpsc::channel(4);
    let (reply, answer) = oneshot::channel();
    queue.try_send(Job::Close).unwrap();
    queue.try_send(Job::Commit(put("a", 1), reply)).unwrap();
    writer::run(Memory, &shared, jobs);
    assert_eq!(answer.blocking_recv().unwrap().unwrap(), Revision(1));
    assert!(queue.is_closed());
}
