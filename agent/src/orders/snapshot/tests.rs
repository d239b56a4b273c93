//! Snapshots of a real etcd.

use super::*;
use crate::etcd::testing::TestCluster;
use std::os::unix::fs::PermissionsExt;

/// As the coordinator makes them.
const CLUSTER: &str = "01jd0000000000000000000000";

fn order(number: u32, keep: u32) -> TakeSnapshot {
    TakeSnapshot {
        snapshot: format!("01JD{number:022}"),
        keep,
    }
}

#[tokio::test]
async fn a_members_database_is_saved_once_and_whole() {
    let mut cluster = TestCluster::start().await;
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::under(root.path());
    let access = cluster.access(1);
    let first = take(&paths, CLUSTER, &access, &order(1, 2)).await.unwrap();
    assert!(first.revision >= 1 && first.bytes > 1024);
    let file = Path::new(&first.place);
    assert_eq!(std::fs::metadata(file).unwrap().len(), first.bytes);
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(shelf::list(&paths, CLUSTER), std::slice::from_ref(&first));
    // Killed before its result was told: the same one, whoever answers meanwhile.
    assert_eq!(
        take(&paths, CLUSTER, &access, &order(1, 2)).await.unwrap(),
        first
    );
    for number in [2, 3] {
        take(&paths, CLUSTER, &access, &order(number, 2))
            .await
            .unwrap();
    }
    let ids: Vec<String> = shelf::list(&paths, CLUSTER)
        .into_iter()
        .map(|info| info.id)
        .collect();
    assert_eq!(ids, [order(2, 2).snapshot, order(3, 2).snapshot]);
    // What is there is answered without etcd; what is not needs it, and leaves what there is.
    cluster.kill(1);
    assert!(take(&paths, CLUSTER, &access, &order(3, 2)).await.is_ok());
    let problem = take(&paths, CLUSTER, &access, &order(4, 2))
        .await
        .unwrap_err();
    assert_eq!(problem.code, "etcd-unreachable");
    assert_eq!(shelf::list(&paths, CLUSTER).len(), 2);
}

#[tokio::test]
async fn names_that_are_none_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::under(root.path());
    let cluster = TestCluster::start().await;
    let access = cluster.access(1);
    for (name, wanted) in [
        (
            CLUSTER,
            TakeSnapshot {
                snapshot: "../x".into(),
                keep: 1,
            },
        ),
        ("../x", order(1, 1)),
        (CLUSTER, order(1, 0)),
        (CLUSTER, order(1, 1_000_000)),
    ] {
        let problem = take(&paths, name, &access, &wanted).await.unwrap_err();
        assert_eq!(problem.code, "order-malformed", "{name} {wanted:?}");
    }
    assert!(!paths.snapshots().exists());
}

#[test]
fn room_for_the_snapshot_and_for_etcd() {
    const MIB: u64 = 1024 * 1024;
    assert!(judge_space(1024 * MIB, 0).is_ok());
    assert!(judge_space(1024 * MIB, 1).is_err());
    assert!(judge_space(3 * 1024 * MIB, 2048 * MIB).is_ok());
    assert!(judge_space(u64::MAX, u64::MAX).is_ok());
    assert!(judge_space(u64::MAX - 1, u64::MAX).is_err());
}
