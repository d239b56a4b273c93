//! A snapshot becomes a data folder again: by etcd's own tool, as the only member of a cluster with an id of its own, so that nobody
//! of the old one takes it for theirs.

use super::shelf::{Shelf, is_cluster_id};
use crate::host::files;
use crate::host::tool::{Output, Tool};
use crate::inbox::is_order_id;
use crate::paths::Paths;
use quorate_proto::v1::{Problem, SnapshotInfo};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A database of 8 GiB, read and written at 20 MiB/s.
const RESTORE_LIMIT: Duration = Duration::from_secs(840);
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// What etcd's documentation recommends: more writes than anybody makes after a snapshot.
const BUMP: &str = "1000000000";
const READ_BYTES: usize = 1024 * 1024;

/// Of the package etcd-client: since etcd 3.5 the first, before that the second.
pub fn programs() -> Vec<PathBuf> {
    ["etcdutl", "etcdctl"].map(PathBuf::from).to_vec()
}

/// The member that the data is for.
pub struct Member<'a> {
    pub name: &'a str,
    pub peer_url: &'a str,
    /// Of no cluster that there was.
    pub token: &'a str,
}

/// etcd's tool as it is installed here: newer versions restore with another than older ones.
pub struct Restorer {
    program: PathBuf,
    /// Whether it can raise the revision, so that watchers which saw later writes notice that these are gone.
    pub bumps: bool,
}

impl Restorer {
    /// The first of these programs that can.
    pub async fn find(programs: &[PathBuf]) -> Result<Self, Problem> {
        for program in programs {
            let asked = tool(program).arg("--help").timeout(ASK_LIMIT).run().await;
            if let Ok(output) = asked
                && let Some(bumps) = judge_help(&output)
            {
                let program = program.clone();
                return Ok(Restorer { program, bumps });
            }
        }
        let names: Vec<_> = programs.iter().map(|it| it.display().to_string()).collect();
        Err(
            Problem::new("tool-missing", "no tool is here that restores a snapshot")
                .at(names.join(", "))
                .because("the package etcd-client is not installed, or is another one's")
                .next("install etcd-client"),
        )
    }

    /// Of the key space that a snapshot holds.
    pub async fn revision(&self, file: &Path) -> Result<u64, Problem> {
        let place = file.display().to_string();
        let output = Tool::new(self.program.display().to_string())
            .env("ETCDCTL_API", "3")
            .args(["snapshot", "status", &place, "--write-out", "json"])
            .timeout(RESTORE_LIMIT)
            .ok()
            .await?;
        let status: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        status["revision"].as_u64().ok_or_else(|| {
            Problem::new(
                "snapshot-unreadable",
                "the snapshot does not tell its revision",
            )
            .at(place)
        })
    }

    /// Into `folder`, which must not be there. etcd's own digest is checked on the way.
    pub async fn restore(
        &self,
        file: &Path,
        member: &Member<'_>,
        folder: &Path,
    ) -> Result<(), Problem> {
        let cluster = format!("{}={}", member.name, member.peer_url);
        let mut tool = tool(&self.program)
            .arg(file.display().to_string())
            .args(["--name", member.name, "--initial-cluster", &cluster])
            .args(["--initial-advertise-peer-urls", member.peer_url])
            .args(["--initial-cluster-token", member.token])
            .args(["--data-dir", &folder.display().to_string()]);
        if self.bumps {
            tool = tool.args(["--bump-revision", BUMP, "--mark-compacted"]);
        }
        let output = tool.timeout(RESTORE_LIMIT).run().await?;
        if output.success() {
            return Ok(());
        }
        Err(Problem::new(
            "snapshot-not-restored",
            format!("{} ended with {}", self.program.display(), output.code),
        )
        .at(file.display().to_string())
        .because(output.tail(3).join("; "))
        .next("another copy: quorate snapshot list"))
    }
}

fn tool(program: &Path) -> Tool<'static> {
    let tool = Tool::new(program.display().to_string()).env("ETCDCTL_API", "3");
    tool.args(["snapshot", "restore"])
}

/// None: it cannot restore. Newer etcdctl keeps the word, and says that etcdutl has the work.
fn judge_help(output: &Output) -> Option<bool> {
    let text = format!("{}{}", output.stdout, output.stderr);
    let restores = output.success() && text.contains("--data-dir");
    restores.then(|| text.contains("--bump-revision") && text.contains("--mark-compacted"))
}

/// The snapshot of that id on the cluster's shelf, its content as it was when it was put there.
pub fn of_shelf(paths: &Paths, cluster: &str, id: &str) -> Result<SnapshotInfo, Problem> {
    if !is_order_id(id) || !is_cluster_id(cluster) {
        return Err(super::send::unknown(id));
    }
    let shelf = Shelf::open(paths, cluster)?;
    let info = shelf.get(id).ok_or_else(|| super::send::unknown(id))?;
    if digest(Path::new(&info.place))? == info.sha256 {
        return Ok(info);
    }
    Err(Problem::new(
        "snapshot-damaged",
        "the snapshot's file is not what was saved",
    )
    .at(info.place)
    .because("somebody has written to it, or the disk is faulty")
    .next("another copy: quorate snapshot list"))
}

pub fn digest(path: &Path) -> Result<String, Problem> {
    let fail = |error: std::io::Error| {
        let problem = Problem::new("file", format!("cannot read a snapshot: {error}"));
        problem.at(path.display().to_string())
    };
    let mut file = BufReader::new(File::open(path).map_err(fail)?);
    let (mut hash, mut piece) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut piece).map_err(fail)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

