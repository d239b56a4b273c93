//! Debian's etcd with etcdctl, as a short script does it: `member add`, start, next; again after a pause when it is rejected.

use super::bed::{Bed, Plain, on_each};
use super::etcd_pki::{self, FOLDER};
use super::report::Figure;
use crate::lab::{Host, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::thread;
use std::time::{Duration, Instant};

pub const NOT_COMPARABLE: &[&str] = &[
    "certificates of the plain members were made beforehand; quorate makes and distributes its own within its time",
    "quorate's time is that of `quorate apply --yes`, with everything installed already: it includes its checks before (preflight) and of what is installed",
    "the plain tools add voters, as their guides do: while the second one starts, one more failure stops the cluster; quorate adds learners",
    "held up: for the plain tools the longest time from a joiner's first rejected call to the accepted one; for quorate the time that membership changes held its one slot",
];

const UNIT: &str = "plain-etcd";
const DATA: &str = "/var/lib/plain-etcd";
/// Between tries of a rejected call: what kubeadm waits too.
const PAUSE: Duration = Duration::from_millis(500);
/// A member's start; also of one that waits for its cluster to have a quorum again.
const START: Duration = Duration::from_secs(90);
const USABLE: Duration = Duration::from_secs(60);

pub struct PlainEtcd {
    nodes: Vec<Host>,
}

/// What it took to be added.
struct Joined {
    rejected: u64,
    waited: Duration,
}

impl PlainEtcd {
    pub fn new(bed: &Bed) -> Result<Self> {
        let nodes = bed.nodes().to_vec();
        etcd_pki::install(&nodes)?;
        Ok(PlainEtcd { nodes })
    }

    pub fn version(&self) -> Result<String> {
        let said = self.nodes[0].ok(["etcd", "--version"])?;
        let version = said.lines().next().and_then(|line| line.split(": ").nth(1));
        Ok(version.unwrap_or("unknown").to_owned())
    }

    fn found(&self) -> Result<()> {
        let first = &self.nodes[0];
        self.start(first, &format!("{first}={}", peer_url(first)), "new")
    }

    fn join(&self, host: &Host) -> Result<Joined> {
        let joined = self.add(host)?;
        let members = self.members()?;
        let initial: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| members.contains(&peer_url(node)))
            .map(|node| format!("{node}={}", peer_url(node)))
            .collect();
        self.start(host, &initial.join(","), "existing")?;
        Ok(joined)
    }

    fn add(&self, host: &Host) -> Result<Joined> {
        let url = format!("--peer-urls={}", peer_url(host));
        let begun = Instant::now();
        let mut rejected = 0;
        loop {
            let added = self.etcdctl(host, &["member", "add", host.name(), &url])?;
            // A call that ran out of time may have been carried out all the same.
            let waited = match rejected {
                0 => Duration::ZERO,
                _ => begun.elapsed(),
            };
            let Err(refusal) = added else {
                return Ok(Joined { rejected, waited });
            };
            rejected += 1;
            // A call that ran out of time may have been carried out all the same.
            if self.members()?.contains(&peer_url(host)) {
                return Ok(Joined { rejected, waited });
            }
            ensure!(waited < START, "{host} is not added: {refusal}");
            thread::sleep(PAUSE);
        }
    }

    /// Peer URLs; the founder answers without a quorum too.
    fn members(&self) -> Result<Vec<String>> {
        let listed = self.etcdctl(&self.nodes[0], &["member", "list", "-w", "json"])?;
        let listed = listed.map_err(anyhow::Error::msg)?;
        let list: Value = serde_json::from_str(&listed)?;
        let members = list["members"].as_array().context("no members")?;
        let url = |member: &Value| member["peerURLs"][0].as_str().map(str::to_owned);
        Ok(members.iter().filter_map(url).collect())
    }

    /// Against the founder; what it said is the error.
    fn etcdctl(&self, from: &Host, arguments: &[&str]) -> Result<Result<String, String>> {
        let endpoint = format!("https://{}:2379", self.nodes[0].ip());
        let [ca, cert, key] = files();
        let mut command = vec!["env", "ETCDCTL_API=3", "etcdctl", "--endpoints", &endpoint];
        command.extend(["--cacert", &ca, "--cert", &cert, "--key", &key]);
        command.extend(arguments);
        let output = from.run(command)?;
        Ok(match output.success() {
            true => Ok(output.stdout),
            false => Err(output.stderr),
        })
    }

    /// Returns once etcd says that it is ready.
    fn start(&self, host: &Host, initial: &str, state: &str) -> Result<()> {
        let [ca, cert, key] = files();
        let client = format!("https://{}:2379", host.ip());
        let both = format!("{client},https://127.0.0.1:2379");
        let peer = peer_url(host);
        let mut command = vec!["systemd-run", "--collect", "--unit", UNIT];
        command.extend([
            "--property",
            "Type=notify",
            "--property",
            "TimeoutStartSec=infinity",
        ]);
        command.extend(["/usr/bin/etcd", "--name", host.name(), "--data-dir", DATA]);
        command.extend([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        command.extend([
            "--listen-client-urls",
            &both,
            "--advertise-client-urls",
            &client,
        ]);
        command.extend([
            "--initial-cluster",
            initial,
            "--initial-cluster-state",
            state,
        ]);
        command.extend([
            "--trusted-ca-file",
            &ca,
            "--cert-file",
            &cert,
            "--key-file",
            &key,
        ]);
        command.extend(["--peer-trusted-ca-file", &ca]);
        command.extend(["--peer-cert-file", &cert, "--peer-key-file", &key]);
        command.extend(["--client-cert-auth", "--peer-client-cert-auth"]);
        let started = host.run_within(START, command)?;
        ensure!(started.success(), "etcd on {host}: {}", started.stderr);
        Ok(())
    }

    fn figure(&self, begun: Instant, joined: &[Joined], at_once: bool) -> Result<Figure> {
        let wall = begun.elapsed();
        eventually(USABLE, "three healthy members", || {
            Ok(self.usable()?.then_some(()))
        })?;
        Ok(Figure {
            wall,
            usable: begun.elapsed(),
            forming: None,
            held_up: joined
                .iter()
                .map(|one| one.waited)
                .max()
                .filter(|_| at_once),
            rejected: joined.iter().map(|one| one.rejected).sum(),
        })
    }
}

impl Plain for PlainEtcd {
    fn serial(&self) -> Result<Figure> {
        let begun = Instant::now();
        self.found()?;
        let joined: Vec<Joined> = self.nodes[1..]
            .iter()
            .map(|host| self.join(host))
            .collect::<Result<_>>()?;
        self.figure(begun, &joined, false)
    }

    fn at_once(&self) -> Result<Figure> {
        let begun = Instant::now();
        self.found()?;
        let joined = on_each(&self.nodes[1..], |host| self.join(host))?;
        self.figure(begun, &joined, true)
    }

    /// Of whichever cluster is there: the product's has other certificates.
    fn usable(&self) -> Result<bool> {
        if let Ok(voters) = crate::product::etcd::voters(&self.nodes[0]) {
            return Ok(voters.len() == self.nodes.len());
        }
        let healthy = on_each(&self.nodes, |host| {
            let [ca, cert, key] = files();
            let mut command = vec!["env", "ETCDCTL_API=3", "etcdctl"];
            command.extend(["--endpoints", "https://127.0.0.1:2379"]);
            command.extend(["--cacert", &ca, "--cert", &cert, "--key", &key]);
            command.extend(["endpoint", "health"]);
            Ok(host.run(command)?.success())
        })?;
        Ok(healthy.into_iter().all(|one| one) && self.members()?.len() == self.nodes.len())
    }

    fn wipe(&self, host: &Host) -> Result<()> {
        for unit in [UNIT, "etcd"] {
            // Not there is as good as stopped.
            host.run(["systemctl", "stop", unit])?;
        }
        host.ok([
            "rm",
            "-rf",
            DATA,
            "/var/lib/etcd/quorate",
            "/etc/quorate/etcd",
        ])?;
        Ok(())
    }
}

fn peer_url(host: &Host) -> String {
    format!("https://{}:2380", host.ip())
}

fn files() -> [String; 3] {
    ["ca.crt", "member.crt", "member.key"].map(|file| format!("{FOLDER}/{file}"))
}
