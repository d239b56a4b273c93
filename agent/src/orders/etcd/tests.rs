//! Certificates and options of this folder with real etcd processes: a member joins, and refuses to come back without its data.

use super::environment::{self, METRICS_PORT, Start};
use super::{certificates, data_folder, environment_file, recover};
use crate::etcd::testing::{ETCD, require_etcd, unique_network};
use crate::etcd::{EtcdAccess, EtcdClient};
use crate::host::files;
use crate::kube::http::plain_get;
use crate::orders::snapshot::restore::{self, Restorer};
use crate::paths::Paths;
use quorate_proto::v1::{ClusterConfig, MemberAddress, NodeConfig};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CALL_WITHIN: Duration = Duration::from_secs(5);
const STARTS_WITHIN: Duration = Duration::from_secs(60);

struct Node {
    root: tempfile::TempDir,
    config: NodeConfig,
    address: IpAddr,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    fn new(name: &str, address: IpAddr) -> Self {
        Node {
            root: tempfile::tempdir().unwrap(),
            config: NodeConfig {
                name: name.into(),
                ..NodeConfig::default()
            },
            address,
        }
    }

    fn paths(&self) -> Paths {
        Paths::under(self.root.path())
    }

    fn member(&self) -> MemberAddress {
        MemberAddress {
            name: self.config.name.clone(),
            peer_url: environment::peer_url(self.address),
        }
    }

