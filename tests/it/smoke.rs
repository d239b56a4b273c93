//! The lab itself: every other test relies on what is shown here.

use std::time::Duration;

use anyhow::{Result, ensure};
use quorate_tests::lab::{Host, Lab, eventually};

const SOON: Duration = Duration::from_secs(15);

fn pings(from: &Host, to: &str) -> Result<bool> {
    Ok(from.run(["ping", "-n", "-c1", "-W1", to])?.success())
}

fn reaches(from: &Host, to: &str) -> Result<()> {
    eventually(SOON, &format!("{from} to reach {to}"), || {
        Ok(pings(from, to)?.then_some(()))
    })
}

#[test]
fn hosts_boot_reach_each_other_and_survive_a_power_cut() -> Result<()> {
    let lab = Lab::open()?;
    let hosts = lab.hosts(&["n1", "n2"])?;
    let [n1, n2] = hosts.as_slice() else {
        panic!("asked for two hosts, got {hosts:?}");
    };

    // Two machines, not two views of one.
    ensure!(n1.read("/etc/machine-id")? != n2.read("/etc/machine-id")?);
    assert_eq!(n1.ok(["hostname"])?.trim(), "n1");
    assert_eq!(n1.ok(["cat", "/proc/1/comm"])?.trim(), "systemd");
    assert_eq!(n1.ok(["systemctl", "--failed", "--quiet"])?.trim(), "");
    let listening = n1.ok(["ss", "--no-header", "-lntu"])?;
    assert_eq!(listening.trim(), "", "a fresh host listens to nobody");

    // What a container runtime and a kubelet need.
    assert_eq!(
        n1.ok(["findmnt", "-no", "PROPAGATION", "/"])?.trim(),
        "shared"
    );
    n1.ok(["mkdir", "/sys/fs/cgroup/memory/probe"])?;
    n1.ok(["rmdir", "/sys/fs/cgroup/memory/probe"])?;
    n1.ok(["test", "-c", "/dev/kmsg"])?;
    n1.ok(["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;

    lab.alias("api.lab", &[n2.ip().into()])?;
    for to in [
        n2.ip().to_string(),
        n2.ip6().to_string(),
        "n2".into(),
        "n2-v6".into(),
        "api.lab".into(),
    ] {
        reaches(n1, &to)?;
    }

    n2.cut()?;
    ensure!(!pings(n1, "n2")?, "n2's cable is out");
    n2.heal()?;
    reaches(n1, "n2")?;

    n2.write("/srv/kept", "before the cut", 0o600)?;
    n2.power_cut()?;
    ensure!(!n2.running() && n2.run(["true"]).is_err());
    ensure!(!pings(n1, "n2")?, "n2 is off");
    n2.boot()?;
    assert_eq!(n2.read_text("/srv/kept")?, "before the cut");
    assert_eq!(n2.ok(["stat", "-c%a", "/srv/kept"])?.trim(), "600");
    reaches(n1, "n2")?;

    let n3 = lab.host("n3")?;
    n1.cut_from(n2)?;
    ensure!(!pings(n1, "n2")? && !pings(n2, "n1-v6")?);
    reaches(n1, "n3")?;
    reaches(n2, "n3")?;
    n1.heal_from(n2)?;
    reaches(n2, "n1")?;
    n3.down()
}
