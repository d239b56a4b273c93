//! Records that are read again and again, decoded once for each time that they were written.

use super::{Prefix, Revision, Store, StoreError, decode};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Held<T> {
    prefix: Prefix,
    values: BTreeMap<Arc<str>, (Revision, Arc<T>)>,
}

impl<T: DeserializeOwned> Held<T> {
    pub fn new(prefix: Prefix) -> Self {
        Held {
            prefix,
            values: BTreeMap::new(),
        }
    }

    /// As [`Store::scan`] has them now.
    pub fn look(&mut self, store: &Store) -> Result<Vec<(String, Arc<T>)>, StoreError> {
        let found = store
            .shared
            .records(|records| records.below(self.prefix.as_str()));
        let mut before = std::mem::take(&mut self.values);
        for (key, record) in found {
            let held = before.remove(&key);
            let held = held.filter(|(revision, _)| *revision == record.revision);
            let value = match held {
                Some(held) => held,
                None => (record.revision, Arc::new(decode(&key, &record)?.value)),
            };
            self.values.insert(key, value);
        }
        let each = self.values.iter();
        Ok(each
            .map(|(key, (_, value))| (self.prefix.rest(key), Arc::clone(value)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Key, Kind, Transaction};

    #[tokio::test]
    async fn what_is_held_is_what_is_stored() {
        let store = Store::in_memory();
        let mut held = Held::<u32>::new(Prefix::under(Kind::Finding, &["a"]));
        let put = |node: &str, value: u32| Transaction::new().put(Key::finding("a", node), &value);
        let values = |held: &mut Held<u32>| -> Vec<(String, u32)> {
            let seen = held.look(&store).unwrap();
            seen.iter()
                .map(|(key, value)| (key.clone(), **value))
                .collect()
        };
        assert_eq!(values(&mut held), []);
        let none = store.changes(Kind::Finding);
        store.commit(put("x", 1)).await.unwrap();
        store.commit(put("y", 2)).await.unwrap();
        assert_eq!(
            values(&mut held),
            [("x".to_owned(), 1), ("y".to_owned(), 2)]
        );
        let kept = Arc::clone(&held.look(&store).unwrap()[1].1);
        store.commit(put("x", 3)).await.unwrap();
        let seen = held.look(&store).unwrap();
        assert_eq!(*seen[0].1, 3);
        assert!(Arc::ptr_eq(&kept, &seen[1].1), "decoded again for nothing");
        let gone = Transaction::new().delete(Key::finding("a", "x"));
        store.commit(gone).await.unwrap();
        assert_eq!(values(&mut held), [("y".to_owned(), 2)]);
        assert_eq!(store.changes(Kind::Finding), none + 4);
        assert_eq!(store.changes(Kind::Cluster), 0);
    }
}
