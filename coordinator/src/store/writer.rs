//! The one thread that writes. Takes all that waits as one group, so that one fsync serves many callers.

use super::record::{Records, Revision};
use super::staged::{Staged, Writes};
use super::{Shared, StoreError, Transaction};
use tokio::sync::{mpsc, oneshot};

/// Transactions of one group: enough to hide any fsync, few enough that the first one does not wait for long.
const MAX_GROUP: usize = 1024;

pub(crate) enum Job {
    Commit(Transaction, Reply),
    Close,
}

pub(crate) type Reply = oneshot::Sender<Result<Revision, StoreError>>;

/// Where groups go.
pub(crate) trait Backend: Send + 'static {
    /// Before each group. After a failed write: opens again, and brings the records in memory to what is on disk.
    fn ready(&mut self, shared: &Shared) -> Result<(), StoreError>;
    /// Returns once the group is durable.
    fn write(
        &mut self,
        base: &Records,
        writes: &Writes,
        revision: Revision,
    ) -> Result<(), StoreError>;
    /// After a group was published.
    fn written(&mut self, shared: &Shared);
    fn close(&mut self, shared: &Shared);
}

pub(crate) struct Memory;

impl Backend for Memory {
    fn ready(&mut self, _: &Shared) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, _: &Records, _: &Writes, _: Revision) -> Result<(), StoreError> {
        Ok(())
    }

    fn written(&mut self, _: &Shared) {}

    fn close(&mut self, _: &Shared) {}
}

pub(crate) fn run(mut backend: impl Backend, shared: &Shared, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let (group, close) = collect(first, &mut jobs);
        answer_all(commit(&mut backend, shared, group));
        backend.written(shared);
        if close {
            break;
        }
    }
    // What was sent before the end was asked for is still written; later senders find the queue closed.
    let mut rest = Vec::new();
    while let Ok(job) = jobs.try_recv() {
        match job {
            Job::Commit(transaction, reply) => rest.push((transaction, reply)),
            Job::Close => {}
        }
    }
    answer_all(commit(&mut backend, shared, rest));
    backend.close(shared);
    drop(jobs);
}

pub(super) fn collect(
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
) -> (Vec<(Transaction, Reply)>, bool) {
    let mut group = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        match job {
            Job::Commit(transaction, reply) => group.push((transaction, reply)),
            Job::Close => return (group, true),
        }
        if group.len() == MAX_GROUP {
            break;
        }
        next = jobs.try_recv().ok();
    }
    (group, false)
}

/// Returns what each caller is to be told.
pub(super) fn commit(
    backend: &mut impl Backend,
    shared: &Shared,
    group: Vec<(Transaction, Reply)>,
) -> Vec<(Reply, Result<Revision, StoreError>)> {
    if group.is_empty() {
        return Vec::new();
    }
    if let Err(error) = backend.ready(shared) {
        return group
            .into_iter()
            .map(|(_, reply)| (reply, Err(error.clone())))
            .collect();
    }
    let mut answers = Vec::with_capacity(group.len());
    let mut accepted = Vec::with_capacity(group.len());
    let (result, writes, revision) = shared.records(|records| {
        let mut staged = Staged::over(records);
        for (transaction, reply) in group {
            match staged.add(transaction) {
                Ok(revision) => accepted.push((reply, revision)),
                Err(error) => answers.push((reply, Err(error))),
            }
        }
        let result = match accepted.is_empty() {
            true => Ok(()),
            false => backend.write(records, &staged.writes, staged.revision),
        };
        (result, staged.writes, staged.revision)
    });
    if result.is_ok() {
        publish(shared, writes, revision);
    }
    let written = accepted.into_iter();
    answers.extend(written.map(|(reply, revision)| (reply, result.clone().map(|()| revision))));
    answers
}

fn publish(shared: &Shared, writes: Writes, revision: Revision) {
    shared.change(|records| {
        for (key, record) in writes {
            records.apply(key, record);
        }
        records.revision = revision;
    });
}

pub(super) fn answer_all(answers: Vec<(Reply, Result<Revision, StoreError>)>) {
    for (reply, result) in answers {
        // A caller that has gone away needs no answer.
        let _ = reply.send(result);
    }
}
