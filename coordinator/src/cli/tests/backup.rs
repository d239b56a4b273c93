//! `quorate backup`, `quorate restore` and `quorate snapshot` as a person calls them.

use super::harness::Harness;
use crate::backup::{self, Place};
use crate::init::initialise;
use crate::serve::Config;
use crate::store::{Key, Store, Transaction};
use std::os::unix::fs::PermissionsExt;

/// A coordinator's files, and the bytes of its backup.
async fn prepared(harness: &Harness) -> Vec<u8> {
    let (state, etc) = (harness.path("state"), harness.path("etc"));
    let report = initialise(&state, &etc, &["10.0.0.1:7443".to_owned()])
        .await
        .unwrap();
    let place = Place::of(&Config::load(&report.config).unwrap()).unwrap();
    let store = Store::in_memory();
    let put = Transaction::new().put(Key::meta("x"), &1);
    store.commit(put).await.unwrap();
    let mut bytes = Vec::new();
    backup::write(place, &store.copy(), &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn is_checked_before_it_takes_its_place() {
    let harness = Harness::new().await;
    let bytes = prepared(&harness).await;
    let chunks = |bytes: &[u8]| bytes.chunks(1000).map(<[u8]>::to_vec).collect();
    *harness.fake.backup.lock().unwrap() = chunks(&bytes[..bytes.len() - 9]);
    let cut = harness.run("backup @b").await;
    assert_eq!(cut.code, 1, "{}", cut.err);
    assert!(cut.err.contains("cut short"), "{}", cut.err);
    assert!(!harness.path("b").exists());
    *harness.fake.backup.lock().unwrap() = chunks(&bytes);
    let ran = harness.run("backup @b").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("PRIVATE KEY"), "{}", ran.err);
    assert_eq!(std::fs::read(harness.path("b")).unwrap(), bytes);
    let mode = std::fs::metadata(harness.path("b"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // The next one would have been empty: the file is not even asked for.
    assert_eq!(harness.run("backup @b").await.code, 1);
    assert_eq!(std::fs::read(harness.path("b")).unwrap(), bytes);
    assert_eq!(harness.run("backup @b --force").await.code, 1);
    assert_eq!(std::fs::read(harness.path("b")).unwrap(), bytes);
    let left: Vec<_> = std::fs::read_dir(harness.folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(".quorate-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn comes_back_under_other_addresses() {
    let harness = Harness::new().await;
    prepared(&harness).await;
    let ran = harness
        .run("backup @b --offline --config @etc/coordinator.yaml")
        .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let elsewhere = "--state-dir @two/state --config-dir @two/etc --no-start";
    let line =
        format!("restore @b --advertise 10.0.0.2:7443 --advertise q.example:7443 {elsewhere}");
    let ran = harness.run(&line).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err
            .contains("quorate-agent coordinator 10.0.0.2:7443 q.example:7443"),
        "{}",
        ran.err
    );
    let read = Config::load(&harness.path("two/etc/coordinator.yaml")).unwrap();
    assert_eq!(read.hosts().unwrap(), ["10.0.0.2", "q.example"]);
    let ca = |place: &str| std::fs::read(harness.path(place).join("ca/ca.key")).unwrap();
    assert_eq!(ca("two/state"), ca("state"));
    let again = harness.run(&line).await;
    assert_eq!(again.code, 1);
    assert!(again.err.contains("--force"), "{}", again.err);
    let forced = harness.run(&format!("{line} --force")).await;
    assert_eq!(forced.code, 0, "{}", forced.err);
    assert!(forced.err.contains("moved aside"), "{}", forced.err);
}

#[tokio::test]
async fn snapshots_are_listed_and_taken() {
    let harness = Harness::new().await;
    let listed = harness.run("snapshot list --cluster prod").await;
    assert_eq!(listed.code, 0, "{}", listed.err);
    for word in ["01K9SNAP", "cp3 (away)", "20 MiB", "4711"] {
        assert!(listed.out.contains(word), "{word} not in\n{}", listed.out);
    }
    let names = harness.run("snapshot list -o name").await;
    assert_eq!(names.out, "01K9SNAP\n");
    // One of two members could: said, and no success.
    let made = harness.run("snapshot create --cluster prod").await;
    assert_eq!(made.code, 3, "{}", made.err);
    assert!(
        made.err
            .contains("01K9SNAP on cp2: 20 MiB at revision 4711"),
        "{}",
        made.err
    );
    assert!(made.err.contains("no room on this node"), "{}", made.err);
    assert!(
        harness
            .fake
            .calls()
            .contains(&"create-snapshot prod".to_owned())
    );
}

#[tokio::test]
async fn a_snapshot_is_exported_whole_or_not_at_all() {
    let harness = Harness::new().await;
    *harness.fake.backup.lock().unwrap() = vec![b"sav".to_vec()];
    let cut = harness.run("snapshot export 01K9SNAP @s").await;
    assert_eq!(cut.code, 1, "{}", cut.err);
    assert!(cut.err.contains("cut short") && !harness.path("s").exists());
    *harness.fake.backup.lock().unwrap() = vec![b"sav".to_vec(), b"ed".to_vec()];
    let whole = harness.run("snapshot export 01K9SNAP @s").await;
    assert_eq!(whole.code, 0, "{}", whole.err);
    assert_eq!(std::fs::read(harness.path("s")).unwrap(), b"saved");
    let mode = std::fs::metadata(harness.path("s"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // From the node that is there.
    assert!(
        harness
            .fake
            .calls()
            .contains(&"export 01K9SNAP of cp2".to_owned())
    );
    let unknown = harness.run("snapshot export 01K9OTHER @t").await;
    assert!(
        unknown.code == 1 && unknown.err.contains("no such snapshot"),
        "{}",
        unknown.err
    );
}
