//! Whatever crosses into the agent (orders, files that others wrote, tables of the kernel and of tools, answers of servers): read
//! or refused, never a panic, and nothing of it comes out as more than it was.

use crate::fuzz;
use crate::inbox::{Decision, Fence, decide};
use crate::journal::{Entry, State};
use crate::kube::kubeconfig;
use crate::kube::objects::{cluster_info, kube_proxy, kubeadm_config};
use crate::observe::endpoint::sockets;
use crate::observe::load_balancer::stats;
use crate::orders::etcd::environment;
use crate::orders::install::depends::parse_control;
use crate::orders::install::installed::{Installed, provides};
use crate::orders::install::version;
use crate::orders::kubeadm::config::Config;
use crate::orders::kubeadm::{documents, token};
use crate::orders::load_balancer::render::{Family, intact_digest, render};
use crate::orders::preflight::cidr;
use proptest::prelude::*;
use prost::Message;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use serde_json::json;
use std::net::SocketAddr;

const KUBECONFIG: &str = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: Y2E=\n    server: https://10.0.0.1:6443\n  \
    name: kubernetes\ncontexts:\n- context:\n    cluster: kubernetes\n    user: admin\n  name: admin@kubernetes\n\
    current-context: admin@kubernetes\nkind: Config\npreferences: {}\nusers:\n- name: admin\n  user:\n    \
    client-certificate-data: Y3J0\n    client-key-data: a2V5\n";
const SOCKETS: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
    1: 0B004D0A:9C40 32004D0A:192B 01 00000000:00000000 00:00000000 00000000     0        0 12 1\n   \
    0: 0000000000000000FFFF00000B004D0A:A000 0000000000000000FFFF000032004D0A:192B 01 0:0 00:0 0 0 0 21\n";
const STATS: &str = "# pxname,svname,qcur,scur,stot,status,type,check_status,check_code,last_chk,addr,\n\
    api,FRONTEND,,1,2,OPEN,0,,,,,\napi,n2,0,3,4,DOWN,2,L4CON,,\"Connection refused, at \"\"connect\"\"\",10.0.0.2:6443,\n";
const CONTROL: &str = "Package: demo\nVersion: 1:2.0-1\nPre-Depends: dpkg (>= 1.15)\nDepends: libc6 (>= 2.34),\n iptables | nftables\n\
    Provides: example (= 1), other\n";
const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nens3\t00004D0A\t00000000\t0001\t0\t0\t0\t0000FFFF\n";
const ROUTES6: &str = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 ens3\n";
const DOCUMENTS: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer:\n  extraArgs:\n  - name: v\n    \
    value: '4'\nnetworking: {podSubnet: 10.244.0.0/16}\netcd: {local: {dataDir: /var/lib/etcd}}\n---\n\
    apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {taints: []}\ndiscovery: {timeout: 5m}\n---\n\
    apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: []\nlocalAPIEndpoint: {}\n---\n\
    apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 110\n";

fn cluster() -> ClusterConfig {
    ClusterConfig {
        id: "01J0000000000000000000000".into(),
        name: "c".into(),
        version: "v1.33.13".into(),
        distribution: Distribution::Kubeadm as i32,
        ..ClusterConfig::default()
    }
}

fn node(name: &str) -> NodeConfig {
    NodeConfig {
        name: name.into(),
        address: "10.0.0.1".into(),
        ..NodeConfig::default()
    }
}

/// An order with something of everything that an agent writes down.
fn order() -> Order {
    let frontend = Frontend {
        name: "api".into(),
        port: 6443,
        backends: vec![Backend {
            name: "n1".into(),
            address: "10.0.0.1".into(),
            port: 6443,
        }],
        check: HealthCheck::Readyz as i32,
    };
    let action = ConfigureLoadBalancer {
        digest: "sha256:0a".into(),
        frontends: vec![frontend],
        stats_port: 8080,
    };
    Order {
        id: "01JD0000000000000000000001".into(),
        generation: 1,
        epoch: 1,
        cluster: Some(cluster()),
        node: Some(node("n1")),
        action: Some(Action::ConfigureLoadBalancer(action)),
        ..Order::default()
    }
}

