//! A process that is killed at any moment has lost nothing that it was told is written.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "QUORATE_TEST_KILL_FOLDER";
const ROUNDS: u64 = 6;

/// Not a test of its own: what is killed. Says each number when it is written.
#[test]
#[ignore = "the other half of a_killed_process_has_lost_nothing"]
fn writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let store = open(Path::new(&folder));
    let first = all(&store).len() as u64;
    for at in first.. {
        store.commit_blocking(put(&number(at), at)).unwrap();
        println!("written {at}");
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::kill::writes_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_process_has_lost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut said = 0;
    for round in 1..=ROUNDS {
        let mut child = start(folder.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        // Killed in the middle of writing, each time after another while.
        lines
            .by_ref()
            .find(|line| line.starts_with("written"))
            .unwrap();
        std::thread::sleep(Duration::from_millis(37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines
            .filter_map(|line| line.strip_prefix("written ")?.parse::<u64>().ok())
            .last();
        said = said.max(last.unwrap_or_default());
        let store = open(folder.path());
        assert!(store.notices().is_empty());
        let found = all(&store);
        assert!(found.len() as u64 > said, "{} of {said}", found.len());
        assert!(
            found
                .iter()
                .enumerate()
                .all(|(at, (_, value))| at as u64 == *value)
        );
    }
    assert!(said > 10 * ROUNDS);
}
