//! Real etcd processes on loopback for tests: a certificate authority, and members that differ by their 127.x.y.z address.

use super::EtcdAccess;
use quorate_pki::{Authority, Leaf, Name, Usage};
use quorate_proto::v1::MemberAddress;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub const ETCD: &str = "/usr/bin/etcd";
const HOUR: Duration = Duration::from_secs(3600);
/// Far above what a start takes on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Clusters of one test run do not share addresses; neither do test runs side by side, by their process id.
static NEXT: AtomicU8 = AtomicU8::new(1);

pub struct TestCluster {
    folder: tempfile::TempDir,
    authority: Authority,
    network: (u8, u8),
    pub members: Vec<TestMember>,
}

pub struct TestMember {
    pub name: String,
    process: Option<Child>,
}

pub fn require_etcd() {
    assert!(
        PathBuf::from(ETCD).is_file(),
        "{ETCD} is missing: install the Debian package etcd-server to run this test"
    );
}

/// Second and third byte of loopback addresses that nobody else uses.
pub fn unique_network() -> (u8, u8) {
    let process = (std::process::id() % 200) as u8;
    (20 + process, NEXT.fetch_add(1, Ordering::Relaxed))
}

impl TestCluster {
    /// A cluster of one.
    pub async fn start() -> Self {
        require_etcd();
        let mut cluster = TestCluster {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::create("test etcd", HOUR, SystemTime::now()).unwrap(),
            network: unique_network(),
            members: Vec::new(),
        };
        let first = cluster.address(1);
        cluster.launch(1, &[first]);
        cluster.wait_for(1).await;
        cluster
    }

    pub fn address(&self, number: u8) -> MemberAddress {
        let (a, b) = self.network;
        MemberAddress {
            name: format!("n{number}"),
            peer_url: format!("https://127.{a}.{b}.{number}:2380"),
        }
    }

    /// Starts the process of a member with these members; more than one: it joins them.
    pub fn launch(&mut self, number: u8, initial: &[MemberAddress]) {
        let MemberAddress { name, peer_url } = self.address(number);
        let address = host(&peer_url);
        let home = self.folder.path().join(&name);
        fs::create_dir_all(&home).unwrap();
        let leaf = Leaf {
            common_name: name.clone(),
            organization: vec![],
            // Members check each other's source address, which on loopback is the first one.
            names: [&address, "127.0.0.1"]
                .map(|n| Name::parse(n).unwrap())
                .to_vec(),
            uri: None,
            usage: Usage::Both,
            validity: HOUR,
        };
        let pair = self.authority.issue(&leaf, SystemTime::now()).unwrap();
        let file = |name: &str, text: &str| {
            let path = home.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let ca = file("ca.crt", self.authority.cert_pem());
        let certificate = file("both.crt", &pair.issued.cert_pem);
        let key = file("both.key", &pair.key_pem);
        let state = if initial.len() > 1 { "existing" } else { "new" };
        let initial: Vec<String> = initial
            .iter()
            .map(|member| format!("{}={}", member.name, member.peer_url))
            .collect();
        let client_url = format!("https://{address}:2379");
        let log = File::create(home.join("log")).unwrap();
        let process = Command::new(ETCD)
            .args([
                "--name",
                &name,
                "--logger",
                "zap",
                "--log-outputs",
                "stderr",
            ])
            .arg("--data-dir")
            .arg(home.join("data"))
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--initial-cluster", &initial.join(",")])
            .args(["--initial-cluster-state", state])
            .args(["--client-cert-auth", "--peer-client-cert-auth"])
            .arg("--trusted-ca-file")
            .arg(&ca)
            .arg("--peer-trusted-ca-file")
            .arg(&ca)
            .arg("--cert-file")
            .arg(&certificate)
            .arg("--key-file")
            .arg(&key)
            .arg("--peer-cert-file")
            .arg(&certificate)
            .arg("--peer-key-file")
            .arg(&key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members.retain(|member| member.name != name);
        self.members.push(TestMember {
            name,
            process: Some(process),
        });
    }

    /// Waits until the member answers a status call.
    pub async fn wait_for(&self, number: u8) {
        let client = super::EtcdClient::new(&self.access(number), Duration::from_secs(1));
        let since = Instant::now();
        while let Err(failure) = client.status().await {
            assert!(
                since.elapsed() < STARTS_WITHIN,
                "n{number} does not start: {}",
                failure.problem()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Access as the agent on that member's node has it.
    pub fn access(&self, number: u8) -> EtcdAccess {
        let leaf = Leaf {
            common_name: "quorate-agent".into(),
            organization: vec![],
            names: vec![],
            uri: None,
            usage: Usage::Client,
            validity: HOUR,
        };
        let pair = self.authority.issue(&leaf, SystemTime::now()).unwrap();
        let address = host(&self.address(number).peer_url);
        EtcdAccess::with_pem(
            format!("{address}:2379"),
            self.authority.cert_pem(),
            &pair.issued.cert_pem,
            &pair.key_pem,
        )
        .unwrap()
    }

    /// Who signs for the cluster.
    pub fn authority(&self) -> Authority {
        Authority::load(self.authority.cert_pem(), self.authority.key_pem()).unwrap()
    }

    /// Where a member has its `both.crt` and `both.key`.
    pub fn home(&self, number: u8) -> PathBuf {
        self.folder.path().join(format!("n{number}"))
    }

    /// Kills the member's process; its data stays.
    pub fn kill(&mut self, number: u8) {
        let name = format!("n{number}");
        for member in self.members.iter_mut().filter(|m| m.name == name) {
            member.stop();
        }
    }
}

impl TestMember {
    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for TestMember {
    fn drop(&mut self) {
        self.stop();
    }
}

fn host(peer_url: &str) -> String {
    peer_url
        .trim_start_matches("https://")
        .trim_end_matches(":2380")
        .to_owned()
}
