//! Certificate and key of one name, replaced together.
//!
//! Two files cannot be renamed at once. So both new ones lie staged beside the old ones first; then the key takes its place, then
//! the certificate. A kill between the two leaves a pair whose halves do not fit, which its server would refuse at its next start:
//! [`complete_all`] then finishes from the staged certificate. It runs when the agent starts and ahead of every order.

use super::files;
use crate::paths::Paths;
use nix::fcntl::{Flock, FlockArg};
use quorate_pki::pair_matches;
use quorate_proto::v1::Problem;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Before the name of a staged file. Hidden, so that nothing takes it for a certificate in use.
const STAGED: &str = ".quorate-next.";
/// Every folder with pairs that are replaced, below the root.
const FOLDERS: [&str; 3] = [
    "/etc/kubernetes/pki",
    "/etc/kubernetes/pki/etcd",
    "/etc/quorate/etcd/pki",
];

/// `<stem>.crt` and `<stem>.key` in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    folder: PathBuf,
    stem: String,
}

/// What changes on disk, in this order. A test is killed ahead of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    StageKey,
    StageCertificate,
    PlaceKey,
    PlaceCertificate,
}

impl Pair {
    pub fn new(folder: impl Into<PathBuf>, stem: &str) -> Self {
        Pair {
            folder: folder.into(),
            stem: stem.to_owned(),
        }
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.crt", self.stem))
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join(format!("{}.key", self.stem))
    }

    /// Both texts as they are now; a missing file is empty.
    pub fn read(&self) -> Result<(String, Zeroizing<String>), Problem> {
        let text = |path: &Path| {
            files::read_optional(path)
                .map(|bytes| String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default())
        };
        let key = Zeroizing::new(text(&self.key())?);
        Ok((text(&self.certificate())?, key))
    }

    fn staged(&self) -> Pair {
        Pair::new(self.folder.clone(), &format!("{STAGED}{}", self.stem))
    }

    /// Replaces the pair. Files that are there keep mode and owner; a new key is given to who may read it by `own`.
    pub fn install(
        &self,
        paths: &Paths,
        certificate: &str,
        key: &str,
        own: impl Fn(&Path) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let _alone = lock(paths)?;
        self.complete()?;
        self.install_until(certificate, key, own, |_| Ok(()))
    }

    fn install_until(
        &self,
        certificate: &str,
        key: &str,
        own: impl Fn(&Path) -> Result<(), Problem>,
        ahead: impl Fn(Effect) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let staged = self.staged();
        ahead(Effect::StageKey)?;
        stage(&staged.key(), &self.key(), key, 0o600)?;
        own(&staged.key())?;
        ahead(Effect::StageCertificate)?;
        stage(
            &staged.certificate(),
            &self.certificate(),
            certificate,
            0o644,
        )?;
        ahead(Effect::PlaceKey)?;
        files::rename(&staged.key(), &self.key())?;
        ahead(Effect::PlaceCertificate)?;
        files::rename(&staged.certificate(), &self.certificate())
    }

    /// Finishes what was cut short once the new key had its place; takes back what was cut short before.
    fn complete(&self) -> Result<(), Problem> {
        let staged = self.staged();
        let (next, _) = staged.read()?;
        let (present, key) = self.read()?;
        if !next.is_empty() && !pair_matches(&present, &key) && pair_matches(&next, &key) {
            files::rename(&staged.certificate(), &self.certificate())?;
        }
        files::remove(&staged.certificate())?;
        files::remove(&staged.key())
    }
}

fn stage(staged: &Path, present: &Path, text: &str, mode: u32) -> Result<(), Problem> {
    match present.exists() {
        true => files::write_like(staged, present, text.as_bytes()),
        false => files::write_atomic(staged, text.as_bytes(), mode),
    }
}

/// Whether an installation was cut short; costs a look into three folders.
pub fn unfinished(paths: &Paths) -> bool {
    !interrupted(paths).is_empty()
}

/// Completes every pair of this node whose installation was cut short.
pub fn complete_all(paths: &Paths) -> Result<(), Problem> {
    if !unfinished(paths) {
        return Ok(());
    }
    // Looked for again under the lock: an order beside this one may just be installing.
    let _alone = lock(paths)?;
    interrupted(paths).iter().try_for_each(Pair::complete)
}

