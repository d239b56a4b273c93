//! What can go wrong in the store.

use quorate_proto::v1::Problem;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("another coordinator uses {0}")]
    Locked(PathBuf),
    #[error("cannot {what} {path}: {reason}")]
    Io {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    /// Bytes that do not mean what they should.
    #[error("damaged: {0}")]
    Corrupt(String),
    /// A precondition of a transaction did not hold; nothing of it was written.
    #[error("{0} was changed by somebody else")]
    Conflict(String),
    #[error("cannot encode {key}: {reason}")]
    Encode { key: String, reason: String },
    #[error("cannot decode {key}: {reason}")]
    Decode { key: String, reason: String },
    #[error("the disk that holds {0} is full")]
    NoSpace(PathBuf),
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &Path, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return StoreError::NoSpace(path.to_owned());
        }
        StoreError::Io {
            what,
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    pub fn is_conflict(&self) -> bool {
        matches!(self, StoreError::Conflict(_))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = Problem::new(error.code(), error.to_string());
        match error {
            StoreError::Locked(_) => problem
                .because("its service is running")
                .next("systemctl status quorate-coordinator"),
            StoreError::Conflict(_) => problem
                .because("two changes of the same thing at the same time")
                .next("look at the present state and try again"),
            StoreError::NoSpace(path) => problem
                .at(path.display().to_string())
                .next("free space; the coordinator goes on by itself"),
            StoreError::Corrupt(_) | StoreError::Decode { .. } => {
                problem.next("restart the coordinator: it restores its newest export and says so")
            }
            StoreError::Io { .. } | StoreError::Encode { .. } | StoreError::Closed => problem,
        }
    }
}

impl StoreError {
    fn code(&self) -> &'static str {
        match self {
            StoreError::Locked(_) => "store-locked",
            StoreError::Io { .. } => "store-io",
            StoreError::Corrupt(_) => "store-corrupt",
            StoreError::Conflict(_) => "conflict-changed",
            StoreError::Encode { .. } => "store-encode",
            StoreError::Decode { .. } => "store-decode",
            StoreError::NoSpace(_) => "exhausted-disk",
            StoreError::Closed => "unavailable-store",
        }
    }
}