/// The lines that a configuration may hold, however its values were chosen.
fn is_ours(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let known = [
        "global",
        "defaults",
        "frontend",
        "backend",
        "server",
        "bind",
        "balance",
        "default_backend",
        "option",
        "http-check",
        "log",
        "chroot",
        "stats",
        "hard-stop-after",
        "user",
        "group",
        "daemon",
        "mode",
        "retries",
        "timeout",
        "#",
        "",
    ];
    known.contains(&first) && (first != "server" || words.nth(2) == Some("check"))
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn fuzz_kubeconfigs(text in fuzz::damaged_text(&[KUBECONFIG]), server in fuzz::text()) {
        let _ = kubeconfig::current_server(&text);
        // What is written back differs in the server alone, and is a kubeconfig again.
        if let Ok(Some(changed)) = kubeconfig::with_endpoint(&text, "https://10.0.0.9:6443") {
            prop_assert_eq!(kubeconfig::current_server(&changed), Ok("https://10.0.0.9:6443".to_owned()));
        }
        let _ = kubeconfig::with_endpoint(&text, &server);
        let _ = kubeconfig::with_server(&text, &server);
        let _ = kubeconfig::with_pair_file(&text, &server);
        let _ = (kubeconfig::split_url(&server), kubeconfig::split_authority(&server));
    }

    #[test]
    fn fuzz_tables_of_the_kernel(text in fuzz::damaged_text(&[SOCKETS, ROUTES, ROUTES6])) {
        let target: SocketAddr = "10.77.0.50:6443".parse().expect("an address");
        prop_assert!(sockets::to(&text, &[target]).iter().all(|socket| socket.remote == target));
        let routes = cidr::routes_v4(&text).into_iter().chain(cidr::routes_v6(&text));
        for route in routes {
            prop_assert!(route.block.overlaps(&route.block));
        }
        let _ = cidr::parse_list(&text);
    }

    #[test]
    fn fuzz_the_load_balancers_table(text in fuzz::damaged_text(&[STATS])) {
        for row in stats::parse(&text).unwrap_or_default() {
            prop_assert!(!(row.is_server() && row.is_frontend()));
            let _ = (row.is_up(), row.detail(), row.connections());
        }
    }

    #[test]
    fn fuzz_packages(text in fuzz::damaged_text(&[CONTROL]), other in fuzz::text()) {
        let _ = (parse_control(&text), Installed::parse(&text), provides(&text));
        prop_assert_eq!(version::compare(&text, &other), version::compare(&other, &text).reverse());
        prop_assert_eq!(version::compare(&text, &text), std::cmp::Ordering::Equal);
        let _ = (version::numbers(&text), version::is_asked(&text, &other));
    }

    #[test]
    fn fuzz_kubeadm_documents(text in fuzz::damaged_text(&[DOCUMENTS])) {
        let _ = documents::parse(std::slice::from_ref(&text));
        let cluster = ClusterConfig { kubeadm_documents: vec![text], ..cluster() };
        if let Ok(config) = Config::build(&cluster, &node("n1")) {
            let member = MemberAddress { name: "n1".into(), peer_url: "https://10.0.0.1:2380".into() };
            let texts = [
                config.for_init(),
                config.for_certificates("/tmp/x"),
                config.for_existing_etcd(&[member]),
                config.for_cluster_objects("abcdef.0123456789abcdef"),
                config.for_join("abcdef.0123456789abcdef", &[]),
            ];
            for text in texts {
                prop_assert!(documents::parse(std::slice::from_ref(&text)).is_ok(), "{}", text);
            }
            let _ = (config.etcd_data(), config.version(), config.loopback(), config.member_taints());
        }
    }

    /// Fields of another shape than kubeadm's are refused or kept, in whatever is built upon them.
    #[test]
    fn fuzz_shapes_of_kubeadm_documents(
        kind in prop::sample::select(vec!["ClusterConfiguration", "InitConfiguration", "JoinConfiguration"]),
        field in prop::sample::select(vec![
            "discovery", "discovery/bootstrapToken", "nodeRegistration", "nodeRegistration/taints", "localAPIEndpoint",
            "bootstrapTokens", "networking", "apiServer", "apiServer/certSANs", "etcd", "etcd/local", "etcd/local/extraArgs",
        ]),
        value in prop::sample::select(vec!["x", "1", "null", "[]", "[x]", "{}", "{x: y}", "[[x], {name: 1}]"]),
    ) {
        let mut value = value.to_owned();
        for key in field.rsplit('/') {
            value = format!("{{{key}: {value}}}");
        }
        let inner = &value[1..value.len() - 1];
        let text = format!("{{apiVersion: kubeadm.k8s.io/v1beta4, kind: {kind}, {inner}}}");
        let cluster = ClusterConfig { kubeadm_documents: vec![text], ..cluster() };
        if let Ok(config) = Config::build(&cluster, &node("n1")) {
            let member = MemberAddress { name: "n1".into(), peer_url: "https://10.0.0.1:2380".into() };
            let _ = (config.for_init(), config.for_certificates("/tmp/x"), config.for_existing_etcd(&[member]));
            let _ = (config.for_cluster_objects("abcdef.0123456789abcdef"), config.for_join("abcdef.0123456789abcdef", &[]));
            let _ = (config.etcd_data(), config.loopback(), config.member_taints());
        }
    }

    /// Names are checked where the file is read; here they come as they are, and stay one value of one field.
    #[test]
    fn fuzz_names_in_kubeadm_documents(name in fuzz::text(), domain in fuzz::text()) {
        let cluster = ClusterConfig { dns_domain: domain, extra_names: vec![name.clone()], ..cluster() };
        let config = Config::build(&cluster, &node(&name)).expect("no documents of the user");
        let read = documents::parse(&[config.for_init()]).expect("YAML");
        prop_assert_eq!(read.len(), 4);
        prop_assert_eq!(&read[0].1["nodeRegistration"]["name"], &json!(name));
    }

    #[test]
    fn fuzz_the_environment_of_etcd(text in fuzz::text(), name in fuzz::text()) {
        let _ = environment::identity(&text);
        let _ = environment::settled(&text);
        let cluster = ClusterConfig { id: text, ..cluster() };
        let initial = [MemberAddress { name: name.clone(), peer_url: "https://10.0.0.1:2380".into() }];
        let address = "10.0.0.1".parse().expect("an address");
        if let Ok(file) = environment::render(&cluster, &node(&name), address, environment::Start::New, &initial) {
            let known = |line: &str| line.starts_with("ETCD_") || line.starts_with("# ");
            prop_assert!(file.lines().all(known), "{}", file);
            let settled = environment::settled(&file);
            prop_assert_eq!(&environment::settled(&settled), &settled);
            prop_assert_eq!(environment::identity(&settled), environment::identity(&file));
            prop_assert_eq!(file.lines().filter(|line| line.starts_with("ETCD_NAME=")).count(), 1);
        }
    }

    #[test]
    fn fuzz_load_balancers(name in fuzz::text(), server in fuzz::text(), address in fuzz::text(), digest in fuzz::text()) {
        let frontend = |name: &str, server: &str, address: &str| Frontend {
            name: name.into(),
            port: 6443,
            backends: vec![Backend { name: server.into(), address: address.into(), port: 6443 }],
            check: HealthCheck::Tcp as i32,
        };
        let mut texts = Vec::new();
        for (digest, frontend) in [
            (digest.as_str(), frontend("api", "n1", "10.0.0.1")),
            ("sha256:0a", frontend(&name, "n1", "10.0.0.1")),
            ("sha256:0a", frontend("api", &server, "10.0.0.1")),
            ("sha256:0a", frontend("api", "n1", &address)),
        ] {
            let order = ConfigureLoadBalancer { digest: digest.into(), frontends: vec![frontend], stats_port: 0 };
            texts.extend(render(&order, Family::Both));
        }
        for text in texts {
            prop_assert!(text.lines().all(is_ours), "{}", text);
            prop_assert_eq!(text.lines().filter(|line| line.trim_start().starts_with("server ")).count(), 1);
            prop_assert!(intact_digest(&text).is_some());
        }
        let _ = intact_digest(&name);
    }

    /// Any bytes as an order: decided on, and if taken, then under an id that is fit to be a file's name.
    #[test]
    fn fuzz_orders(bytes in fuzz::damaged(vec![order().encode_to_vec()])) {
        let Ok(order) = Order::decode(bytes.as_slice()) else { return Ok(()) };
        let mut fence = Fence { epoch: 1, ..Fence::default() };
        match decide(None, &order, &fence) {
            Decision::Start => {
                prop_assert!(order.action.is_some() && order.epoch >= 1);
                prop_assert!(order.id.len() == 26 && order.id.bytes().all(|b| b.is_ascii_alphanumeric()));
            }
            Decision::Refuse(problem) => prop_assert!(!problem.what.is_empty()),
            other @ (Decision::AlreadyRunning | Decision::ReturnRecorded(_) | Decision::Recompute) => {
                prop_assert!(false, "{:?} without having seen it", other);
            }
        }
        fence.raise(&order);
        prop_assert!(fence.epoch >= 1);
        // Journaled and read back, it is the same.
        let entry = Entry::new(order.clone(), State::Accepted);
        let text = serde_json::to_vec(&entry).expect("JSON");
        prop_assert_eq!(serde_json::from_slice::<Entry>(&text).expect("the same form").order, order.clone());
        if let Some(Action::ConfigureLoadBalancer(action)) = &order.action
            && let Ok(text) = render(action, Family::V4)
        {
            prop_assert!(text.lines().all(is_ours), "{}", text);
        }
    }

    #[test]
    fn fuzz_objects_of_the_cluster(text in fuzz::damaged_text(&[KUBECONFIG, DOCUMENTS]), more in fuzz::text()) {
        let data = |key: &str| json!({"data": {key: text, "other": more}, "metadata": {"name": more, "annotations": more}});
        let info = data("kubeconfig");
        let _ = (cluster_info::server(&info), cluster_info::endpoint(&info), cluster_info::signed(&info));
        let _ = cluster_info::change(&info, "https://10.0.0.9:6443");
        let proxy = data("kubeconfig.conf");
        let _ = (kube_proxy::endpoint(&proxy), kube_proxy::change(&proxy, "https://10.0.0.9:6443"));
        let list = json!({"items": [proxy, more, {"spec": more, "status": {"conditions": more}}]});
        let _ = kube_proxy::pods(&list);
        let _ = token::made_for(&more, &list);
        let _ = kubeadm_config::read(&data("ClusterConfiguration"));
        let _ = token::lifetime(&more);
    }
}

proptest! {
    // Each case is a file.
    #![proptest_config(proptest::test_runner::Config { cases: fuzz::config().cases / 10, ..fuzz::config() })]

    #[test]
    fn fuzz_journal_records(bytes in fuzz::damaged(vec![
        serde_json::to_vec(&Entry::new(order(), State::Running { unit: "u".into() })).expect("JSON"),
    ])) {
        let folder = tempfile::tempdir().expect("folder");
        let paths = crate::paths::Paths::under(folder.path());
        std::fs::create_dir_all(paths.journal()).expect("folder");
        let id = order().id;
        std::fs::write(crate::journal::path_of(&paths.journal(), &id), bytes).expect("written");
        if let Ok(Some(entry)) = crate::journal::read(&paths, &id) {
            prop_assert_eq!(entry.order.id, id);
        }
    }
}