fn interrupted(paths: &Paths) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for folder in FOLDERS.map(|folder| paths.at(folder)) {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let stem = name.to_str().and_then(|name| name.strip_prefix(STAGED));
            let stem = stem.and_then(|it| it.strip_suffix(".crt").or(it.strip_suffix(".key")));
            let Some(stem) = stem else { continue };
            let pair = Pair::new(&folder, stem);
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// One installation at a time. Held for a few file operations, so that waiting for it needs no bound of its own.
fn lock(paths: &Paths) -> Result<Flock<File>, Problem> {
    let place = paths.state().join("pairs.lock");
    let fail = |reason: String| {
        Problem::new("file", format!("cannot lock a file: {reason}"))
            .at(place.display().to_string())
    };
    files::make_folder(&paths.state(), 0o700)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&place)
        .map_err(|error| fail(error.to_string()))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_pki::{Authority, IssuedWithKey, Leaf, Usage};
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const EFFECTS: [Effect; 4] = [
        Effect::StageKey,
        Effect::StageCertificate,
        Effect::PlaceKey,
        Effect::PlaceCertificate,
    ];

    fn issue() -> IssuedWithKey {
        let authority = Authority::create("ca", DAY, SystemTime::now()).unwrap();
        let leaf = Leaf {
            common_name: "n1".into(),
            organization: vec![],
            names: vec![],
            uri: None,
            usage: Usage::Server,
            validity: DAY,
        };
        authority.issue(&leaf, SystemTime::now()).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn killed() -> Problem {
        Problem::new("killed", "killed")
    }

    #[test]
    fn killed_ahead_of_each_effect_the_pair_is_whole_again() {
        for (number, effect) in EFFECTS.into_iter().enumerate() {
            let root = tempfile::tempdir().unwrap();
            let paths = Paths::under(root.path());
            let folder = paths.at(FOLDERS[1]);
            files::make_folder(&folder, 0o755).unwrap();
            let pair = Pair::new(&folder, "server");
            let (old, new) = (issue(), issue());
            pair.install(&paths, &old.issued.cert_pem, &old.key_pem, |_| Ok(()))
                .unwrap();
            assert_eq!(mode(&pair.key()), 0o600);
            fs::set_permissions(pair.key(), fs::Permissions::from_mode(0o640)).unwrap();
            let stopped = pair.install_until(
                &new.issued.cert_pem,
                &new.key_pem,
                |_| Ok(()),
                |at| if at == effect { Err(killed()) } else { Ok(()) },
            );
            assert_eq!(stopped.unwrap_err().code, "killed");
            assert_eq!(unfinished(&paths), number > 0, "{effect:?}");

            complete_all(&paths).unwrap();
            complete_all(&paths).unwrap();
            let (certificate, key) = pair.read().unwrap();
            assert!(pair_matches(&certificate, &key), "{effect:?}");
            let is_new = certificate == new.issued.cert_pem;
            assert_eq!(is_new, effect == Effect::PlaceCertificate);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "{effect:?}");
            assert_eq!(mode(&pair.key()), 0o640, "{effect:?}");
            assert_eq!(mode(&pair.certificate()), 0o644);
        }
    }

    #[test]
    fn installed_again_after_a_kill() {
        for effect in EFFECTS {
            let root = tempfile::tempdir().unwrap();
            let paths = Paths::under(root.path());
            let pair = Pair::new(paths.at(FOLDERS[0]), "apiserver");
            let (lost, new) = (issue(), issue());
            let _ = pair.install_until(
                &lost.issued.cert_pem,
                &lost.key_pem,
                |_| Ok(()),
                |at| if at == effect { Err(killed()) } else { Ok(()) },
            );
            pair.install(&paths, &new.issued.cert_pem, &new.key_pem, |_| Ok(()))
                .unwrap();
            let (certificate, key) = pair.read().unwrap();
            assert_eq!(certificate, new.issued.cert_pem);
            assert!(pair_matches(&certificate, &key));
        }
    }

    #[test]
    fn a_staged_pair_of_another_key_is_taken_back() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let pair = Pair::new(paths.at(FOLDERS[2]), "peer");
        let (present, other) = (issue(), issue());
        pair.install(&paths, &present.issued.cert_pem, &present.key_pem, |_| {
            Ok(())
        })
        .unwrap();
        files::write_atomic(
            &pair.staged().certificate(),
            other.issued.cert_pem.as_bytes(),
            0o644,
        )
        .unwrap();
        complete_all(&paths).unwrap();
        assert_eq!(pair.read().unwrap().0, present.issued.cert_pem);
        assert!(!unfinished(&paths));
    }
}
