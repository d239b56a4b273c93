//! What conditions, groups and the audit trail promise; the same for both kinds of store.

use super::*;

fn each(test: impl Fn(Store)) {
    test(Store::in_memory());
    let folder = tempfile::tempdir().unwrap();
    test(open(folder.path()));
}

#[test]
fn conditions_name_the_key_that_conflicts() {
    each(|store| {
        let first = store.commit_blocking(put("a", 1)).unwrap();
        let taken = store.commit_blocking(put("a", 2).absent(Key::node("a")));
        assert!(matches!(taken, Err(StoreError::Conflict(key)) if key == "node/a"));
        let second = store
            .commit_blocking(put("a", 2).unchanged(Key::node("a"), first))
            .unwrap();
        assert!(second > first);
        let stale = store.commit_blocking(put("a", 3).unchanged(Key::node("a"), first));
        assert!(stale.unwrap_err().is_conflict());
        let gone = store.commit_blocking(put("b", 3).unchanged(Key::node("b"), first));
        assert!(gone.unwrap_err().is_conflict());
        let entry = store.entry::<u64>(&Key::node("a")).unwrap().unwrap();
        assert_eq!((entry.value, entry.revision), (2, second));
        assert_eq!(store.revision(), second);
    });
}

#[test]
fn a_refused_transaction_writes_nothing_at_all() {
    each(|store| {
        store.commit_blocking(put("a", 1)).unwrap();
        let before = store.revision();
        let refused = put("b", 1)
            .delete(Key::node("a"))
            .audit("admin/root", "try", "")
            .absent(Key::node("a"));
        assert!(store.commit_blocking(refused).is_err());
        assert_eq!(all(&store), [("a".to_owned(), 1)]);
        assert!(store.audit(10).unwrap().is_empty());
        assert_eq!(store.revision(), before);
    });
}

#[test]
fn deletes_reach_what_the_same_transaction_put() {
    each(|store| {
        store.commit_blocking(put("a", 1)).unwrap();
        let mixed = put("b", 2)
            .delete_all(Prefix::all(Kind::Node))
            .put(Key::node("c"), &3_u64);
        store.commit_blocking(mixed).unwrap();
        assert_eq!(all(&store), [("c".to_owned(), 3)]);
    });
}

#[tokio::test]
async fn of_many_at_once_exactly_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..100 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            store
                .commit(put("slot", at).absent(Key::node("slot")))
                .await
                .is_ok()
        });
    }
    let won = tasks
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
}

#[test]
fn the_audit_trail_is_in_order_and_bounded() {
    each(|store| {
        let line = |at: usize| {
            Transaction::new()
                .put(Key::meta("x"), &at)
                .audit("admin/root", "count", at.to_string())
        };
        for at in 0..3 {
            store.commit_blocking(line(at)).unwrap();
        }
        let newest = store.audit(2).unwrap();
        let said: Vec<_> = newest
            .iter()
            .map(|(at, line)| (*at, line.detail.as_str()))
            .collect();
        assert_eq!(said, [(3, "2"), (2, "1")]);
        let many = (0..AUDIT_KEPT).fold(Transaction::new(), |t, _| t.audit("a", "b", "c"));
        store.commit_blocking(many).unwrap();
        assert_eq!(store.audit(usize::MAX).unwrap().len(), AUDIT_KEPT);
        store.commit_blocking(line(9)).unwrap();
        let kept = store.audit(usize::MAX).unwrap();
        assert_eq!((kept.len(), kept[0].0), (AUDIT_KEPT, AUDIT_KEPT as u64 + 4));
    });
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    each(|store| {
        let pairs = std::collections::BTreeMap::from([((1, 2), 3)]);
        let wrong = put("a", 1).put(Key::node("b"), &pairs);
        assert!(matches!(
            store.commit_blocking(wrong),
            Err(StoreError::Encode { .. })
        ));
        assert!(all(&store).is_empty());
        store.commit_blocking(put("a", 1)).unwrap();
        assert!(matches!(
            store.read::<String>(&Key::node("a")),
            Err(StoreError::Decode { .. })
        ));
    });
}

#[test]
fn the_surplus_is_the_oldest_that_ended() {
    each(|store| {
        for (key, ended) in [("1", 1), ("2", 0), ("3", 1), ("4", 1)] {
            store.commit_blocking(put(key, ended)).unwrap();
        }
        let over = |kept| {
            store
                .surplus(&Prefix::all(Kind::Node), kept, |ended: &u64| *ended == 1)
                .unwrap()
        };
        assert_eq!(over(3), [""; 0]);
        assert_eq!(over(1), ["1", "3"]);
    });
}
