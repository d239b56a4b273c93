//! Files on their way from a node to an operator: passed on piece by piece, never kept.

use quorate_proto::v1::{FileChunk, Problem};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tonic::Status;

/// At a time, in all: each holds some pieces in memory.
const AT_ONCE: usize = 8;
/// Pieces between the two connections; beyond it the node waits for the operator.
const BETWEEN: usize = 4;

pub type Sender = mpsc::Sender<Result<FileChunk, Status>>;
pub type Receiver = mpsc::Receiver<Result<FileChunk, Status>>;

#[derive(Default)]
pub struct Transfers {
    waiting: Arc<Mutex<BTreeMap<String, Waiting>>>,
}

struct Waiting {
    node: String,
    /// None: the node sends already.
    to: Option<Sender>,
}

/// Ends the transfer when dropped.
pub struct Transfer {
    pub id: String,
    waiting: Arc<Mutex<BTreeMap<String, Waiting>>>,
}

impl Transfers {
    /// For what this node will send. The sender is for who has to tell that it cannot.
    pub fn open(&self, node: &str) -> Result<(Transfer, Sender, Receiver), Problem> {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= AT_ONCE {
            return Err(Problem::new(
                "exhausted-transfers",
                format!("{AT_ONCE} files are being sent already"),
            )
            .next("try again when they are done"));
        }
        let (to, receiver) = mpsc::channel(BETWEEN);
        let id = ulid::Ulid::new().to_string();
        let entry = Waiting {
            node: node.to_owned(),
            to: Some(to.clone()),
        };
        waiting.insert(id.clone(), entry);
        let transfer = Transfer {
            id,
            waiting: Arc::clone(&self.waiting),
        };
        Ok((transfer, to, receiver))
    }

    /// Once, and only by the node that was asked.
    pub fn take(&self, id: &str, node: &str) -> Option<Sender> {
        let mut waiting = lock(&self.waiting);
        let entry = waiting.get_mut(id).filter(|entry| entry.node == node)?;
        entry.to.take()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.id);
    }
}

fn lock(waiting: &Mutex<BTreeMap<String, Waiting>>) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_once_and_not_after_the_end() {
        let transfers = Transfers::default();
        let (transfer, _, _receiver) = transfers.open("n1").unwrap();
        assert!(transfers.take(&transfer.id, "n2").is_none());
        assert!(transfers.take("other", "n1").is_none());
        assert!(transfers.take(&transfer.id, "n1").is_some());
        assert!(transfers.take(&transfer.id, "n1").is_none());
        let (second, _, _receiver) = transfers.open("n1").unwrap();
        let id = second.id.clone();
        drop(second);
        assert!(transfers.take(&id, "n1").is_none());
        let open: Vec<_> = (0..AT_ONCE).map(|_| transfers.open("n1")).collect();
        assert_eq!(open.iter().filter(|one| one.is_ok()).count(), AT_ONCE - 1);
    }
}
