//! Bytes that changed under the store's own files: read as far as they are whole, and never as something else.

use super::*;
use crate::fuzz;
use crate::store::record::Record;
use crate::store::{export, line, tail};
use proptest::prelude::*;
use std::sync::LazyLock;

/// An export, a tail that leads on from it, and a record, as a store has written them.
struct Written {
    export: Vec<u8>,
    tail: Vec<u8>,
    record: Vec<u8>,
    revision: u64,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("folder");
    filled(folder.path());
    // A start writes an export and begins a tail.
    let store = open(folder.path());
    for at in 0..3 {
        store
            .commit_blocking(put(&format!("later{at}"), at))
            .expect("written");
    }
    let exports = folder.path().join("exports");
    let newest = |found: Vec<(Revision, std::path::PathBuf)>| {
        let filled = found
            .into_iter()
            .rev()
            .map(|(_, path)| std::fs::read(path).expect("read"));
        filled
            .into_iter()
            .find(|bytes| !bytes.is_empty())
            .expect("one of them")
    };
    let record = Record {
        revision: Revision(7),
        value: br#"{"a":1}"#.to_vec(),
    };
    Written {
        export: newest(export::list(&exports).expect("listed")),
        tail: newest(tail::list(&exports).expect("listed")),
        record: record.encode("node/a"),
        revision: store.revision().0,
    }
});

fn folder_with(export: &[u8], tail: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("export-5.jsonl"), export).expect("written");
    std::fs::write(folder.path().join("tail-5"), tail).expect("written");
    folder
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn fuzz_records(bytes in fuzz::damaged(vec![WRITTEN.record.clone()])) {
        let whole = bytes == WRITTEN.record;
        prop_assert_eq!(Record::decode("node/a", &bytes).is_ok(), whole);
        prop_assert!(Record::decode("node/b", &bytes).is_err());
    }

    #[test]
    fn fuzz_exports_and_tails(
        export in fuzz::damaged(vec![WRITTEN.export.clone()]),
        tail in fuzz::damaged(vec![WRITTEN.tail.clone()]),
    ) {
        let folder = folder_with(&export, &tail);
        let newest = export::newest(folder.path()).expect("readable");
        // An export is all or nothing; what comes behind all of it does no harm.
        prop_assert!(newest.is_none() || export.starts_with(&WRITTEN.export));
        prop_assert!(newest.is_some() || export != WRITTEN.export);
        let mut records = newest.unwrap_or_default();
        let before = records.revision;
        tail::replay(folder.path(), &mut records).expect("readable");
        prop_assert!(records.revision >= before && records.revision.0 <= WRITTEN.revision);
        let promised = tail::newest(folder.path()).expect("readable");
        prop_assert!(promised.unwrap_or_default().0 <= WRITTEN.revision);
    }

    #[test]
    fn fuzz_lines(text in fuzz::text()) {
        prop_assert!(line::decode::<serde_json::Value>(&text).is_none());
        let written = line::encode(&text).expect("JSON");
        prop_assert_eq!(line::decode::<String>(&written), Some(text));
    }

    /// Parts of keys come from certificates, tokens and files.
    #[test]
    fn fuzz_keys(one in fuzz::text(), other in fuzz::text()) {
        let key = Key::order(&one, &other);
        prop_assert!(key.as_str().bytes().all(|b| b.is_ascii_graphic()));
        prop_assert_eq!(key.as_str().matches('/').count(), 2);
        prop_assert_eq!(Prefix::under(Kind::Order, &[&one]).rest(key.as_str()), other);
    }
}
