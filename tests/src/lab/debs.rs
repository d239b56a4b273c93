//! Debian packages for the product to install from, as an air-gapped site would hold them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::base::{SUITE, mirror};
use super::machine;
use super::place::{Place, digest};

/// A folder with the named packages and all they need beyond the base root. Downloaded once; apt runs
/// with folders of its own, so that the machine's apt neither matters nor changes.
pub(super) fn folder(place: &Place, base: &Path, names: &[&str]) -> Result<PathBuf> {
    let mut wanted = names.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let base_name = base.to_string_lossy();
    let mut parts = vec![base_name.as_ref()];
    parts.extend(&wanted);
    let folder = place.dir().join(format!("debs-{:016x}", digest(&parts)));
    if folder.is_dir() {
        return Ok(folder);
    }
    let apt = Apt::new(place, base)?;
    let unfinished = folder.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(unfinished.join("partial"))?;
    eprintln!("lab: downloading {} (once)", wanted.join(" "));
    apt.download(&wanted, &unfinished)
        .with_context(|| format!("cannot download {}", wanted.join(" ")))?;
    fs::remove_dir(unfinished.join("partial"))?;
    let lock = unfinished.join("lock");
    if lock.exists() {
        fs::remove_file(lock)?;
    }
    fs::rename(&unfinished, &folder)?;
    Ok(folder)
}

struct Apt {
    dir: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(place: &Place, base: &Path) -> Result<Self> {
        let dir = place.dir().join("apt");
        for folder in ["lists/partial", "cache", "parts", "preferences"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let source = format!("deb [signed-by={keyring}] {} {SUITE} main\n", mirror());
        fs::write(dir.join("sources.list"), source)?;
        let option = |key: &str, value: PathBuf| format!("{key}={}", value.display());
        let options = vec![
            option("Dir::State", dir.clone()),
            option("Dir::State::lists", dir.join("lists")),
            option("Dir::State::extended_states", dir.join("extended_states")),
            option("Dir::State::status", base.join("var/lib/dpkg/status")),
            option("Dir::Cache", dir.join("cache")),
            option("Dir::Etc::sourcelist", dir.join("sources.list")),
            option("Dir::Etc::sourceparts", dir.join("parts")),
            option("Dir::Etc::preferencesparts", dir.join("preferences")),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            // The lab's folder is closed to others, so apt's own user could not write there.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        Ok(Self { dir, options })
    }

    fn download(&self, names: &[&str], into: &Path) -> Result<()> {
        // Package lists change under us while versions vanish from the mirror: fetched anew each time.
        self.get(&[], &["update"])?;
        let archives = format!("Dir::Cache::archives={}", into.display());
        let mut args = vec!["--yes", "--download-only", "install"];
        args.extend(names);
        self.get(&[archives], &args)
    }

    fn get(&self, options: &[String], args: &[&str]) -> Result<()> {
        let mut command = Command::new("apt-get");
        command.arg("--quiet").current_dir(&self.dir);
        for option in self.options.iter().chain(options) {
            command.args(["-o", option]);
        }
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        machine::finish(&mut command, &[]).map(drop)
    }
}
