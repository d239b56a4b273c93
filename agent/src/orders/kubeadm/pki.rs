//! The pki folder of a control plane: made beside its place and renamed into it, so that it is there in full or not at all.
//! kubeadm writes each key before its certificate and cannot go on from half a pair.

use super::config::Config;
use super::layout::{Layout, SHARED_KEYS};
use super::phase::phase;
use crate::context::Context;
use crate::host::files;
use quorate_proto::v1::Problem;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use zeroize::Zeroizing;

/// What the control planes of a cluster share, by path below the pki folder.
pub type Shared = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// The shared keys of this node, or nothing if it has no authority.
pub fn shared(layout: &Layout<'_>) -> Result<Option<Shared>, Problem> {
    if !layout.pki().join("ca.key").exists() {
        return Ok(None);
    }
    let mut found = Shared::new();
    for name in SHARED_KEYS {
        let bytes = files::read(&layout.pki().join(name))?;
        found.insert(name.to_owned(), Zeroizing::new(bytes));
    }
    Ok(Some(found))
}

/// From what travelled here: all of the shared keys and nothing else.
pub fn received(material: &BTreeMap<String, Vec<u8>>) -> Result<Shared, Problem> {
    let expected = SHARED_KEYS.iter().copied().collect();
    let given: std::collections::BTreeSet<&str> = material.keys().map(String::as_str).collect();
    if given != expected {
        return Err(Problem::new(
            "join-material",
            "the order does not carry exactly the keys that control planes share",
        )
        .because("coordinator and agent of different versions"));
    }
    Ok(material
        .iter()
        .map(|(name, bytes)| (name.clone(), Zeroizing::new(bytes.clone())))
        .collect())
}

/// Makes the node's certificates below the shared authorities, or with new ones, and puts the folder in place.
pub async fn make(
    context: &Context,
    config: &Config,
    shared: Option<&Shared>,
) -> Result<(), Problem> {
    let layout = Layout::of(&context.paths);
    let staged = layout.staged_pki();
    files::remove_tree(&staged)?;
    files::make_folder(&staged.join("etcd"), 0o755)?;
    for (name, bytes) in shared.into_iter().flatten() {
        files::write_atomic(&staged.join(name), bytes, mode(name))?;
    }
    let text = config.for_certificates(&staged.display().to_string());
    phase(context, &["certs", "all"], &text).await?;
    files::remove_tree(&layout.pki())?;
    rename(&staged, &layout.pki())
}

/// As kubeadm's own: keys are for root alone.
fn mode(name: &str) -> u32 {
    if name.ends_with(".crt") { 0o644 } else { 0o600 }
}

fn rename(from: &Path, to: &Path) -> Result<(), Problem> {
    let moved = fs::rename(from, to).and_then(|()| {
        let folder = to.parent().unwrap_or(Path::new("/"));
        fs::File::open(folder)?.sync_all()
    });
    moved.map_err(|error| {
        Problem::new("file", format!("cannot rename a folder: {error}"))
            .at(to.display().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_all_of_the_shared_keys_and_nothing_else() {
        let all: BTreeMap<String, Vec<u8>> = SHARED_KEYS
            .iter()
            .map(|name| ((*name).to_owned(), vec![1]))
            .collect();
        assert_eq!(received(&all).unwrap().len(), SHARED_KEYS.len());

        let mut less = all.clone();
        less.remove("sa.key");
        let mut more = all.clone();
        more.insert("../../shadow".to_owned(), vec![]);
        let mut other = less.clone();
        other.insert("../sa.key".to_owned(), vec![]);
        for wrong in [less, more, other] {
            assert_eq!(received(&wrong).unwrap_err().code, "join-material");
        }
    }

    #[test]
    fn keys_are_for_root_alone() {
        assert_eq!(mode("ca.crt"), 0o644);
        for name in ["ca.key", "sa.pub", "etcd/ca.key"] {
            assert_eq!(mode(name), 0o600);
        }
    }
}
