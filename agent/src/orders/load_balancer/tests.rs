//! The rendered configuration in the hands of a real HAProxy.

use super::render::{FILE, Family, intact_digest, render};
use super::*;
use crate::etcd::testing::unique_network;
use crate::observe::load_balancer::view;
use quorate_proto::v1::{Backend, Frontend, HealthCheck, Marks};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn backend(name: &str, address: &str, port: u32) -> Backend {
    Backend {
        name: name.into(),
        address: address.into(),
        port,
    }
}

fn frontend(name: &str, port: u32, check: HealthCheck, backends: Vec<Backend>) -> Frontend {
    Frontend {
        name: name.into(),
        port,
        backends,
        check: check as i32,
    }
}

fn order(frontends: Vec<Frontend>) -> ConfigureLoadBalancer {
    ConfigureLoadBalancer {
        digest: "sha256:0a".into(),
        frontends,
        stats_port: 8404,
    }
}

fn full() -> ConfigureLoadBalancer {
    order(vec![
        frontend(
            "api",
            6443,
            HealthCheck::Readyz,
            vec![
                backend("n1", "10.0.0.1", 6443),
                backend("n2", "2001:db8::2", 6443),
            ],
        ),
        frontend(
            "etcd",
            2379,
            HealthCheck::Etcd,
            vec![backend("n1", "10.0.0.1", 2379)],
        ),
        frontend(
            "ingress.https",
            443,
            HealthCheck::Tcp,
            vec![backend("w-1", "no-such-host.invalid", 30443)],
        ),
        frontend("empty", 444, HealthCheck::Tcp, vec![]),
    ])
}

/// What a machine of the product has in fixed places, for a process of a test.
fn in_folder(text: &str, folder: &Path) -> String {
    text.lines()
        .filter(|line| {
            !["chroot", "user", "group", "daemon", "log"]
                .iter()
                .any(|word| line.trim_start().split(' ').next() == Some(*word))
        })
        .map(|line| {
            format!(
                "{}\n",
                line.replace(
                    "/run/haproxy/",
                    &format!("{}/run/haproxy/", folder.display())
                )
            )
        })
        .collect()
}

fn require_haproxy() {
    assert!(
        Path::new(PROGRAM).is_file(),
        "{PROGRAM} is missing: install the Debian package haproxy to run this test"
    );
}

#[test]
fn each_kind_of_check() {
    let text = render(&full(), Family::Both).unwrap();
    for line in [
        "    bind :::6443 v4v6",
        "    option httpchk GET /readyz",
        "    server n1 10.0.0.1:6443 check check-ssl verify none inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions",
        "    server n2 [2001:db8::2]:6443 check check-ssl verify none inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions",
        "    server n1 10.0.0.1:2379 check port 2381 inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions",
        r#"    http-check expect rstring '"health"\s*:\s*"true"'"#,
        "    bind :::8404 v4v6",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }
    let v4 = render(&full(), Family::V4).unwrap();
    assert!(v4.contains("bind 0.0.0.0:6443\n") && !v4.contains("v4v6"));
}

#[test]
fn a_change_by_another_hand_shows() {
    let text = render(&full(), Family::Both).unwrap();
    assert_eq!(intact_digest(&text), Some("sha256:0a"));
    assert_eq!(intact_digest(&text.replace("fall 2", "fall 9")), None);
    assert_eq!(intact_digest("global\n"), None);
    assert_eq!(intact_digest(""), None);
}

#[test]
fn no_value_brings_a_line_of_its_own() {
    const HOSTILE: [&str; 16] = [
        "",
        " ",
        "a b",
        "a\n    server evil 6.6.6.6:1",
        "a\r",
        "a\tb",
        "a#b",
        "a'b",
        "a\"b",
        "a\\",
        "a;b",
        "$HOME",
        "${HOME}",
        "-a",
        "a/b",
        "\u{e4}",
    ];
    let with = |change: &dyn Fn(&mut ConfigureLoadBalancer)| {
        let mut order = full();
        change(&mut order);
        render(&order, Family::Both)
    };
    for hostile in HOSTILE {
        let long = "x".repeat(64);
        for text in [hostile, long.as_str()] {
            let name = with(&|order| order.frontends[0].name = text.into());
            assert!(name.is_err(), "front end {text:?}");
            let name = with(&|order| order.frontends[0].backends[0].name = text.into());
            assert!(name.is_err(), "backend {text:?}");
        }
        let address = with(&|order| order.frontends[0].backends[0].address = hostile.into());
        assert!(address.is_err(), "address {hostile:?}");
        let digest = with(&|order| order.digest = hostile.into());
        assert!(digest.is_err(), "digest {hostile:?}");
    }
    for address in [
        "10.0.0.1:80",
        "10.0.0.256",
        "fe80::1%eth0",
        "/run/haproxy/admin.sock",
        "unix@a",
    ] {
        assert!(with(&|order| order.frontends[0].backends[0].address = address.into()).is_err());
    }
    for name in ["GLOBAL", "MASTER", "quorate-stats", "etcd"] {
        assert!(
            with(&|order| order.frontends[0].name = name.into()).is_err(),
            "{name}"
        );
    }
    for port in [0, 65_536, 2379, 8404, u32::MAX] {
        assert!(
            with(&|order| order.frontends[0].port = port).is_err(),
            "{port}"
        );
    }
    assert!(with(&|order| order.frontends[0].backends[0].port = 0).is_err());
    assert!(with(&|order| order.frontends[0].backends[0].name = "n2".into()).is_err());
    assert!(with(&|order| order.frontends[0].check = 0).is_err());
    assert!(with(&|order| order.frontends[0].check = 99).is_err());
    assert!(with(&|order| order.stats_port = 70_000).is_err());
}

