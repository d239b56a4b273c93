//! That the clients of the rotation tests notice what they are to notice: else "0 failed" would say nothing.

use crate::formation::{FORM, fleet};
use anyhow::{Result, ensure};
use quorate_tests::lab::eventually;
use quorate_tests::product::file;
use quorate_tests::product::load::{Access, Load, Target, serves_as, unharmed};
use std::time::Duration;

/// Two thousand requests take four seconds, on a machine that does nothing else.
const ANSWERED: Duration = Duration::from_secs(40);

#[test]
fn clients_notice_a_wrong_name_and_a_dead_member() -> Result<()> {
    let fleet = fleet(&["n1"])?;
    let n1 = fleet.node("n1")?;
    fleet.apply(&file::etcd("prod", &[n1], None), FORM)?;
    let access = Access::etcd(&fleet, "prod")?;
    let target = Target::ip(n1, 2379);
    let at = (n1.ip(), 2379).into();
    ensure!(serves_as(&fleet.lab, &access, at, "n1")?);
    ensure!(!serves_as(&fleet.lab, &access, at, "n2")?);

    let load = Load::start(&fleet.lab, access, std::slice::from_ref(&target))?;
    load.answered(2000, ANSWERED)?;
    let counts = load.counts();
    unharmed(&counts, 2000)?;
    ensure!(counts.handshakes >= 1000, "too few handshakes: {counts}");

    // A name that no certificate holds is no way to begin.
    let wrong = Target::name("n2", 2379, n1);
    let error = load
        .through(&wrong)
        .map(drop)
        .expect_err("the wrong name is taken");
    ensure!(error.to_string().contains("TLS"), "{error:#}");

    n1.ok(["systemctl", "kill", "--signal", "KILL", "etcd.service"])?;
    eventually(Duration::from_secs(20), "clients to notice", || {
        let counts = load.counts();
        Ok((counts.failed > 0 && counts.watches_ended >= 4).then_some(()))
    })?;
    // It starts again by itself, and so do they.
    load.answered(500, ANSWERED)?;
    let counts = load.finish()?;
    ensure!(unharmed(&counts, 0).is_err());
    println!("{counts}");
    Ok(())
}
