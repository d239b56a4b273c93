mod conflicts;
mod damage;
mod durability;
mod fuzz;
mod kill;

use super::*;
use std::path::Path;

fn put(key: &str, value: u64) -> Transaction {
    Transaction::new().put(Key::node(key), &value)
}

fn all(store: &Store) -> Vec<(String, u64)> {
    store.scan(&Prefix::all(Kind::Node)).unwrap()
}

fn open(folder: &Path) -> Store {
    Store::open(folder).unwrap()
}

/// A store with ten records in ten commits.
fn filled(folder: &Path) -> Vec<(String, u64)> {
    let store = open(folder);
    for at in 0..10 {
        store.commit_blocking(put(&format!("n{at}"), at)).unwrap();
    }
    all(&store)
}