#[tokio::test]
async fn haproxy_accepts_it_and_says_what_it_does_not() {
    require_haproxy();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("haproxy.cfg");
    for family in [Family::Both, Family::V4] {
        check(&file, &render(&full(), family).unwrap())
            .await
            .unwrap();
    }
    let broken = render(&full(), Family::Both).unwrap() + "    servre n9 10.0.0.9:1\n";
    let problem = check(&file, &broken).await.unwrap_err();
    assert_eq!(problem.code, "load-balancer-invalid");
    assert!(problem.cause.contains("servre"), "{problem}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers every connection as etcd's health endpoint does.
async fn serve_health(address: SocketAddr, answer: &'static str) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let head = format!(
                "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            let _ = stream.write_all((head + answer).as_bytes()).await;
        }
    });
}

#[tokio::test]
async fn the_running_process_is_observed() {
    require_haproxy();
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::under(root.path());
    let (a, b) = unique_network();
    let address = |last| IpAddr::from([127, a, b, last]);
    serve_health(SocketAddr::new(address(1), 2381), r#"{"health":"true"}"#).await;
    serve_health(SocketAddr::new(address(2), 2381), r#"{"health":"false"}"#).await;
    let servers = (1..=3)
        .map(|n| backend(&format!("n{n}"), &address(n).to_string(), 2379))
        .collect();
    let mut order = order(vec![frontend("etcd", 23790, HealthCheck::Etcd, servers)]);
    order.stats_port = 0;
    let text = render(&order, Family::V4).unwrap();
    files::write_atomic(&paths.at(FILE), text.as_bytes(), 0o644).unwrap();
    let marks = Marks {
        load_balancer: order.digest.clone(),
        ..Marks::default()
    };
    let silent = view(&paths, &marks).await.unwrap();
    assert!(!silent.running);
    assert_eq!(silent.problem.unwrap().code, "haproxy-down");
    assert_eq!(silent.digest, order.digest);
    let none = view(&paths, &Marks::default()).await.unwrap();
    assert_eq!(none, Default::default());

    // The process listens on this test's own address instead of on all.
    let config = root.path().join("run.cfg");
    let own = text.replace("bind 0.0.0.0:", &format!("bind {}:", address(9)));
    std::fs::write(&config, in_folder(&own, root.path())).unwrap();
    std::fs::create_dir_all(root.path().join("run/haproxy")).unwrap();
    let process = Command::new(PROGRAM)
        .args(["-db", "-f"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _process = Process(process.unwrap());

    let since = Instant::now();
    let seen = loop {
        let seen = view(&paths, &marks).await.unwrap();
        let down = |index: usize| {
            seen.backends
                .get(index)
                .is_some_and(|b| b.detail.starts_with("DOWN"))
        };
        if seen.backends.first().is_some_and(|b| b.up) && down(1) && down(2) {
            break seen;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "{seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(seen.running);
    assert_eq!(seen.problem, None);
    assert_eq!(seen.backends[2].frontend, "etcd");
    assert!(seen.backends[2].detail.contains("L4CON"), "{seen:?}");
    assert!(serves(&paths, &order).await);
    assert!(socket::process(&paths).await.unwrap() > 0);

    // A server that is to go takes no more connections, and keeps those that it has.
    socket::ask(&paths, "set server etcd/n1 state drain")
        .await
        .unwrap();
    let seen = view(&paths, &marks).await.unwrap();
    assert!(
        !seen.backends[0].up && seen.backends[0].detail.starts_with("DRAIN"),
        "{seen:?}"
    );

    files::write_atomic(&paths.at(FILE), b"global\n", 0o644).unwrap();
    let edited = view(&paths, &marks).await.unwrap();
    assert!(edited.running && edited.digest.is_empty());
    assert_eq!(edited.problem.unwrap().code, "load-balancer-changed");
}
