//! Bytes that change under the store: the right data, or restored with a notice. Never a panic, never a silent loss.

use super::*;
use std::fs;
use std::path::PathBuf;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Damages one file of a copy in many ways; the data must be whole each time. Returns how often a restore was needed.
fn harm(
    original: &Path,
    expected: &[(String, u64)],
    damage: &dyn Fn(&mut Vec<u8>, usize),
    steps: usize,
) -> usize {
    let mut restored = 0;
    for file in files(&original.join("db")) {
        let length = fs::metadata(&file).unwrap().len() as usize;
        let steps = steps.min(length);
        for step in 0..steps {
            let folder = tempfile::tempdir().unwrap();
            copy(original, folder.path());
            let target = folder.path().join(file.strip_prefix(original).unwrap());
            let mut bytes = fs::read(&target).unwrap();
            damage(&mut bytes, length * step / steps);
            fs::write(&target, bytes).unwrap();
            let store = open(folder.path());
            assert_eq!(all(&store), expected, "{} step {step}", file.display());
            restored += usize::from(!store.notices().is_empty());
            store.commit_blocking(put("later", 1)).unwrap();
        }
    }
    restored
}

#[test]
fn flipped_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let expected = filled(folder.path());
    let restored = harm(folder.path(), &expected, &|bytes, at| bytes[at] ^= 0x55, 24);
    assert!(restored > 0);
}

#[test]
fn truncated_files() {
    let folder = tempfile::tempdir().unwrap();
    let expected = filled(folder.path());
    let restored = harm(
        folder.path(),
        &expected,
        &|bytes, at| bytes.truncate(at),
        10,
    );
    assert!(restored > 0);
}

/// The same in each 4 KiB of a larger one. Takes minutes.
#[test]
#[ignore = "takes minutes"]
fn each_4_kib() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let store = open(folder.path());
    for at in 0..3000 {
        store
            .commit_blocking(put(&format!("more{at}"), at))
            .unwrap();
    }
    let expected = all(&store);
    drop(store);
    let size = fs::metadata(folder.path().join("db/db")).unwrap().len() as usize;
    let steps = size / 4096;
    let flipped = harm(
        folder.path(),
        &expected,
        &|bytes, at| bytes[at] ^= 0x80,
        steps,
    );
    let cut = harm(
        folder.path(),
        &expected,
        &|bytes, at| bytes.truncate(at),
        steps,
    );
    println!("{steps} steps: restored after {flipped} flips, {cut} cuts");
}

/// The state of a store whose process died: no last export, only the tail.
fn killed(folder: &Path) -> Vec<(String, u64)> {
    let live = tempfile::tempdir().unwrap();
    filled(live.path());
    let store = open(live.path());
    for at in 0..5 {
        store
            .commit_blocking(put(&format!("late{at}"), at))
            .unwrap();
    }
    copy(live.path(), folder);
    all(&store)
}

#[test]
fn a_killed_store_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let expected = killed(folder.path());
    let store = open(folder.path());
    assert_eq!(all(&store), expected);
    assert!(store.notices().is_empty());
}

#[test]
fn the_tail_saves_what_no_export_has() {
    let folder = tempfile::tempdir().unwrap();
    let expected = killed(folder.path());
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    let store = open(folder.path());
    assert_eq!(all(&store), expected);
    let notices = store.notices();
    assert!(
        notices.len() == 1 && notices[0].contains("damaged"),
        "{notices:?}"
    );
    assert!(store.revision() > Revision(1_000_000));
    drop(store);
    // Until the damaged copy is removed.
    let store = open(folder.path());
    assert_eq!((all(&store), store.notices().len()), (expected, 1));
}

#[test]
fn a_rolled_back_database_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let old = tempfile::tempdir().unwrap();
    copy(&folder.path().join("db"), old.path());
    let store = open(folder.path());
    store.commit_blocking(put("newer", 1)).unwrap();
    let expected = all(&store);
    drop(store);
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    copy(old.path(), &folder.path().join("db"));
    let store = open(folder.path());
    assert_eq!(all(&store), expected);
    assert!(store.notices()[0].contains("ends at revision 10, but 11 was committed"));
}

#[test]
fn a_damaged_export_gives_way_to_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let expected = killed(folder.path());
    let newest = export::list(&folder.path().join("exports"))
        .unwrap()
        .pop()
        .unwrap()
        .1;
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    fs::write(folder.path().join("db/db"), b"no database").unwrap();
    assert_eq!(all(&open(folder.path())), expected);
}

#[test]
fn without_any_second_copy_it_stays_closed() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    fs::remove_dir_all(folder.path().join("exports")).unwrap();
    fs::write(folder.path().join("db/db"), vec![7; 600_000]).unwrap();
    let refused = Store::open(folder.path());
    assert!(matches!(refused, Err(StoreError::Corrupt(reason)) if reason.contains("no export")));
    assert!(folder.path().join("db/db").exists());
}