    /// As the unit would: the file's options in the environment, with paths below this node's root, and without the listeners that
    /// all members have in common.
    fn start(&self, options: &str) -> Process {
        files::make_folder(&data_folder(&self.paths()), 0o700).unwrap();
        let root = self.root.path().display();
        let mut command = Command::new(ETCD);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.env_clear().env("GOMAXPROCS", "1");
        for line in options.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once('=').unwrap();
            let value = match value.starts_with('/') {
                true => format!("{root}{value}"),
                false => value
                    .replace(",https://127.0.0.1:2379", "")
                    .replace(",http://127.0.0.1:2381", ""),
            };
            command.env(name, value);
        }
        Process(command.spawn().unwrap())
    }

    fn client(&self) -> EtcdClient {
        let folder = self.paths().etcd_pki();
        let read = |file: &str| files::read_text(&folder.join(file)).unwrap();
        let access = EtcdAccess::with_pem(
            format!("{}:2379", self.address),
            &read("ca.crt"),
            &read("client.crt"),
            &read("client.key"),
        );
        EtcdClient::new(&access.unwrap(), CALL_WITHIN)
    }

    async fn wait_until_it_answers(&self) {
        let (client, since) = (self.client(), Instant::now());
        while let Err(failure) = client.status().await {
            assert!(since.elapsed() < STARTS_WITHIN, "{}", failure.problem());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn members_by_our_certificates_and_options() {
    require_etcd();
    let cluster = ClusterConfig {
        id: "test-cluster".into(),
        ..ClusterConfig::default()
    };
    let (a, b) = unique_network();
    let first = Node::new("n1", IpAddr::from([127, a, b, 1]));
    let second = Node::new("n2", IpAddr::from([127, a, b, 2]));
    certificates::create(&first.paths(), &cluster).unwrap();
    let authority = certificates::required(&first.paths(), &cluster).unwrap();
    certificates::store(&second.paths(), &authority).unwrap();
    for node in [&first, &second] {
        let paths = node.paths();
        certificates::ensure(&paths, &authority, &cluster, &node.config, node.address).unwrap();
    }
    let render = |node: &Node, start, initial: &[MemberAddress]| {
        environment::render(&cluster, &node.config, node.address, start, initial).unwrap()
    };

    let options = render(&first, Start::New, &[first.member()]);
    let mut first_process = first.start(&options);
    first.wait_until_it_answers().await;
    let host = first.address.to_string();
    let health = plain_get(&host, METRICS_PORT, "/health", CALL_WITHIN).await;
    assert!(health.unwrap().success());

    // The first comes back with the options of a settled member as well.
    drop(first_process);
    first_process = first.start(&environment::settled(&options));
    first.wait_until_it_answers().await;

    let through_first = first.client();
    let url = second.member().peer_url;
    let added = through_first.add_learner(&url).await.unwrap();
    let id = added.member.unwrap().id;
    let both = [first.member(), second.member()];
    let options = render(&second, Start::Join(id), &both);
    let second_process = second.start(&options);
    second.wait_until_it_answers().await;
    let since = Instant::now();
    while through_first.promote(id).await.is_err() {
        assert!(since.elapsed() < STARTS_WITHIN);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The promotion reaches the member itself a moment after the one that was asked for it.
    let through_second = second.client();
    while let Err(failure) = through_second.linearizable_read().await {
        assert!(since.elapsed() < STARTS_WITHIN, "{}", failure.problem());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // Its data is lost: it ends at once, and does not come back as a member that has forgotten what it voted for.
    drop(second_process);
    std::fs::remove_dir_all(data_folder(&second.paths())).unwrap();
    let mut forgetful = second.start(&environment::settled(&options));
    let ended = tokio::task::spawn_blocking(move || forgetful.0.wait());
    let status = tokio::time::timeout(STARTS_WITHIN, ended).await;
    assert!(!status.unwrap().unwrap().unwrap().success());
    drop(first_process);
}

/// Killed after each effect: what is on disk then is gone on with, and nothing is forced a second time.
#[tokio::test]
async fn a_survivor_forms_a_cluster_of_one_from_its_data() {
    require_etcd();
    let cluster = ClusterConfig {
        id: "test-cluster".into(),
        ..ClusterConfig::default()
    };
    let (a, b) = unique_network();
    let first = Node::new("n1", IpAddr::from([127, a, b, 1]));
    let second = Node::new("n2", IpAddr::from([127, a, b, 2]));
    certificates::create(&first.paths(), &cluster).unwrap();
    let authority = certificates::required(&first.paths(), &cluster).unwrap();
    for node in [&first, &second] {
        let paths = node.paths();
        certificates::store(&paths, &authority).unwrap();
        certificates::ensure(&paths, &authority, &cluster, &node.config, node.address).unwrap();
    }
    let render = |node: &Node, start, initial: &[MemberAddress]| {
        environment::render(&cluster, &node.config, node.address, start, initial).unwrap()
    };
    let options = render(&first, Start::New, &[first.member()]);
    let paths = first.paths();
    let file = environment_file(&paths);
    files::write_atomic(&file, environment::settled(&options).as_bytes(), 0o644).unwrap();
    let text = || files::read_text(&file).unwrap();
    let refused = recover::begin(&paths, "r1").unwrap_err();
    assert_eq!(refused.code, "etcd-data-missing");

    // Two voters; the second dies for good, and the quorum with it.
    let process = first.start(&options);
    first.wait_until_it_answers().await;
    let client = first.client();
    let added = client.add_learner(&second.member().peer_url).await.unwrap();
    let id = added.member.unwrap().id;
    let both = [first.member(), second.member()];
    let other = second.start(&render(&second, Start::Join(id), &both));
    second.wait_until_it_answers().await;
    let since = Instant::now();
    while client.promote(id).await.is_err() {
        assert!(since.elapsed() < STARTS_WITHIN);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(other);
    while client.linearizable_read().await.is_ok() {
        assert!(since.elapsed() < STARTS_WITHIN);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(process);

    let copy = paths.at("/var/lib/etcd/quorate.before-r1");
    recover::begin(&paths, "r1").unwrap();
    assert!(copy.join("member/snap/db").exists() && data_folder(&paths).join("member").exists());
    assert_eq!(
        environment::recovered(&text(), "r1"),
        environment::Recovered::Forced
    );
    // Killed before the end, it starts with force again: as long as nobody has joined that changes nothing.
    let own_url = first.member().peer_url;
    for _ in 0..2 {
        let process = first.start(&text());
        serves(&first).await;
        recover::alone(&first.client(), &own_url).await.unwrap();
        drop(process);
    }
    recover::end(&paths).unwrap();
    recover::end(&paths).unwrap();
    assert_eq!(
        environment::recovered(&text(), "r1"),
        environment::Recovered::Done
    );
    let process = first.start(&text());
    serves(&first).await;
    let members = first.client().member_list(false).await.unwrap();
    assert!(members.len() == 1 && members[0].id != id, "{members:?}");
    drop(process);
}

/// Back to what was saved, in the data folder of another time: killed after each effect, it is put back once.
#[tokio::test]
async fn a_member_goes_back_to_a_snapshot() {
    require_etcd();
    let cluster = ClusterConfig {
        id: "test-cluster".into(),
        ..ClusterConfig::default()
    };
    let (a, b) = unique_network();
    let node = Node::new("n1", IpAddr::from([127, a, b, 1]));
    let paths = node.paths();
    certificates::create(&paths, &cluster).unwrap();
    let authority = certificates::required(&paths, &cluster).unwrap();
    certificates::ensure(&paths, &authority, &cluster, &node.config, node.address).unwrap();
    let options = environment::render(
        &cluster,
        &node.config,
        node.address,
        Start::New,
        &[node.member()],
    )
    .unwrap();
    let file = environment_file(&paths);
    files::write_atomic(&file, environment::settled(&options).as_bytes(), 0o644).unwrap();
    let text = || files::read_text(&file).unwrap();

    let process = node.start(&options);
    serves(&node).await;
    let before = node.client().status().await.unwrap().header.unwrap();
    let saved = paths.at("/saved.db");
    let whole = node.client().snapshot().await;
    let mut stream = whole.map_err(|failure| failure.problem()).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        bytes.extend(piece.blob);
    }
    std::fs::write(&saved, &bytes).unwrap();
    drop(process);

    let restorer = Restorer::find(&["etcdutl".into(), "etcdctl".into()]).await;
    let restorer = restorer.unwrap();
    let url = node.member().peer_url;
    let member = restore::Member {
        name: "n1",
        peer_url: &url,
        token: "test-cluster-r1",
    };
    // Bytes that do not match etcd's digest change nothing.
    let damaged = paths.at("/damaged.db");
    let mut wrong = bytes.clone();
    wrong[5_000] ^= 1;
    std::fs::write(&damaged, &wrong).unwrap();
    let refused = recover::from_snapshot(&paths, "r1", async |folder: &std::path::Path| {
        restorer.restore(&damaged, &member, folder).await
    });
    assert_eq!(refused.await.unwrap_err().code, "snapshot-not-restored");
    assert!(data_folder(&paths).join("member").exists());
    assert_eq!(
        environment::recovered(&text(), "r1"),
        environment::Recovered::No
    );

    for _ in 0..2 {
        let restoring = recover::from_snapshot(&paths, "r1", async |folder: &std::path::Path| {
            restorer.restore(&saved, &member, folder).await
        });
        restoring.await.unwrap();
        assert_eq!(
            environment::recovered(&text(), "r1"),
            environment::Recovered::Done
        );
        let process = node.start(&text());
        serves(&node).await;
        let now = node.client().status().await.unwrap().header.unwrap();
        assert_ne!(now.cluster_id, before.cluster_id);
        recover::alone(&node.client(), &url).await.unwrap();
        drop(process);
    }
    assert!(
        paths
            .at("/var/lib/etcd/quorate.before-r1/member/snap/db")
            .exists()
    );
}

async fn serves(node: &Node) {
    let (client, since) = (node.client(), Instant::now());
    while let Err(failure) = client.linearizable_read().await {
        assert!(since.elapsed() < STARTS_WITHIN, "{}", failure.problem());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
