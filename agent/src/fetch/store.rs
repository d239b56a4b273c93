//! The cache of artifacts on disk: one folder a digest.

use crate::host::files;
use nix::fcntl::{Flock, FlockArg};
use quorate_proto::token::is_pin;
use quorate_proto::v1::Problem;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes hashed at once.
const HASH_CHUNK: usize = 64 * 1024;
/// What a file system takes as a name.
const MAX_NAME: usize = 200;

/// A SHA-256 that is fit to be a folder's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match text.strip_prefix("sha256:") {
            Some(hex) if is_pin(text) => Ok(Digest(hex.to_owned())),
            Some(_) | None => Err(Problem::new(
                "artifact-malformed",
                "an artifact's digest is not sha256: and 64 hex digits",
            )),
        }
    }
}

pub struct Slot {
    folder: PathBuf,
}

impl Slot {
    pub fn open(cache: &Path, digest: &Digest) -> Result<Self, Problem> {
        let folder = cache.join(&digest.0);
        files::make_folder(&folder, 0o755)?;
        Ok(Slot { folder })
    }

    /// Holds off every other fetch of this digest on this machine.
    pub async fn lock(&self) -> Result<Flock<File>, Problem> {
        let path = self.folder.join("lock");
        let locked = tokio::task::spawn_blocking(move || {
            let file = File::options().create(true).append(true).open(&path)?;
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))
        })
        .await
        .map_err(io::Error::other)
        .and_then(|locked| locked);
        self.written(locked)
    }

    /// A file under this name was checked before it got the name.
    pub fn is_complete(&self, size: u64) -> Result<bool, Problem> {
        match size_of(&self.data())? {
            Some(found) if size == 0 || found == size => Ok(true),
            Some(_) => {
                files::remove(&self.data())?;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// What is there of it; a part that is too long is no part of it.
    pub fn part_size(&self, size: u64) -> Result<u64, Problem> {
        let found = size_of(&self.part())?.unwrap_or(0);
        if size > 0 && found > size {
            self.discard_part()?;
            return Ok(0);
        }
        Ok(found)
    }

    pub async fn append(&self) -> Result<tokio::fs::File, Problem> {
        let opened = tokio::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.part())
            .await;
        self.written(opened)
    }

    pub async fn digest_of_part(&self) -> Result<Digest, Problem> {
        let part = self.part();
        let hashed = tokio::task::spawn_blocking(move || hash(&part))
            .await
            .map_err(io::Error::other)
            .and_then(|hashed| hashed);
        self.written(hashed)
    }

    pub fn discard_part(&self) -> Result<(), Problem> {
        files::remove(&self.part())
    }

    pub fn complete(&self) -> Result<(), Problem> {
        let moved = File::open(self.part())
            .and_then(|part| part.sync_all())
            .and_then(|()| fs::rename(self.part(), self.data()))
            .and_then(|()| File::open(&self.folder)?.sync_all());
        self.written(moved)
    }

    /// The checked file under the artifact's own name.
    pub fn named(&self, name: &str) -> Result<PathBuf, Problem> {
        if !is_file_name(name) {
            return Err(Problem::new(
                "artifact-malformed",
                "an artifact's name is no plain file name",
            ));
        }
        let folder = self.folder.join("files");
        files::make_folder(&folder, 0o755)?;
        let file = folder.join(name);
        let same = match (fs::metadata(&file), fs::metadata(self.data())) {
            (Ok(named), Ok(data)) => named.ino() == data.ino(),
            (Ok(_) | Err(_), _) => false,
        };
        if !same {
            files::remove(&file)?;
            self.written(fs::hard_link(self.data(), &file))?;
        }
        Ok(file)
    }

    /// Errors of the disk by name.
    pub fn written<T>(&self, result: io::Result<T>) -> Result<T, Problem> {
        result.map_err(|error| {
            let problem = Problem::new(
                "artifact-store",
                format!("cannot keep an artifact: {error}"),
            )
            .at(self.folder.display().to_string());
            if matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            ) {
                problem
                    .because("the disk is full")
                    .next("free space on this node; the fetch then goes on where it stopped")
            } else {
                problem
            }
        })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn part(&self) -> PathBuf {
        self.folder.join("data.part")
    }
}

fn size_of(path: &Path) -> Result<Option<u64>, Problem> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Problem::new("artifact-store", error.to_string()).at(path.display().to_string()))
        }
    }
}

fn hash(path: &Path) -> io::Result<Digest> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // An empty artifact: nothing came, so nothing was written.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Digest(hex::encode(Sha256::digest(b""))));
        }
        Err(error) => return Err(error),
    };
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_CHUNK];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digest(hex::encode(hasher.finalize())));
        }
        hasher.update(&buffer[..read]);
    }
}

/// Letters, digits and what Debian's names need; no folder, nothing hidden, nothing that looks like an option.
fn is_file_name(name: &str) -> bool {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'~' | b':' | b'%')
    };
    !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with(['.', '-'])
        && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_become_paths() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert!(Digest::parse(&good).is_ok());
        for wrong in [
            "",
            "sha256:",
            "sha256:../../../etc/passwd",
            &good[..70],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace("sha256", "sha512"),
        ] {
            assert!(Digest::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_plain_names_become_files() {
        for good in ["kubeadm_1.33.13-1.1_amd64.deb", "a", "x:y", "g++"] {
            assert!(is_file_name(good), "{good}");
        }
        for wrong in [
            "",
            ".",
            "..",
            ".a",
            "-rf",
            "a/b",
            "a b",
            "a\n",
            "ä",
            &"a".repeat(201),
        ] {
            assert!(!is_file_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_full_disk_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let digest = Digest::parse(&format!("sha256:{}", "0a".repeat(32))).expect("digest");
        let slot = Slot::open(folder.path(), &digest).expect("slot");
        // The kernel's own answer of a full device.
        let full = fs::write("/dev/full", b"x");
        let problem = slot.written(full).expect_err("written");
        assert_eq!(problem.cause, "the disk is full");
    }
}