/// A member's folder in the data folder is all that etcd has.
const MEMBER: &str = "member";
/// Says that there was no data to keep.
const NONE: &str = "none";

/// Puts a restored member in the place of the one whose data is there, which is kept aside, on the same disk. Killed after each step
/// and called again it goes on, and what has been put in place once is never put there again: `restored` is asked for only if nothing
/// has taken the place yet.
pub async fn swap(
    data: &Path,
    aside: &Path,
    restored: impl AsyncFnOnce(&Path) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let member = data.join(MEMBER);
    let kept = aside.join(MEMBER).exists() || aside.join(NONE).exists();
    if kept && member.exists() {
        return Ok(());
    }
    let part = beside(aside);
    files::remove_tree(&part)?;
    restored(&part).await?;
    if !kept {
        files::make_folder(aside, 0o700)?;
        match member.exists() {
            true => files::rename(&member, &aside.join(MEMBER))?,
            false => files::write_atomic(&aside.join(NONE), b"", 0o600)?,
        }
    }
    files::make_folder(data, 0o700)?;
    files::rename(&part.join(MEMBER), &member)?;
    files::remove_tree(&part)
}

/// A copy of the data, before etcd may do with it what cannot be taken back. Made once.
pub fn keep_copy(data: &Path, aside: &Path) -> Result<(), Problem> {
    let member = data.join(MEMBER);
    if !member.exists() {
        return Err(
            Problem::new("etcd-data-missing", "this member holds no data of etcd")
                .at(data.display().to_string())
                .because("it was removed, or another disk is mounted there")
                .next("recover from another member: quorate recover --from-member NODE"),
        );
    }
    if aside.exists() {
        return Ok(());
    }
    let part = beside(aside);
    files::remove_tree(&part)?;
    files::make_folder(&part, 0o700)?;
    files::copy_tree(&member, &part.join(MEMBER))?;
    files::rename(&part, aside)
}

fn beside(aside: &Path) -> PathBuf {
    let mut name = aside.as_os_str().to_owned();
    name.push("-part");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn which_tools_restore() {
        let output = |code, stdout: &str| Output {
            code,
            stdout: stdout.into(),
            stderr: String::new(),
        };
        let old = "restore <filename> --data-dir --name";
        let new = "restore <filename> --data-dir --bump-revision --mark-compacted";
        for (output, expected) in [
            (output(0, old), Some(false)),
            (output(0, new), Some(true)),
            (output(1, new), None),
            (output(0, "No help topic for 'snapshot restore'"), None),
        ] {
            assert_eq!(judge_help(&output), expected, "{output:?}");
        }
    }

    /// Killed after each of its effects, and with data of before or without it.
    #[tokio::test]
    async fn the_place_is_taken_once() {
        for had_data in [true, false] {
            for effects in 0..=4 {
                let root = tempfile::tempdir().unwrap();
                let (data, aside) = (root.path().join("data"), root.path().join("before"));
                if had_data {
                    fs::create_dir_all(data.join("member/old")).unwrap();
                }
                // What the first run got done.
                let part = beside(&aside);
                if effects >= 1 {
                    fs::create_dir_all(part.join("member/half")).unwrap();
                }
                if effects >= 2 {
                    fs::create_dir(&aside).unwrap();
                }
                if effects >= 3 {
                    match had_data {
                        true => fs::rename(data.join("member"), aside.join("member")).unwrap(),
                        false => fs::write(aside.join("none"), "").unwrap(),
                    }
                }
                if effects >= 4 {
                    fs::create_dir_all(data.join("member/new")).unwrap();
                    // It has run meanwhile.
                    fs::create_dir_all(data.join("member/later")).unwrap();
                }
                for _ in 0..2 {
                    let make = async |part: &Path| {
                        fs::create_dir_all(part.join("member/new")).unwrap();
                        Ok(())
                    };
                    swap(&data, &aside, make).await.unwrap();
                }
                let there = |path: &str| root.path().join(path).exists();
                assert!(there("data/member/new") && !there("data/member/half"));
                assert!(!there("data/member/old"), "{had_data} {effects}");
                assert_eq!(there("before/member/old"), had_data, "{effects}");
                assert_eq!(there("data/member/later"), effects == 4);
            }
        }
    }

    #[test]
    fn a_copy_is_made_once_and_only_of_data() {
        let root = tempfile::tempdir().unwrap();
        let (data, aside) = (root.path().join("data"), root.path().join("data/before"));
        assert_eq!(
            keep_copy(&data, &aside).unwrap_err().code,
            "etcd-data-missing"
        );
        fs::create_dir_all(data.join("member/snap")).unwrap();
        fs::write(data.join("member/snap/db"), "first").unwrap();
        // Half of it, of a run that was killed.
        fs::create_dir_all(beside(&aside).join("member")).unwrap();
        for content in ["first", "second"] {
            fs::write(data.join("member/snap/db"), content).unwrap();
            keep_copy(&data, &aside).unwrap();
            let kept = fs::read_to_string(aside.join("member/snap/db")).unwrap();
            assert_eq!(kept, "first");
        }
        assert!(!beside(&aside).exists());
    }

    #[tokio::test]
    async fn what_cannot_be_restored_leaves_the_data_in_place() {
        let root = tempfile::tempdir().unwrap();
        let (data, aside) = (root.path().join("data"), root.path().join("before"));
        fs::create_dir_all(data.join("member/old")).unwrap();
        let fail = async |_: &Path| Err(Problem::new("no", "no"));
        assert!(swap(&data, &aside, fail).await.is_err());
        assert!(data.join("member/old").exists() && !aside.exists());
    }
}
