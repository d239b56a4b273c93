//! The lab itself: every other test relies on what is shown here.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use quorate_tests::lab::{Host, Lab, eventually};

const SOON: Duration = Duration::from_secs(15);

/// Takes connections and holds them; perl is the one thing a fresh Debian can do that with.
const SERVE: &str = "
    my $port = IO::Socket::INET->new(LocalPort => 7000, Listen => 5) or die;
    while (my $client = $port->accept) { push @held, $client }";
const CONNECT: &str = "until exec 3<>/dev/tcp/n2/7000; do sleep 0.1; done; cat <&3";

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
    // Version 1 of cgroups has a folder per controller, version 2 none.
    let one_more = "cd /sys/fs/cgroup; test ! -d memory || cd memory; mkdir more && rmdir more";
    n1.ok(["sh", "-c", one_more])?;
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
    reaches(n1, "n2-v6")?;

    n2.write("/srv/kept", "before the cut", 0o600)?;
    let _server = n2.spawn(["perl", "-MIO::Socket::INET", "-e", SERVE])?;
    let _client = n1.spawn(["bash", "-c", CONNECT])?;
    let open = ["ss", "-Hnt", "state", "established", "dport", "=", ":7000"];
    let connected = || Ok(n1.ok(open)?.contains(":7000").then_some(()));
    eventually(SOON, "a connection from n1 to n2", connected)?;
    n2.power_cut()?;
    ensure!(
        connected()?.is_some(),
        "no last word: n1 thinks n2 is there"
    );
    ensure!(!n2.running() && n2.run(["true"]).is_err());
    ensure!(!pings(n1, "n2")?, "n2 is off");
    n2.boot()?;
    assert_eq!(n2.read_text("/srv/kept")?, "before the cut");
    assert_eq!(n2.ok(["stat", "-c%a", "/srv/kept"])?.trim(), "600");
    reaches(n1, "n2")?;

    // Shut down in order, it remembers too; and what was cut stays cut over a boot.
    n2.shut_down()?;
    n2.cut()?;
    n2.boot()?;
    ensure!(!pings(n2, "n1")?, "n2's cable is still out");
    n2.heal()?;
    reaches(n2, "n1")?;

    let n3 = lab.host("n3")?;
    n1.cut_from(n2)?;
    ensure!(!pings(n1, "n2")? && !pings(n2, "n1-v6")?);
    reaches(n1, "n3")?;
    reaches(n2, "n3")?;
    n1.heal_from(n2)?;
    reaches(n2, "n1")?;
    n3.down()
}

#[test]
fn commands_and_files_of_a_host() -> Result<()> {
    let lab = Lab::open()?;
    let debs = lab.debs(&["haproxy"])?;
    lab.share(&debs, Path::new("/srv/debs"))?;
    let host = lab.host_at("lb", Ipv4Addr::new(10, 77, 0, 100))?;
    assert_eq!(host.ip6().to_string(), "fd77::100");

    // The machine's own tools can stand beside the hosts.
    let gateway = lab.run_beside_hosts(&["ip", "-brief", "address", "show", "dev", "br0"])?;
    assert!(gateway.contains("10.77.0.1/24"), "{gateway}");

    // Outcomes of commands.
    let output = host.run(["sh", "-c", "echo out; echo err >&2; exit 7"])?;
    assert_eq!(
        (output.status, output.stdout.trim(), output.stderr.trim()),
        (7, "out", "err")
    );
    let error = host.ok(["ls", "/nowhere"]).unwrap_err().to_string();
    assert!(
        error.contains("lb: `ls /nowhere`") && error.contains("No such file"),
        "{error}"
    );
    let error = host
        .run_within(Duration::from_millis(200), ["sleep", "60"])
        .unwrap_err();
    assert!(
        error.to_string().contains("not done after 200ms"),
        "{error}"
    );
    assert_eq!(host.ok_with(["sha256sum"], b"")?.get(..8), Some("e3b0c442"));

    // Files, both ways, byte by byte.
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let local = tempfile::tempdir()?;
    let file = local.path().join("a file");
    std::fs::write(&file, &bytes)?;
    host.push(&file, "/root/made/on the way/copy", 0o640)?;
    assert_eq!(host.read("/root/made/on the way/copy")?, bytes);
    host.push_dir(local.path(), "/root/folder")?;
    host.pull("/root/folder/a file", &local.path().join("back"))?;
    assert_eq!(std::fs::read(local.path().join("back"))?, bytes);
    let error = host.read("/nowhere").unwrap_err().to_string();
    assert!(error.contains("lb: cannot read /nowhere"), "{error}");

    // Background commands end when asked to, with all they started.
    let mut going = host.spawn(["sh", "-c", "echo begun; sleep 1234; true"])?;
    eventually(SOON, "it to speak", || {
        Ok(going.said()?.contains("begun").then_some(()))
    })?;
    ensure!(host.pid_of("sleep")?.is_some());
    going.kill()?;
    eventually(SOON, "sleep to be gone", || {
        Ok(host.pid_of("sleep")?.is_none().then_some(()))
    })?;
    assert_eq!(host.spawn(["sh", "-c", "exit 3"])?.wait(SOON)?, 3);

    // A paused host runs nothing but holds what it has; a command begun meanwhile ends afterwards.
    host.pause()?;
    let mut waiting = host.spawn(["true"])?;
    ensure!(waiting.ended()?.is_none());
    host.resume()?;
    assert_eq!(waiting.wait(SOON)?, 0);

    // The packages a product finds on an air-gapped site are all it needs.
    ensure!(
        host.run(["which", "haproxy"])?.status != 0,
        "haproxy is not in the base"
    );
    let listed = std::fs::read_dir(&debs)?;
    let files: Vec<_> = listed
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    let shown = host.ok(["ls", "/srv/debs"])?;
    assert_eq!(shown.lines().count(), files.len(), "{shown}");
    host.install_debs(&files)?;
    ensure!(host.ok(["haproxy", "-v"])?.contains("HAProxy"));

    // After a reboot it is another boot of the same machine, with a network as after power-on.
    host.ok(["nft", "add", "table", "inet", "lost"])?;
    let identity = host.read("/etc/machine-id")?;
    let boot = host.read("/proc/sys/kernel/random/boot_id")?;
    host.reboot()?;
    ensure!(host.read("/proc/sys/kernel/random/boot_id")? != boot);
    assert_eq!(host.read("/etc/machine-id")?, identity);
    assert_eq!(host.ok(["nft", "list", "tables"])?, "");

    host.power_cut()?;
    assert_eq!(
        std::fs::read(host.disk().join("root/folder/a file"))?,
        bytes
    );
    Ok(())
}
