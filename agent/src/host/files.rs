//! Durable file writes: temporary file, fsync, rename, fsync of the folder.

use quorate_proto::v1::Problem;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path, &error)),
    }
}

pub fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| io("read", path, &error))
}

pub fn read_text(path: &Path) -> Result<String, Problem> {
    fs::read_to_string(path).map_err(|error| io("read", path, &error))
}

/// Replaces the file at once or not at all; makes missing folders (0755, or 0700 under a 0600 file).
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<(), Problem> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    make_folder(folder, if mode & 0o077 == 0 { 0o700 } else { 0o755 })?;
    let fail = |error: std::io::Error| io("write", path, &error);
    let mut file = tempfile::Builder::new()
        .prefix(".quorate-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    // The builder's mode passes through the umask; the asked mode is exact.
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    sync_folder(folder)
}

/// [`write_atomic`] with mode and owner of a file that is there already, often the one that is replaced.
pub fn write_like(path: &Path, like: &Path, content: &[u8]) -> Result<(), Problem> {
    let meta = fs::metadata(like).map_err(|error| io("look at", like, &error))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let fail = |error: std::io::Error| io("write", path, &error);
    let mut file = tempfile::Builder::new()
        .prefix(".quorate-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    // The owner first: the mode may let a group in.
    fchown(file.as_file(), Some(meta.uid()), Some(meta.gid())).map_err(fail)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))
        .map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    sync_folder(folder)
}

/// Moves a file within its folder, durably.
pub fn rename(from: &Path, to: &Path) -> Result<(), Problem> {
    fs::rename(from, to).map_err(|error| io("rename", from, &error))?;
    sync_folder(to.parent().unwrap_or(Path::new("/")))
}

/// Writes only if the content or the mode differs. Returns whether it wrote.
pub fn write_if_changed(path: &Path, content: &[u8], mode: u32) -> Result<bool, Problem> {
    let same_mode = fs::metadata(path)
        .map(|meta| meta.permissions().mode() & 0o7777 == mode)
        .unwrap_or(false);
    if same_mode && read_optional(path)?.as_deref() == Some(content) {
        return Ok(false);
    }
    write_atomic(path, content, mode)?;
    Ok(true)
}

/// Creates the folder and its parents; an existing one keeps its mode.
pub fn make_folder(folder: &Path, mode: u32) -> Result<(), Problem> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent, 0o755)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(mode))
            .map_err(|error| io("set the mode of", folder, &error)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io("create", folder, &error)),
    }
}

pub fn remove(path: &Path) -> Result<(), Problem> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path.parent().unwrap_or(Path::new("/"))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("remove", path, &error)),
    }
}

/// Removes a folder with all in it, or its content alone when the folder itself is a mount point.
pub fn remove_tree(path: &Path) -> Result<(), Problem> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::ResourceBusy => Ok(()),
        Err(error) => Err(io("remove", path, &error)),
    }
}

/// A folder with all in it, durably, with owners and modes. The target must not be there.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), Problem> {
    let meta = fs::metadata(from).map_err(|error| io("look at", from, &error))?;
    fs::create_dir(to).map_err(|error| io("create", to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| io("read", from, &error))? {
        let entry = entry.map_err(|error| io("read", from, &error))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.path().is_dir() {
            copy_tree(&source, &target)?;
            continue;
        }
        fs::copy(&source, &target).map_err(|error| io("copy", &source, &error))?;
        let file = File::open(&target).map_err(|error| io("read", &target, &error))?;
        own_like(&file, &source)?;
        file.sync_all()
            .map_err(|error| io("sync", &target, &error))?;
    }
    let folder = File::open(to).map_err(|error| io("read", to, &error))?;
    own_like(&folder, from)?;
    folder
        .set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))
        .map_err(|error| io("set the mode of", to, &error))?;
    sync_folder(to)
}

fn own_like(file: &File, like: &Path) -> Result<(), Problem> {
    let meta = fs::metadata(like).map_err(|error| io("look at", like, &error))?;
    fchown(file, Some(meta.uid()), Some(meta.gid())).map_err(|error| io("give away", like, &error))
}

fn sync_folder(folder: &Path) -> Result<(), Problem> {
    File::open(folder)
        .and_then(|handle| handle.sync_all())
        .map_err(|error| io("sync", folder, &error))
}

fn io(verb: &str, path: &Path, error: &std::io::Error) -> Problem {
    let problem = Problem::new("file", format!("cannot {verb} a file: {error}"))
        .at(path.display().to_string());
    if error.kind() == ErrorKind::StorageFull {
        return problem
            .because("the disk is full")
            .next("free space; the order is then tried again");
    }
    if error.kind() == ErrorKind::ReadOnlyFilesystem {
        return problem.because("the file system is read-only");
    }
    problem
}

#[cfg(test)]
mod tests;
