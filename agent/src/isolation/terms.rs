//! What the node keeps of its duty to stop its pods. The duty outlives the agent and the machine's boot; whether pods may run and when
//! somebody was reached do not outlive the boot.
//!
//! The kubelet's unit looks at two of these files itself (`packaging/debian/kubelet.service.d/`): on a worker with the duty it
//! starts only while pods may run, so that none runs after a boot that nobody has heard of.

use super::decide::Pods;
use crate::host::files;
use crate::marks;
use crate::paths::Paths;
use quorate_proto::v1::{Isolation, Problem};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub cluster: String,
    pub fence_ms: u64,
    pub generation: u64,
    /// It was taken on while the coordinator answered: from then on it is kept.
    pub armed: bool,
}

fn terms_file(paths: &Paths) -> PathBuf {
    paths.state().join("isolation.json")
}

/// There: the kubelet starts only if [`may_run_file`] is there too.
fn gate_file(paths: &Paths) -> PathBuf {
    paths.state().join("kubelet-gate")
}

fn may_run_file(paths: &Paths) -> PathBuf {
    paths.runtime().join("pods-may-run")
}

fn contact_file(paths: &Paths) -> PathBuf {
    paths.runtime().join("contact")
}

/// Nothing where there is no duty: none was given, or the node has left the cluster that gave it, or has not joined yet.
pub fn load(paths: &Paths) -> Result<Option<Terms>, Problem> {
    let Some(bytes) = files::read_optional(&terms_file(paths))? else {
        return Ok(None);
    };
    let terms: Terms = serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new("isolation-unreadable", format!("cannot parse it: {error}"))
            .at(terms_file(paths).display().to_string())
            .next("remove the file; the coordinator gives its terms again")
    })?;
    let marks = marks::load(paths)?;
    let joined = !(marks.finished.is_empty() && marks.worker.is_empty());
    Ok((joined && marks.cluster_id == terms.cluster).then_some(terms))
}

fn store(paths: &Paths, terms: &Terms) -> Result<(), Problem> {
    let bytes = serde_json::to_vec(terms)
        .map_err(|error| Problem::new("isolation-unwritable", error.to_string()))?;
    files::write_atomic(&terms_file(paths), &bytes, 0o600)
}

/// As the coordinator says; a time of zero ends the duty.
pub fn take(paths: &Paths, told: &Isolation) -> Result<(), Problem> {
    if told.fence_ms == 0 {
        return files::remove(&terms_file(paths));
    }
    let present = load(paths)?;
    let terms = Terms {
        cluster: marks::load(paths)?.cluster_id,
        fence_ms: told.fence_ms,
        generation: told.generation,
        armed: present.as_ref().is_some_and(|it| it.armed),
    };
    match present.as_ref() == Some(&terms) {
        true => Ok(()),
        false => store(paths, &terms),
    }
}

/// Takes on the duty. The order counts: a gate that is there before pods may run would keep a kubelet that restarts just then.
pub fn arm(paths: &Paths, terms: &Terms, worker: bool, contact_ms: u64) -> Result<(), Problem> {
    reached(paths, contact_ms)?;
    allow(paths)?;
    if worker {
        files::write_if_changed(&gate_file(paths), b"", 0o600)?;
    }
    let armed = Terms {
        armed: true,
        ..terms.clone()
    };
    store(paths, &armed)
}

pub fn open_gate(paths: &Paths) -> Result<(), Problem> {
    files::remove(&gate_file(paths))
}

pub fn allow(paths: &Paths) -> Result<(), Problem> {
    files::write_if_changed(&may_run_file(paths), b"", 0o600).map(drop)
}

pub fn forbid(paths: &Paths) -> Result<(), Problem> {
    files::remove(&may_run_file(paths))
}

pub fn pods(paths: &Paths) -> Pods {
    match may_run_file(paths).exists() {
        true => Pods::MayRun,
        false => Pods::Stopped,
    }
}

/// When somebody was reached, by the clock of [`crate::host::boot_clock`]: for an agent that starts again.
pub fn reached(paths: &Paths, at_ms: u64) -> Result<(), Problem> {
    files::write_if_changed(&contact_file(paths), at_ms.to_string().as_bytes(), 0o600).map(drop)
}

pub fn last_reached(paths: &Paths) -> Option<u64> {
    let bytes = files::read_optional(&contact_file(paths)).ok()??;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        files::make_folder(&paths.runtime(), 0o700).unwrap();
        marks::update(&paths, |marks| {
            marks.cluster_id = "c".into();
            marks.worker = "x".into();
        })
        .unwrap();
        (root, paths)
    }

    fn told(fence_ms: u64, generation: u64) -> Isolation {
        Isolation {
            fence_ms,
            generation,
            ..Isolation::default()
        }
    }

    #[test]
    fn the_duty_is_taken_on_kept_and_ended() {
        let (_root, paths) = joined();
        assert_eq!(load(&paths).unwrap(), None);
        take(&paths, &told(12_000, 1)).unwrap();
        let terms = load(&paths).unwrap().unwrap();
        assert!(!terms.armed && !gate_file(&paths).exists());
        arm(&paths, &terms, true, 7).unwrap();
        assert!(load(&paths).unwrap().unwrap().armed && gate_file(&paths).exists());
        assert_eq!(
            (pods(&paths), last_reached(&paths)),
            (Pods::MayRun, Some(7))
        );
        // Another time: the duty goes on.
        take(&paths, &told(20_000, 2)).unwrap();
        let terms = load(&paths).unwrap().unwrap();
        assert_eq!(
            (terms.fence_ms, terms.generation, terms.armed),
            (20_000, 2, true)
        );
        take(&paths, &told(0, 3)).unwrap();
        assert_eq!(load(&paths).unwrap(), None);
    }

    #[test]
    fn it_ends_with_the_cluster_that_gave_it() {
        let (_root, paths) = joined();
        take(&paths, &told(12_000, 1)).unwrap();
        marks::update(&paths, |marks| marks.cluster_id = "other".into()).unwrap();
        assert_eq!(load(&paths).unwrap(), None);
    }
}
