//! The .debs under test: built once a test run, or given by `QUORATE_DEBS`.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub struct Packages {
    pub agent: PathBuf,
    pub coordinator: PathBuf,
}

/// Builds them with the same script that builds a release, in the profile that the tests are built in.
pub fn packages() -> Result<&'static Packages> {
    static BUILT: OnceLock<Result<Packages, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built
        .as_ref()
        .map_err(|error| anyhow::anyhow!("no packages to test: {error}"))
}

fn build() -> Result<Packages> {
    if let Some(folder) = std::env::var_os("QUORATE_DEBS") {
        return find(Path::new(&folder));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace's folder")?;
    let out = root.join("target/deb-test");
    let status = Command::new(root.join("packaging/build"))
        .args(["--profile", "dev", "--out"])
        .arg(&out)
        .status()
        .context("cannot run packaging/build")?;
    if !status.success() {
        bail!("packaging/build failed: {status}");
    }
    find(&out)
}

fn find(folder: &Path) -> Result<Packages> {
    let one = |prefix: &str| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                name.starts_with(prefix) && name.ends_with(".deb") && !name.contains("dbgsym")
            })
            .collect();
        found.sort();
        found
            .pop()
            .with_context(|| format!("no {prefix}*.deb in {}", folder.display()))
    };
    Ok(Packages {
        agent: one("quorate-agent_")?,
        coordinator: one("quorate-coordinator_")?,
    })
}
