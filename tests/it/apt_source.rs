//! Packages from the apt source that the cluster file names: no artifacts, no mirror of Debian's.

use crate::formation::{FORM, held_voters};
use anyhow::{Result, ensure};
use quorate_tests::lab::{Host, Lab};
use quorate_tests::product::apt_source::{AptSource, another_key};
use quorate_tests::product::{Fleet, file};

const KEY: &str = "site.asc";

#[test]
fn packages_come_from_the_source_that_the_file_names() -> Result<()> {
    let lab = Lab::open()?;
    let debs = lab.debs(&["etcd-server", "etcd-client"])?;
    let source = AptSource::serve(&lab, &debs)?;
    let fleet = Fleet::new(lab, &["n1"])?;
    let n1 = fleet.node("n1")?;
    let members: Vec<&Host> = vec![n1];
    let text = file::Etcd {
        name: "prod",
        members: &members,
        apt: Some(file::Apt {
            uri: &source.uri,
            key: KEY,
        }),
        ..file::Etcd::default()
    }
    .text();

    // A source that somebody else signed is not taken, and the reason is apt's own.
    fleet.write_file(KEY, &another_key()?)?;
    let output = fleet.try_apply(&text, FORM)?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(output.status == 1, "ended with {}: {said}", output.status);
    for part in ["n1", "NO_PUBKEY", "apt source in the cluster file"] {
        ensure!(said.contains(part), "no {part:?} in: {said}");
    }
    let installed = n1.run(["dpkg-query", "--show", "etcd-server"])?;
    ensure!(!installed.success(), "installed: {}", installed.stdout);

    fleet.write_file(KEY, &source.key)?;
    fleet.apply(&text, FORM)?;
    held_voters(n1, &["n1"])?;
    let policy = n1.ok(["apt-cache", "policy", "etcd-server"])?;
    ensure!(policy.contains(&source.uri), "from elsewhere: {policy}");
    Ok(())
}
