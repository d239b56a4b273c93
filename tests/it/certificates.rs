//! Certificates that are renewed and get other names while clients call, on members of an etcd cluster.

use crate::formation::{FORM, fleet, hosts};
use crate::rotation::{ANSWERED, CLUSTER, MEMBERS, SOME, balancer, behind};
use anyhow::{Context, Result, ensure};
use quorate_pki::{Authority, inspect_pem};
use quorate_tests::lab::{Host, eventually};
use quorate_tests::product::load::{Access, Load, serves_as, unharmed};
use quorate_tests::product::{Fleet, endpoint};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

const NAME: &str = "api.lab";

/// Serial numbers by node and kind, of what can be renewed. All of it is well.
pub fn serials(fleet: &Fleet, cluster: &str) -> Result<BTreeMap<(String, String), String>> {
    let shown = fleet.json(&["certificates", cluster])?;
    let all = shown["certificates"].as_array().context("none")?;
    let mut serials = BTreeMap::new();
    for one in all {
        ensure!(one["state"] == "ok", "{one}");
        let certificate = &one["certificate"];
        if certificate["renewable"] == true {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let key = (text(&one["node"]), text(&certificate["place"]));
            serials.insert(key, text(&certificate["serial"]));
        }
    }
    ensure!(!serials.is_empty(), "nothing can be renewed: {shown}");
    Ok(serials)
}

/// Every one of them is another one now.
pub fn all_new(
    before: &BTreeMap<(String, String), String>,
    after: &BTreeMap<(String, String), String>,
) -> Result<()> {
    for (place, serial) in before {
        let now = after
            .get(place)
            .with_context(|| format!("{place:?} is gone"))?;
        ensure!(now != serial, "{place:?} is the old one");
    }
    Ok(())
}

pub fn change(fleet: &Fleet, words: &[&str]) -> Result<()> {
    let mut command = vec!["certificates"];
    command.extend(words);
    command.extend(["--cluster", CLUSTER, "--yes"]);
    let output = fleet.quorate_output(&command, FORM)?;
    ensure!(
        output.success(),
        "{command:?}: {}{}\n{}",
        output.stdout,
        output.stderr,
        fleet.journals()
    );
    Ok(())
}

fn serve(fleet: &Fleet, access: &Access, name: &str, wanted: bool) -> Result<()> {
    for member in hosts(fleet, &MEMBERS)? {
        let at = SocketAddr::from((member.ip(), 2379));
        ensure!(
            serves_as(&fleet.lab, access, at, name)? == wanted,
            "{member} and {name}: not {wanted}"
        );
    }
    Ok(())
}

/// What is left of a life of seven minutes: less than the third at which certificates renew themselves.
const LEFT: Duration = Duration::from_secs(120);
/// Three reports at rest, and the renewal.
const BY_ITSELF: Duration = Duration::from_secs(60);
const PKI: &str = "/etc/quorate/etcd/pki";

/// From now on the member serves a certificate that ends in minutes. Returns its serial number.
fn nearly_ended(member: &Host) -> Result<String> {
    let text = |file: &str| member.read_text(&format!("{PKI}/{file}"));
    let authority = Authority::load(&text("ca.crt")?, &text("ca.key")?)?;
    let (certificate, key) = (text("server.crt")?, text("server.key")?);
    let names = inspect_pem(&certificate)?.remove(0).names;
    let now = SystemTime::now();
    let short = authority.reissue(&certificate, &key, &names, LEFT, now)?;
    // Its key stays, so that no handshake meets halves that do not fit.
    let path = format!("{PKI}/server.crt");
    member.write(&path, short.issued.cert_pem, 0o644)?;
    Ok(short.issued.serial)
}

/// Nobody asks for it; members whose certificates have time keep them.
fn renewed_by_itself(fleet: &Fleet) -> Result<()> {
    let before = serials(fleet, CLUSTER)?;
    let short = nearly_ended(fleet.node("n2")?)?;
    let place = ("n2".to_owned(), format!("{PKI}/server.crt"));
    let old = before.get(&place).context("no such certificate")?;
    let what = "the certificate to be renewed by itself";
    let after = eventually(BY_ITSELF, what, || {
        let now = serials(fleet, CLUSTER)?;
        let serial = now.get(&place).context("it is gone")?;
        ensure!(serial != old && serial != &short, "it is {serial}");
        Ok(Some(now))
    })?;
    for (place, serial) in &before {
        let kept = after.get(place) == Some(serial);
        ensure!(kept == (place.0 != "n2"), "{place:?}: kept: {kept}");
    }
    Ok(())
}

#[test]
fn certificates_change_while_clients_call() -> Result<()> {
    let fleet = fleet(&["n1", "n2", "n3", "lb1", "lb2"])?;
    let one = balancer(&fleet, "lb1")?;
    fleet.apply(&behind(&fleet, &one)?, FORM)?;
    let access = Access::etcd(&fleet, CLUSTER)?;
    let load = Load::start(&fleet.lab, access.clone(), std::slice::from_ref(&one))?;

    let before = serials(&fleet, CLUSTER)?;
    ensure!(
        before.len() == 9,
        "server, peer and client of three: {before:?}"
    );
    change(&fleet, &["renew"])?;
    all_new(&before, &serials(&fleet, CLUSTER)?)?;
    load.answered(SOME, ANSWERED)?;

    serve(&fleet, &access, NAME, false)?;
    change(&fleet, &["set-names", "--add", NAME])?;
    serve(&fleet, &access, NAME, true)?;
    change(&fleet, &["set-names", "--drop", NAME])?;
    serve(&fleet, &access, NAME, false)?;
    endpoint::wait_in_line(&fleet, CLUSTER, &one)?;

    renewed_by_itself(&fleet)?;
    load.answered(SOME, ANSWERED)?;

    let counts = load.finish()?;
    println!("{counts}");
    unharmed(&counts, SOME)?;

    // A stray: somebody restored an old copy, by hand and not at once, which clients may notice.
    let n2 = fleet.node("n2")?;
    let folder = PKI;
    let old = n2.read(&format!("{folder}/server.crt"))?;
    change(&fleet, &["set-names", "--add", NAME])?;
    n2.write(&format!("{folder}/server.crt"), old, 0o644)?;
    eventually(ANSWERED, "the stray to be noticed", || {
        let shown = endpoint::show(&fleet, CLUSTER)?;
        Ok((endpoint::in_line(&shown, &one).is_err()).then_some(()))
    })?;
    endpoint::change(&fleet, CLUSTER, &["repair"])?;
    serve(&fleet, &access, NAME, true)
}
