//! Makes this machine the coordinator that a backup describes. The configuration is written last, so that a restore that
//! was interrupted is seen as such and can be run again.

use super::{Backup, check, put_authority};
use crate::authority::{Authority, TokenRecord, server_names};
use crate::clock;
use crate::engine::records::{ClusterRecord, IsolationRecord};
use crate::files::{hostname, make_folder, problem, write_atomic};
use crate::init::{config_for, config_text, first_admin, hand_over};
use crate::serve::Config;
use crate::store::{GAP, Key, Kind, Prefix, Store, Transaction};
use crate::tenure::{restored_key, superseded_key};
use quorate_proto::v1::{ArtifactRef, Problem};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const WHO: &str = "restore";
/// What of a state folder belongs to one coordinator. Artifacts are the same for all, by their digests.
const PARTS: [&str; 3] = ["ca", "store", "tls"];

pub struct Restoring<'a> {
    pub file: &'a Path,
    pub state_dir: &'a Path,
    pub config_dir: &'a Path,
    /// Where it is reached from now on; empty: as before.
    pub advertise: &'a [String],
    /// Move away what is there.
    pub force: bool,
}

#[derive(Debug)]
pub struct RestoreReport {
    pub made_unix_ms: i64,
    /// The machine that the backup was made on.
    pub host: String,
    pub config: PathBuf,
    pub context: PathBuf,
    pub state_dir: PathBuf,
    pub owner: Option<String>,
    pub addresses: Vec<String>,
    pub pin: String,
    pub clusters: Vec<String>,
    /// What was there before, in its new places.
    pub moved: Vec<PathBuf>,
    /// Names of artifacts that are to be added again.
    pub missing: Vec<String>,
    /// Join tokens that were not used at the time of the backup.
    pub tokens: usize,
}

pub async fn restore(wanted: Restoring<'_>) -> Result<RestoreReport, Problem> {
    // All that can be wrong with what is given, before anything is touched.
    let backup = check(wanted.file)?;
    let config = config(&wanted, &backup)?;
    let moved = make_room(&wanted)?;
    make_folder(wanted.state_dir, 0o700)?;
    make_folder(wanted.config_dir, 0o755)?;
    put_authority(wanted.state_dir, &backup.place)?;
    let folder = wanted.state_dir.join("store");
    Store::create(&folder, &backup.records)?;
    let store = Arc::new(Store::open(&folder)?);
    let renewed = renew(&store, wanted.state_dir, &backup).await?;
    let names = server_names(&config.hosts()?, &hostname())?;
    let authority = Authority::open(wanted.state_dir, names, Arc::clone(&store))?;
    let context = first_admin(&authority, WHO, &config.advertise).await?;
    let pin = authority.pin();
    store.close().await;
    let context_path = wanted.config_dir.join("context.yaml");
    write_atomic(&context_path, context.to_file_text().as_bytes(), 0o600)?;
    let owner = hand_over(wanted.state_dir)?;
    let config_path = wanted.config_dir.join("coordinator.yaml");
    write_atomic(&config_path, config_text(&config)?.as_bytes(), 0o644)?;
    Ok(RestoreReport {
        made_unix_ms: backup.made_unix_ms,
        host: backup.host.clone(),
        config: config_path,
        context: context_path,
        state_dir: wanted.state_dir.to_owned(),
        owner,
        addresses: config.advertised().cloned().collect(),
        pin,
        clusters: renewed.clusters,
        moved,
        missing: renewed.missing,
        tokens: renewed.tokens,
    })
}

fn config(wanted: &Restoring<'_>, backup: &Backup) -> Result<Config, Problem> {
    let before = &backup.place.config;
    let config = match wanted.advertise {
        [] => Config {
            state_dir: wanted.state_dir.to_owned(),
            ..before.clone()
        },
        addresses => Config {
            metrics: before.metrics,
            ..config_for(wanted.state_dir, addresses)?
        },
    };
    config_text(&config)?;
    Ok(config)
}

