//! Durable file writes: temporary file, fsync, rename, fsync of the folder.

use quorate_proto::v1::Problem;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Replaces the file at once or not at all. The folder must exist.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<(), Problem> {
    let fail = |error: std::io::Error| problem("write", path, &error);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".quorate-")
        .tempfile_in(folder)
        .map_err(fail)?;
    // Made with 0600; widened only before the content is public under its name.
    file.write_all(content).map_err(fail)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    File::open(folder)
        .and_then(|handle| handle.sync_all())
        .map_err(fail)
}

pub fn read_text(path: &Path) -> Result<String, Problem> {
    fs::read_to_string(path).map_err(|error| problem("read", path, &error))
}

/// With its parents; an existing folder keeps its mode.
pub fn make_folder(path: &Path, mode: u32) -> Result<(), Problem> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| problem("create", path, &error))
}

pub fn problem(verb: &str, path: &Path, error: &std::io::Error) -> Problem {
    let code = match error.kind() == ErrorKind::StorageFull {
        true => "exhausted-disk",
        false => "file",
    };
    Problem::new(code, format!("cannot {verb} a file: {error}")).at(path.display().to_string())
}

/// Of this machine; empty if it has none that can be read.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default()
}
