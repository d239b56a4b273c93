//! Deep merge of TOML tables, without the comments and layout of either.

use toml_edit::{Item, Table, TableLike, Value};

/// Sets the value below these names, making the tables on the way.
pub fn set(table: &mut Table, path: &[&str], value: impl Into<Value>) {
    match path {
        [] => {}
        [key] => {
            table.insert(key, Item::Value(value.into()));
        }
        [key, rest @ ..] => {
            let below = table.entry(key).or_insert_with(|| Item::Table(implicit()));
            if let Some(below) = below.as_table_mut() {
                set(below, rest, value);
            }
        }
    }
}

/// Printed only as part of its children's names, unless it holds values itself.
fn implicit() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

/// Tables merge key by key; everything else of the drop-in replaces what was there.
pub fn merge(into: &mut Table, from: &dyn TableLike) {
    for (key, item) in from.iter() {
        let Some(below) = item.as_table_like() else {
            into.insert(key, bare(item));
            continue;
        };
        let target = into.entry(key).or_insert_with(|| Item::Table(implicit()));
        if !target.is_table() {
            *target = Item::Table(implicit());
        }
        if let Some(target) = target.as_table_mut() {
            if below.is_empty() {
                target.set_implicit(false);
            }
            merge(target, below);
        }
    }
}

/// Without the comments and spaces around it, which belong to another file.
fn bare(item: &Item) -> Item {
    let mut item = item.clone();
    if let Some(value) = item.as_value_mut() {
        value.decor_mut().clear();
    }
    item
}
