//! etcd's stream into a file, with etcd's own digest checked on the way. Never in memory as a whole.

use crate::etcd::EtcdClient;
use quorate_proto::v1::Problem;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;

/// A member that sends nothing for so long hangs.
const STALLED: Duration = Duration::from_secs(30);
/// The digest that etcd appends to its database.
const DIGEST: usize = 32;
/// Databases consist of whole pages; this divides every page size.
const PAGE: u64 = 512;

pub struct Saved {
    pub bytes: u64,
    /// Of the whole file, the appended digest included.
    pub sha256: String,
}

/// Returns once the file is whole and on disk.
pub async fn save(client: &EtcdClient, path: &Path) -> Result<Saved, Problem> {
    let fail = |error: std::io::Error| {
        let problem = Problem::new("file", format!("cannot write a snapshot: {error}"));
        problem.at(path.display().to_string())
    };
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .await
        .map_err(fail)?;
    let mut stream = client
        .snapshot()
        .await
        .map_err(|failure| failure.problem())?;
    let mut check = Check::default();
    loop {
        let piece = tokio::time::timeout(STALLED, stream.message())
            .await
            .map_err(|_| stalled())?
            .map_err(|status| client.broken(&status).problem())?;
        let Some(piece) = piece else { break };
        check.take(&piece.blob);
        file.write_all(&piece.blob).await.map_err(fail)?;
    }
    let saved = check.finish()?;
    file.sync_all().await.map_err(fail)?;
    Ok(saved)
}

/// Keeps back the last bytes: they are the digest of the others.
#[derive(Default)]
pub struct Check {
    content: Sha256,
    whole: Sha256,
    last: Vec<u8>,
    bytes: u64,
}

impl Check {
    pub fn take(&mut self, piece: &[u8]) {
        self.whole.update(piece);
        self.bytes += piece.len() as u64;
        self.last.extend_from_slice(piece);
        let content = self.last.len().saturating_sub(DIGEST);
        self.content.update(&self.last[..content]);
        self.last.drain(..content);
    }

    pub fn finish(self) -> Result<Saved, Problem> {
        let pages = self.bytes.saturating_sub(DIGEST as u64);
        let whole = pages > 0 && pages.is_multiple_of(PAGE);
        if !whole || self.content.finalize().as_slice() != self.last {
            return Err(Problem::new(
                "snapshot-damaged",
                format!("the snapshot's {} bytes do not match etcd's digest of them", self.bytes),
            )
            .because("the stream was cut short, or the disk or the memory of this machine is faulty")
            .next("quorate snapshot create takes another; see etcd's log and the machine's if it fails again"));
        }
        Ok(Saved {
            bytes: self.bytes,
            sha256: hex::encode(self.whole.finalize()),
        })
    }
}

fn stalled() -> Problem {
    Problem::new(
        "etcd-no-answer",
        format!(
            "etcd sent nothing of a snapshot for {} s",
            STALLED.as_secs()
        ),
    )
    .because("its disk is slow, or it hangs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pieces: &[&[u8]]) -> Result<u64, String> {
        let mut check = Check::default();
        for piece in pieces {
            check.take(piece);
        }
        check
            .finish()
            .map(|saved| saved.bytes)
            .map_err(|problem| problem.code)
    }

    #[test]
    fn only_what_matches_its_digest_is_whole() {
        let content = [7_u8; 1024];
        let whole = [&content[..], &Sha256::digest(content)].concat();
        let damaged = Err("snapshot-damaged".to_owned());
        assert_eq!(checked(&[&whole]), Ok(1056));
        // However it is cut into pieces.
        for size in [1, 31, 32, 33, 500, 1055] {
            let pieces: Vec<&[u8]> = whole.chunks(size).collect();
            assert_eq!(checked(&pieces), Ok(1056), "{size}");
        }
        for end in [0, 1, 32, 512, 544, 1024, 1055] {
            assert_eq!(checked(&[&whole[..end]]), damaged, "{end}");
        }
        for at in [0, 1023, 1024, 1055] {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert_eq!(checked(&[&wrong]), damaged, "{at}");
        }
        let digest_alone = Sha256::digest([]);
        assert_eq!(checked(&[&digest_alone]), damaged);
    }
}
