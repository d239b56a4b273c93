//! Repairs a dpkg that was interrupted. dpkg itself does not wait for its lock, so the lock is taken here, as apt does.

use crate::context::Context;
use crate::host::tool::Tool;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use quorate_proto::v1::Problem;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

/// Another apt run, such as unattended-upgrades after boot, ends well within this.
pub const LOCK_WAIT: Duration = Duration::from_secs(300);
/// The lock is fcntl's: nothing announces its release, so it is tried again this often.
const LOCK_RETRY: Duration = Duration::from_millis(500);
/// Configuring what was unpacked: as long as an installation.
const CONFIGURE: Duration = Duration::from_secs(900);

const FRONTEND: &str = "/var/lib/dpkg/lock-frontend";
/// dpkg's journal of changes to its records; files named by digits are left by an interruption.
const UPDATES: &str = "/var/lib/dpkg/updates";

/// Finishes what an earlier dpkg was killed at. `broken` are the packages that dpkg's records show as half done.
pub async fn repair(context: &Context, broken: &[String]) -> Result<bool, Problem> {
    if broken.is_empty() && !interrupted(&context.paths.at(UPDATES)) {
        return Ok(false);
    }
    context.say(match broken {
        [] => "dpkg: finishing an interrupted run".to_owned(),
        _ => format!(
            "dpkg: finishing an interrupted run of {}",
            broken.join(", ")
        ),
    });
    let _held = take(&context.paths.at(FRONTEND), LOCK_WAIT).await?;
    Tool::new("dpkg")
        .args(["--force-confold", "--force-confdef", "--configure", "-a"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Tells dpkg that its frontend, we, holds the lock.
        .env("DPKG_FRONTEND_LOCKED", "1")
        .timeout(CONFIGURE)
        .ok()
        .await
        .map_err(|problem| {
            Problem {
                code: "dpkg-interrupted".into(),
                ..problem
            }
            .because("dpkg was interrupted earlier and cannot finish")
            .next("run `dpkg --configure -a` on the node and look at what it says")
        })?;
    Ok(true)
}

fn interrupted(updates: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(updates) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        !name.is_empty() && name.iter().all(u8::is_ascii_digit)
    })
}

/// Holds the lock until the file is dropped.
async fn take(path: &Path, patience: Duration) -> Result<File, Problem> {
    let broken = |what: String| Problem::new("dpkg-lock", what).at(path.display().to_string());
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| broken(format!("cannot open dpkg's lock: {error}")))?;
    let until = Instant::now() + patience;
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(file),
            Err(Errno::EAGAIN | Errno::EACCES) if Instant::now() < until => {
                tokio::time::sleep(LOCK_RETRY).await;
            }
            Err(Errno::EAGAIN | Errno::EACCES) => {
                let waited = patience.as_secs();
                return Err(broken(format!("dpkg is still locked after {waited} s"))
                    .because("another package manager runs on the node")
                    .next("let it finish or stop it; the order is then tried again"));
            }
            Err(error) => return Err(broken(format!("cannot lock dpkg: {error}"))),
        }
    }
}

/// A lock of the open file: unlike a process's own, no other open or close of the file drops it.
fn try_lock(file: &File) -> nix::Result<()> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_files_are_an_interruption() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(!interrupted(&folder.path().join("absent")));
        std::fs::write(folder.path().join("tmp.i"), "").expect("write");
        assert!(!interrupted(folder.path()));
        std::fs::write(folder.path().join("0001"), "").expect("write");
        assert!(interrupted(folder.path()));
    }

    #[tokio::test]
    async fn a_held_lock_is_waited_for_and_given_up_in_time() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lock");
        let held = take(&path, Duration::ZERO).await.expect("free");
        let problem = take(&path, Duration::ZERO).await.expect_err("held");
        assert_eq!(problem.code, "dpkg-lock");
        let waiting = take(&path, Duration::from_secs(20));
        let release = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        let (taken, ()) = tokio::join!(waiting, release);
        assert!(taken.is_ok());
    }
}
