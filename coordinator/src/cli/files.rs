//! Files that we read and write for the operator.

use crate::files::problem;
use quorate_proto::v1::Problem;
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Only the owner: the files hold private keys.
pub const PRIVATE: u32 = 0o600;
pub const PRIVATE_FOLDER: u32 = 0o700;

/// A regular file of UTF-8 text, at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Problem> {
    let fail = |error: std::io::Error| problem("read", path, &error);
    let file = File::options()
        .read(true)
        // A pipe without a writer must not keep us.
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(
            Problem::new("file-unreadable", "this is not a regular file")
                .at(path.display().to_string()),
        );
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    decode(bytes, limit).map_err(|problem| problem.at(path.display().to_string()))
}

/// Bounded and UTF-8, or a problem without a place.
pub fn decode(bytes: Vec<u8>, limit: u64) -> Result<String, Problem> {
    if bytes.len() as u64 > limit {
        return Err(Problem::new(
            "file-too-large",
            format!("larger than {}", super::text::units::bytes(limit)),
        ));
    }
    String::from_utf8(bytes).map_err(|_| Problem::new("file-unreadable", "this is not UTF-8 text"))
}

/// Writes a file that only the owner can read, whole or not at all. An existing one stays unless `force`.
pub fn write_private(path: &Path, content: &[u8], force: bool) -> Result<(), Problem> {
    let fail = |error: std::io::Error| problem("write", path, &error);
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new()
        .prefix(".quorate-")
        .permissions(Permissions::from_mode(PRIVATE))
        .tempfile_in(&folder)
        .map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    let persisted = if force {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    match persisted {
        Ok(_) => File::open(&folder).and_then(|f| f.sync_all()).map_err(fail),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(exists(path)),
        Err(error) => Err(problem("write", path, &error.error)),
    }
}

pub fn exists(path: &Path) -> Problem {
    Problem::new(
        "file-exists",
        "the file is there already; it was left as it is",
    )
    .at(path.display().to_string())
    .next("name another one, or add --force to replace it")
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::make_folder;
    use std::fs;

    #[test]
    fn private_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/a.key");
        make_folder(path.parent().unwrap(), PRIVATE_FOLDER).unwrap();
        write_private(&path, b"one", false).unwrap();
        let taken = write_private(&path, b"two", false).unwrap_err();
        assert_eq!(taken.code, "file-exists");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write_private(&path, b"two", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), PRIVATE);
        assert_eq!(mode(path.parent().unwrap()), PRIVATE_FOLDER);
    }

    #[test]
    fn reads_only_bounded_regular_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "four").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "four");
        assert_eq!(read_text(&path, 3).unwrap_err().code, "file-too-large");
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 4).unwrap_err().code, "file-unreadable");
        assert_eq!(
            read_text(folder.path(), 4).unwrap_err().code,
            "file-unreadable"
        );
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(read_text(&pipe, 4).unwrap_err().code, "file-unreadable");
        let missing = read_text(&folder.path().join("b"), 4).unwrap_err();
        assert!(missing.r#where.ends_with("/b"), "{missing}");
    }
}