/// Moves an earlier coordinator aside, if that is wanted: nothing is deleted.
fn make_room(wanted: &Restoring<'_>) -> Result<Vec<PathBuf>, Problem> {
    let state = PARTS.iter().map(|part| wanted.state_dir.join(part));
    let config = ["coordinator.yaml", "context.yaml"].map(|name| wanted.config_dir.join(name));
    let present: Vec<PathBuf> = state.chain(config).filter(|path| path.exists()).collect();
    let Some(first) = present.first() else {
        return Ok(Vec::new());
    };
    if !wanted.force {
        return Err(Problem::new(
            "exists-coordinator",
            "this machine has a coordinator's state already; it was left as it is",
        )
        .at(first.display().to_string())
        .next("add --force to move it aside (nothing of it is deleted) and put the backup in its place"));
    }
    let store = wanted.state_dir.join("store");
    if store.exists() {
        // Held by a coordinator that runs here: its state must not move under it.
        Store::check_unused(&store).map_err(|error| {
            Problem::from(error).next("systemctl stop quorate-coordinator, then restore again")
        })?;
    }
    let word = format!("before-restore-{}", clock::unix_ms());
    let mut moved = Vec::new();
    for path in present {
        let to = aside(&path, wanted.state_dir, &word)?;
        std::fs::rename(&path, &to).map_err(|error| problem("move", &path, &error))?;
        moved.push(to);
    }
    Ok(moved)
}

/// Parts of the state go into one folder, files of the configuration stay beside their place.
fn aside(path: &Path, state_dir: &Path, word: &str) -> Result<PathBuf, Problem> {
    let name = path.file_name().unwrap_or_default();
    if path.parent() == Some(state_dir) {
        let folder = state_dir.join(word);
        make_folder(&folder, 0o700)?;
        return Ok(folder.join(name));
    }
    let mut name = name.to_owned();
    name.push(format!(".{word}"));
    Ok(path.with_file_name(name))
}

struct Renewed {
    clusters: Vec<String>,
    missing: Vec<String>,
    tokens: usize,
}

/// What must not go on as if nothing had happened between the backup and now.
async fn renew(store: &Store, state_dir: &Path, backup: &Backup) -> Result<Renewed, Problem> {
    let before: u64 = store.read(&restored_key())?.unwrap_or_default();
    let now = u64::try_from(clock::unix()).unwrap_or_default();
    let restored = now.max(before.saturating_add(1));
    let detail = format!(
        "a backup of {} made on {}",
        clock::rfc3339(backup.made_unix_ms),
        backup.host
    );
    let mut change = Transaction::new()
        .put(restored_key(), &restored)
        .delete(superseded_key())
        .audit(WHO, "restore", detail);
    let mut clusters = Vec::new();
    for (_, mut cluster) in store.scan::<ClusterRecord>(&Prefix::all(Kind::Cluster))? {
        // Agents may have seen later revisions of the file than the backup holds, and refuse what is older.
        cluster.revision = cluster.revision.saturating_add(GAP);
        // Nodes may have taken on other terms since.
        cluster.isolation = IsolationRecord {
            generation: cluster.isolation.generation.saturating_add(GAP),
            ..IsolationRecord::default()
        };
        clusters.push(cluster.name.clone());
        change = change.put(Key::cluster(&cluster.name), &cluster);
    }
    let mut tokens = 0;
    for (id, mut token) in store.scan::<TokenRecord>(&Prefix::all(Kind::Token))? {
        // It may have been used since.
        if token.state(clock::unix()) == "live" {
            token.revoked_unix = Some(clock::unix());
            tokens += 1;
            change = change.put(Key::token(&id), &token);
        }
    }
    let mut missing = Vec::new();
    for (digest, artifact) in store.scan::<ArtifactRef>(&Prefix::all(Kind::Artifact))? {
        if !is_there(state_dir, &artifact) {
            change = change.delete(Key::artifact(&digest));
            missing.push(artifact.name);
        }
    }
    store.commit(change).await?;
    Ok(Renewed {
        clusters,
        missing,
        tokens,
    })
}

fn is_there(state_dir: &Path, artifact: &ArtifactRef) -> bool {
    let hex = artifact.digest.trim_start_matches("sha256:");
    let file = std::fs::metadata(state_dir.join("artifacts").join(hex));
    file.is_ok_and(|file| file.len() == artifact.size)
}
