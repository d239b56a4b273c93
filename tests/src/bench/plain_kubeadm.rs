//! Plain kubeadm as its guide for high availability has it: `init --upload-certs`, then `join --control-plane`, with configuration
//! files that hold what a lab host needs differently.

use super::bed::{Bed, Plain};
use super::rejections::{self, Rejections};
use super::report::Figure;
use crate::lab::{Background, Host, eventually};
use crate::product::{etcd, kubernetes};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

pub const NOT_COMPARABLE: &[&str] = &[
    "quorate's time is that of `quorate apply --yes`, with everything installed already: it includes its checks before (preflight) and of what is installed",
    "quorate's time ends when every node is Ready and the add-ons are applied; that of plain kubeadm when the last join ends, with the same add-ons applied right after init: compare `usable`, which is the same moment for all",
    "plain kubeadm makes RSA keys, its default; quorate ECDSA ones",
    "held up: for plain kubeadm the longest time from a joiner's first rejected call to its last; for quorate the time that membership changes held its one slot",
];

const INIT: Duration = Duration::from_secs(300);
const JOIN: Duration = Duration::from_secs(360);
const USABLE: Duration = Duration::from_secs(180);
const CONFIG: &str = "/root/plain-kubeadm.yaml";
/// Of a cluster that lives for a minute, in a network that nobody reaches.
const TOKEN: &str = "abcdef.0123456789abcdef";
const CERTIFICATE_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub struct PlainKubeadm {
    nodes: Vec<Host>,
    version: String,
    addons: Vec<u8>,
}

impl PlainKubeadm {
    pub fn new(bed: &Bed, folder: &Path) -> Result<Self> {
        Ok(PlainKubeadm {
            nodes: bed.nodes().to_vec(),
            version: kubernetes::version(folder)?,
            addons: std::fs::read(folder.join("manifests/cni.yaml"))?,
        })
    }

    /// Returns the hash of the cluster's authority, as printed for the joins.
    fn init(&self) -> Result<String> {
        let first = &self.nodes[0];
        first.write("/root/cni.yaml", &self.addons, 0o644)?;
        first.write(CONFIG, self.init_config(first), 0o600)?;
        let command = ["kubeadm", "init", "--upload-certs", "--config", CONFIG];
        let output = first.run_within(INIT, command)?;
        ensure!(
            output.success(),
            "kubeadm init: {}{}",
            output.stdout,
            output.stderr
        );
        let hash = output
            .stdout
            .split_whitespace()
            .find(|word| word.starts_with("sha256:"));
        let hash = hash.context("kubeadm init prints no hash")?.to_owned();
        kubernetes::kubectl(first, &["apply", "-f", "/root/cni.yaml"])?;
        Ok(hash)
    }

    fn begin_join(&self, host: &Host, hash: &str) -> Result<Background> {
        host.write(CONFIG, self.join_config(host, hash), 0o600)?;
        host.spawn(["kubeadm", "join", "--config", CONFIG, "-v5"])
    }

    fn end_join(join: &mut Background) -> Result<Rejections> {
        let status = join.wait(JOIN)?;
        let said = join.said()?;
        ensure!(status == 0, "kubeadm join ended with {status}: {said}");
        Ok(rejections::read(&said))
    }

    fn init_config(&self, host: &Host) -> String {
        let (ip, version) = (host.ip(), &self.version);
        let settings = kubernetes::lab_config();
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: [{{token: {TOKEN}}}]\n\
             certificateKey: {CERTIFICATE_KEY}\n{}localAPIEndpoint: {{advertiseAddress: {ip}}}\n---\n\
             apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: {version}\n\
             controlPlaneEndpoint: \"{ip}:6443\"\nnetworking: {{podSubnet: 10.244.0.0/16}}\n---\n{settings}",
            registration(host)
        )
    }

    fn join_config(&self, host: &Host, hash: &str) -> String {
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n{}discovery:\n  bootstrapToken: \
             {{token: {TOKEN}, apiServerEndpoint: \"{}:6443\", caCertHashes: [\"{hash}\"]}}\ncontrolPlane: \
             {{certificateKey: {CERTIFICATE_KEY}, localAPIEndpoint: {{advertiseAddress: {}}}}}\n",
            registration(host),
            self.nodes[0].ip(),
            host.ip()
        )
    }

    fn figure(&self, begun: Instant, joins: &[Rejections], at_once: bool) -> Result<Figure> {
        let wall = begun.elapsed();
        eventually(USABLE, "three Ready control planes", || {
            Ok(self.usable()?.then_some(()))
        })?;
        Ok(Figure {
            wall,
            usable: begun.elapsed(),
            forming: None,
            held_up: joins
                .iter()
                .map(|one| one.held_up)
                .max()
                .filter(|_| at_once),
            rejected: joins.iter().map(|one| one.calls).sum(),
        })
    }
}

impl Plain for PlainKubeadm {
    fn serial(&self) -> Result<Figure> {
        let begun = Instant::now();
        let hash = self.init()?;
        let mut joins = Vec::new();
        for host in &self.nodes[1..] {
            joins.push(Self::end_join(&mut self.begin_join(host, &hash)?)?);
        }
        self.figure(begun, &joins, false)
    }

    fn at_once(&self) -> Result<Figure> {
        let begun = Instant::now();
        let hash = self.init()?;
        let mut running: Vec<Background> = self.nodes[1..]
            .iter()
            .map(|host| self.begin_join(host, &hash))
            .collect::<Result<_>>()?;
        let joins: Vec<Rejections> = running
            .iter_mut()
            .map(Self::end_join)
            .collect::<Result<_>>()?;
        self.figure(begun, &joins, true)
    }

    fn usable(&self) -> Result<bool> {
        let first = &self.nodes[0];
        if etcd::voters(first)?.len() != self.nodes.len() {
            return Ok(false);
        }
        let nodes = kubernetes::nodes(first)?;
        Ok(nodes.len() == self.nodes.len() && nodes.iter().all(|node| node.1))
    }

    /// As the guide for removing a cluster has it: what kubeadm leaves is removed by hand.
    fn wipe(&self, host: &Host) -> Result<()> {
        // Without a kubeconfig it asks no cluster, which would be in the middle of being removed.
        host.ok([
            "kubeadm",
            "reset",
            "--force",
            "--cleanup-tmp-dir",
            "--skip-phases",
            "remove-etcd-member",
            "--kubeconfig",
            "/root/no-such.conf",
        ])?;
        let folders = ["/etc/cni/net.d", "/var/lib/cni", "/var/lib/etcd"];
        host.ok(["mkdir", "-p"].iter().chain(&folders))?;
        let remove = ["-mindepth", "1", "-delete"];
        host.ok(["find"].iter().chain(&folders).chain(&remove))?;
        for table in ["filter", "nat", "mangle"] {
            host.ok(["iptables", "--table", table, "--flush"])?;
            host.ok(["iptables", "--table", table, "--delete-chain"])?;
        }
        // The network plugin's bridge; absent before the first pod.
        host.run(["ip", "link", "delete", "cni0"])?;
        Ok(())
    }
}

fn registration(host: &Host) -> String {
    format!(
        "nodeRegistration:\n  name: {host}\n  criSocket: unix:///run/containerd/containerd.sock\n  \
         ignorePreflightErrors: [SystemVerification]\n  kubeletExtraArgs: [{{name: node-ip, value: {}}}]\n",
        host.ip()
    )
}
