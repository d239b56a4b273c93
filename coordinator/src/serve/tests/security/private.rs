//! Files of the coordinator are its own, whatever the umask of whoever starts it.

use super::super::bench::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const ASKED: &str = "QUORATE_TEST_UMASK";

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        }
        found.push(path);
    }
}

/// The other half of [`nothing_is_readable_by_others_under_any_umask`].
#[tokio::test]
#[ignore = "run by another test, under umask 000"]
async fn under_umask_000() {
    if std::env::var_os(ASKED).is_none() {
        return;
    }
    let probe = tempfile::tempdir().unwrap();
    fs::write(probe.path().join("probe"), "").unwrap();
    assert_eq!(
        mode(&probe.path().join("probe")),
        0o666,
        "the umask is what this is about"
    );
    let bench = Bench::new().await;
    bench.node("n1").await;
    bench.user("eve", "viewer").await;
    let bench = bench.restart().await;
    // Nobody else gets into the state at all...
    assert_eq!(mode(&bench.state()), 0o700);
    let context = bench.state().with_file_name("etc").join("context.yaml");
    assert_eq!(mode(&context), 0o600);
    let mut found = Vec::new();
    files(&bench.state(), &mut found);
    let private = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        path.is_dir() && path.parent() == Some(&bench.state())
            || name.ends_with(".key")
            || name.starts_with("tail-")
            || name.starts_with("export-")
    };
    let checked: Vec<&PathBuf> = found.iter().filter(private).collect();
    assert!(checked.len() >= 6, "{checked:?}");
    // ... and what is secret in it is private by itself, should the folder be opened one day.
    for path in checked {
        assert_eq!(mode(path) & 0o077, 0, "{} {:o}", path.display(), mode(path));
    }
}

#[test]
fn nothing_is_readable_by_others_under_any_umask() {
    let output = Command::new("sh")
        .args(["-c", r#"umask 000; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "serve::tests::security::private::under_umask_000",
            "--ignored",
            "--nocapture",
        ])
        .env(ASKED, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
