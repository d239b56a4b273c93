//! Saves what the local member holds into a file of this node: streamed, checked by etcd's own digest, then put on the [`shelf`]. [`restore`]: back into a data folder.

pub mod add;
pub mod restore;
pub mod send;
pub mod shelf;
mod stream;

use crate::context::{Context, Done, Outcome};
use crate::etcd::{EtcdAccess, EtcdClient};
use crate::inbox::is_order_id;
use crate::journal::now_ms;
use crate::orders::preflight::disk::existing;
use crate::paths::Paths;
use nix::sys::statvfs::statvfs;
use quorate_proto::v1::{OrderResult, OrderStatus, Problem, SnapshotInfo, TakeSnapshot};
use shelf::{Shelf, is_cluster_id};
use std::path::Path;
use std::time::Duration;

/// One answer of the member on this machine; a snapshot's first piece waits for etcd to open its database.
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// Left free beside the snapshot: etcd stops on a full disk, and on many machines its data is on the same one.
const RESERVE_BYTES: u64 = 1024 * 1024 * 1024;
/// The coordinator asks for fewer; bounds what a mistake may cost.
const MAX_KEPT: usize = 100;

pub async fn run(context: &Context, order: &TakeSnapshot) -> Done {
    let cluster = context.cluster()?;
    let access = EtcdAccess::required(&context.paths)?;
    let info = take(&context.paths, &cluster.id, &access, order).await?;
    context.say(format!(
        "snapshot {} of {} bytes at revision {}",
        info.id, info.bytes, info.revision
    ));
    Ok(Outcome {
        result: OrderResult {
            status: OrderStatus::Succeeded as i32,
            snapshot: Some(info),
            ..OrderResult::default()
        },
        sealed: None,
    })
}

async fn take(
    paths: &Paths,
    cluster: &str,
    access: &EtcdAccess,
    order: &TakeSnapshot,
) -> Result<SnapshotInfo, Problem> {
    // Both become names of files.
    let kept = usize::try_from(order.keep).unwrap_or(MAX_KEPT);
    if !is_order_id(&order.snapshot) || !is_cluster_id(cluster) || !(1..=MAX_KEPT).contains(&kept) {
        return Err(Problem::new(
            "order-malformed",
            "the order names no proper snapshot, cluster or number to keep",
        )
        .next("install the same version of both packages"));
    }
    let shelf = Shelf::open(paths, cluster)?;
    if let Some(present) = shelf.get(&order.snapshot) {
        shelf.prune(kept)?;
        return Ok(present);
    }
    let client = EtcdClient::new(access, CALL_WITHIN);
    let status = client.status().await.map_err(|failure| failure.problem())?;
    if status.is_learner {
        return Err(Problem::new(
            "member-is-learner",
            "a learner may be behind: snapshots are of voters",
        ));
    }
    let size = u64::try_from(status.db_size).unwrap_or_default();
    check_space(&paths.snapshots(), size)?;
    let saved = stream::save(&client, &shelf.part()).await?;
    let header = status.header.unwrap_or_default();
    let info = SnapshotInfo {
        id: order.snapshot.clone(),
        taken_unix_ms: now_ms(),
        bytes: saved.bytes,
        sha256: saved.sha256,
        revision: u64::try_from(header.revision).unwrap_or_default(),
        etcd_version: status.version,
        place: String::new(),
    };
    let info = shelf.put(info)?;
    shelf.prune(kept)?;
    Ok(info)
}

fn check_space(folder: &Path, size: u64) -> Result<(), Problem> {
    let folder = existing(folder.to_owned());
    let place = folder.display().to_string();
    let stat = statvfs(&folder).map_err(|error| {
        Problem::new(
            "disk-unknown",
            format!("cannot read the free space: {error}"),
        )
        .at(&place)
    })?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    judge_space(free, size).map_err(|problem| problem.at(place))
}

fn judge_space(free: u64, size: u64) -> Result<(), Problem> {
    let needed = size.saturating_add(RESERVE_BYTES);
    if free >= needed {
        return Ok(());
    }
    Err(Problem::new(
        "little-space",
        format!("a snapshot of {size} bytes needs {needed} bytes free, and {free} are"),
    )
    .because("the disk fills up; a snapshot may not be what stops etcd")
    .next("free space or enlarge the disk"))
}

#[cfg(test)]
mod tests;
