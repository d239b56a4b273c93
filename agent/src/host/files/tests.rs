//! Files of the agent are for root alone, whatever the umask of whoever starts it.

use super::*;
use crate::journal::{Entry, State};
use crate::paths::Paths;
use crate::runner::sealed;
use quorate_proto::v1::{Order, OrderResult};
use std::process::Command;

const ASKED: &str = "QUORATE_TEST_UMASK";
const ID: &str = "01JD0000000000000000000001";

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o777
}

/// The other half of [`modes_are_exact_under_any_umask`].
#[test]
#[ignore = "run by another test, under umask 000 and 077"]
fn under_another_umask() {
    let Ok(umask) = std::env::var(ASKED) else {
        return;
    };
    let root = tempfile::tempdir().expect("folder");
    let probe = root.path().join("probe");
    fs::write(&probe, "").expect("written");
    let expected = if umask == "000" { 0o666 } else { 0o600 };
    assert_eq!(mode(&probe), expected, "the umask is what this is about");

    let paths = Paths::under(root.path());
    let authority = crate::testing::authority();
    crate::testing::agent_identity(&authority, "n1", &["localhost:7443"])
        .save(&paths)
        .expect("saved");
    let order = Order {
        id: ID.to_owned(),
        ..Order::default()
    };
    let entry = Entry::new(order, State::Accepted);
    crate::journal::write_result(&paths, &entry, OrderResult::default()).expect("written");
    sealed::put(&paths, ID, b"secret").expect("written");
    let mut seen = 0;
    look(root.path(), &mut |path| {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".key")
            || name.ends_with("key.pem")
            || name == ID
            || name.ends_with(".json")
        {
            seen += 1;
            assert_eq!(mode(path), 0o600, "{}", path.display());
            let folder = path.parent().expect("a folder");
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
    });
    assert!(seen >= 3, "{seen}: a key, a record and a sealed part");

    let public = root.path().join("public/deep/file");
    write_atomic(&public, b"x", 0o644).expect("written");
    assert_eq!(mode(&public), 0o644);
    assert_eq!(mode(public.parent().expect("a folder")), 0o755);
    assert!(!write_if_changed(&public, b"x", 0o644).expect("read"));
    assert!(write_if_changed(&public, b"x", 0o600).expect("written"));
    assert_eq!(mode(&public), 0o600);
}

fn look(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            look(&path, each);
        } else {
            each(&path);
        }
    }
}

#[test]
fn modes_are_exact_under_any_umask() {
    for umask in ["000", "077"] {
        let output = Command::new("sh")
            .args(["-c", &format!(r#"umask {umask}; exec "$0" "$@""#)])
            .arg(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "host::files::tests::under_another_umask",
                "--ignored",
                "--nocapture",
            ])
            .env(ASKED, umask)
            .output()
            .expect("started");
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{umask}: {said} {complaint}"
        );
    }
}
