//! Secrets on their way into an order: in memory only (tmpfs), and gone once the order has taken them.

use crate::host::files;
use crate::paths::Paths;
use prost::Message;
use quorate_proto::v1::{JoinMaterial, Problem};
use std::path::PathBuf;
use zeroize::Zeroizing;

pub fn put(paths: &Paths, id: &str, bytes: &[u8]) -> Result<(), Problem> {
    files::write_atomic(&file(paths, id), bytes, 0o600)
}

pub fn is_there(paths: &Paths, id: &str) -> bool {
    file(paths, id).exists()
}

/// Reads and removes.
pub fn take(paths: &Paths, id: &str) -> Result<Option<JoinMaterial>, Problem> {
    let file = file(paths, id);
    let Some(bytes) = files::read_optional(&file)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    files::remove(&file)?;
    // The decoder's message names fields, never values.
    JoinMaterial::decode(bytes.as_slice())
        .map(Some)
        .map_err(|error| {
            Problem::new("order-malformed", "the order's sealed part cannot be read")
                .because(error.to_string())
                .next("install the same version of both packages")
        })
}

pub fn discard(paths: &Paths, id: &str) {
    if let Err(problem) = files::remove(&file(paths, id)) {
        tracing::error!(order = id, %problem, "a sealed part was not removed");
    }
}

fn file(paths: &Paths, id: &str) -> PathBuf {
    paths.runtime().join("sealed").join(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn is_readable_once_and_by_its_owner_only() {
        let folder = tempfile::tempdir().expect("folder");
        let paths = Paths::under(folder.path());
        let material = JoinMaterial {
            token: "t".to_owned(),
            ..JoinMaterial::default()
        };
        put(&paths, "x", &material.encode_to_vec()).expect("put");
        let mode = std::fs::metadata(file(&paths, "x"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(
            take(&paths, "x").expect("taken").map(|m| m.token),
            Some("t".to_owned())
        );
        assert!(!is_there(&paths, "x"));
        assert!(take(&paths, "x").expect("nothing left").is_none());
        put(&paths, "x", &[0xff; 9]).expect("put");
        assert_eq!(take(&paths, "x").expect_err("read").code, "order-malformed");
        assert!(!is_there(&paths, "x"));
    }
}
