//! `quorate-agent snapshot FILE`: a snapshot that was exported before is put on this member's shelf, so that its cluster can go back to it.

use super::restore::{Restorer, programs};
use super::shelf::{self, Shelf};
use super::stream::Check;
use crate::host::files;
use crate::journal::now_ms;
use crate::marks;
use crate::paths::Paths;
use quorate_proto::v1::{Problem, SnapshotInfo};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

const PIECE_BYTES: usize = 1024 * 1024;

/// Also what is there already: put there twice, it lies there once.
pub async fn add(paths: &Paths, file: &Path) -> Result<SnapshotInfo, Problem> {
    let cluster = marks::load(paths)?.cluster_id;
    if !shelf::is_cluster_id(&cluster) {
        return Err(
            Problem::new("not-prepared", "this node is no member of a cluster")
                .because("a cluster goes back to a snapshot that lies on one of its members")
                .next("form the cluster first: quorate apply; then add the file on a member"),
        );
    }
    let shelf = Shelf::open(paths, &cluster)?;
    let part = shelf.added();
    let added = put(paths, &cluster, &shelf, file, &part).await;
    if added.is_err() {
        files::remove(&part)?;
    }
    added
}

async fn put(
    paths: &Paths,
    cluster: &str,
    shelf: &Shelf,
    file: &Path,
    part: &Path,
) -> Result<SnapshotInfo, Problem> {
    let saved = copy(file, part)?;
    let mut present = shelf::list(paths, cluster).into_iter();
    if let Some(present) = present.find(|it| it.sha256 == saved.sha256) {
        files::remove(part)?;
        return Ok(present);
    }
    let revision = Restorer::find(&programs()).await?.revision(part).await?;
    let modified = fs::metadata(file).and_then(|meta| meta.modified()).ok();
    let taken = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let info = SnapshotInfo {
        // Of now: what is put here by hand is not the oldest, which makes room first.
        id: ulid::Ulid::new().to_string(),
        taken_unix_ms: taken
            .and_then(|it| i64::try_from(it.as_millis()).ok())
            .unwrap_or_else(now_ms),
        bytes: saved.bytes,
        sha256: saved.sha256,
        revision,
        ..SnapshotInfo::default()
    };
    shelf.put_from(part, info)
}

/// Onto the shelf's disk, checked by etcd's own digest on the way.
fn copy(file: &Path, part: &Path) -> Result<super::stream::Saved, Problem> {
    let fail = |path: &Path| {
        let place = path.display().to_string();
        move |error: std::io::Error| {
            Problem::new("file", format!("cannot copy a snapshot: {error}")).at(place.clone())
        }
    };
    let mut from = File::open(file).map_err(fail(file))?;
    let mut to = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(part)
        .map_err(fail(part))?;
    let (mut check, mut piece) = (Check::default(), vec![0; PIECE_BYTES]);
    loop {
        let read = from.read(&mut piece).map_err(fail(file))?;
        if read == 0 {
            break;
        }
        check.take(&piece[..read]);
        to.write_all(&piece[..read]).map_err(fail(part))?;
    }
    let saved = check
        .finish()
        .map_err(|problem| problem.at(file.display().to_string()))?;
    to.sync_all().map_err(fail(part))?;
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::EtcdClient;
    use crate::etcd::testing::TestCluster;
    use std::time::Duration;

    const CLUSTER: &str = "01jd0000000000000000000000";

    #[tokio::test]
    async fn what_was_exported_lies_here_once_and_whole() {
        let cluster = TestCluster::start().await;
        let access = cluster.access(1);
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let file = root.path().join("exported.db");
        let client = EtcdClient::new(&access, Duration::from_secs(5));
        super::super::stream::save(&client, &file).await.unwrap();
        let refused = add(&paths, &file).await.unwrap_err();
        assert_eq!(refused.code, "not-prepared");
        marks::update(&paths, |marks| marks.cluster_id = CLUSTER.to_owned()).unwrap();
        let first = add(&paths, &file).await.unwrap();
        // An empty key space has no revision in the file.
        assert!(first.bytes > 1024 && first.revision == 0, "{first:?}");
        assert_eq!(add(&paths, &file).await.unwrap(), first);
        assert_eq!(shelf::list(&paths, CLUSTER), std::slice::from_ref(&first));

        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 512]).unwrap();
        assert_eq!(
            add(&paths, &file).await.unwrap_err().code,
            "snapshot-damaged"
        );
        let missing = add(&paths, Path::new("/no/such/file")).await.unwrap_err();
        assert_eq!(missing.code, "file");
        assert_eq!(shelf::list(&paths, CLUSTER), [first]);
        let folder = paths.snapshots().join(CLUSTER);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
    }
}
