//! HAProxy's configuration for an order. Pure; every value is checked, so that none can bring a line of its own.

use crate::observe::load_balancer::socket::SOCKET;
use crate::paths::Paths;
use quorate_pki::Name;
use quorate_proto::v1::{Backend, ConfigureLoadBalancer, Frontend, HealthCheck, Problem};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write;

pub const FILE: &str = "/etc/haproxy/haproxy.cfg";
/// The page of statistics, which is no front end of the cluster.
pub const STATS: &str = "quorate-stats";
/// etcd's health without TLS; its client port asks for a certificate.
const ETCD_HEALTH_PORT: u16 = 2381;
const MAX_NAME: usize = 63;

/// Connections may idle: clients of Kubernetes and etcd watch for hours. A process that a reload has replaced ends after half an hour,
/// whatever it still carries, so that many reloads do not add up.
const HEAD: &str = "\
global
    log /dev/log local0 notice
    chroot /var/lib/haproxy
    stats socket {socket} mode 600 level admin expose-fd listeners
    stats timeout 30s
    hard-stop-after 30m
    user haproxy
    group haproxy
    daemon

defaults
    log global
    mode tcp
    option dontlognull
    option redispatch
    option clitcpka
    option srvtcpka
    retries 3
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 2s
";

/// What the machine can listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Both,
    /// IPv6 is switched off in the kernel.
    V4,
}

impl Family {
    pub fn of(paths: &Paths) -> Self {
        match paths.at("/proc/net/if_inet6").exists() {
            true => Family::Both,
            false => Family::V4,
        }
    }

    fn bind(self, port: u16) -> String {
        match self {
            Family::Both => format!("bind :::{port} v4v6"),
            Family::V4 => format!("bind 0.0.0.0:{port}"),
        }
    }
}

pub fn render(order: &ConfigureLoadBalancer, family: Family) -> Result<String, Problem> {
    check_unique(order)?;
    let mut body = HEAD.replace("{socket}", SOCKET);
    for frontend in &order.frontends {
        body += &proxy(frontend, family)?;
    }
    if order.stats_port != 0 {
        let bind = family.bind(port("stats_port", order.stats_port)?);
        body += &format!(
            "\nfrontend {STATS}\n    mode http\n    {bind}\n    timeout client 30s\n    stats enable\n    stats uri /\n    stats refresh 5s\n"
        );
    }
    Ok(format!(
        "# Written by quorate-agent; changes are overwritten.\n# digest {}\n# content {}\n{body}",
        word("digest", &order.digest, b":-_", 200)?,
        content_hash(&body),
    ))
}

/// The digest that a file was written for; `None` once it was changed by another hand.
pub fn intact_digest(text: &str) -> Option<&str> {
    let mut parts = text.splitn(4, '\n');
    let (_, digest, content, body) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let intact = content.strip_prefix("# content ")? == content_hash(body);
    digest.strip_prefix("# digest ").filter(|_| intact)
}

fn content_hash(body: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(body.as_bytes())))
}

fn proxy(frontend: &Frontend, family: Family) -> Result<String, Problem> {
    let name = proxy_name(&frontend.name)?;
    let bind = family.bind(port(name, frontend.port)?);
    let (checks, options) = health_check(frontend)?;
    let mut text = format!(
        "\nfrontend {name}\n    {bind}\n    default_backend {name}\n\nbackend {name}\n    balance leastconn\n"
    );
    for line in checks {
        let _ = writeln!(text, "    {line}");
    }
    for backend in &frontend.backends {
        let _ = writeln!(text, "    {}", server(name, backend, &options)?);
    }
    Ok(text)
}

/// The backend's lines and each server's options for the check.
fn health_check(frontend: &Frontend) -> Result<(&'static [&'static str], String), Problem> {
    let unknown = || {
        Problem::new(
            "load-balancer-invalid",
            format!("there is no health check number {}", frontend.check),
        )
        .at(&frontend.name)
        .because("coordinator and agent of different versions")
        .next("install the same version of both packages")
    };
    match HealthCheck::try_from(frontend.check).map_err(|_| unknown())? {
        HealthCheck::Unspecified => Err(unknown()),
        HealthCheck::Tcp => Ok((&[], String::new())),
        HealthCheck::Readyz => Ok((
            &["option httpchk GET /readyz", "http-check expect status 200"],
            " check-ssl verify none".to_owned(),
        )),
        HealthCheck::Etcd => Ok((
            &[
                "option httpchk GET /health",
                r#"http-check expect rstring '"health"\s*:\s*"true"'"#,
            ],
            format!(" port {ETCD_HEALTH_PORT}"),
        )),
    }
}

fn server(frontend: &str, backend: &Backend, options: &str) -> Result<String, Problem> {
    let name = word(
        &format!("{frontend}.backends"),
        &backend.name,
        b"._-",
        MAX_NAME,
    )?;
    let at = format!("{frontend}.{name}");
    let address = Name::parse(&backend.address).map_err(|error| invalid(&at, error.to_string()))?;
    let port = port(&at, backend.port)?;
    let (place, resolve) = match &address {
        Name::Ip(ip) => (std::net::SocketAddr::new(*ip, port).to_string(), ""),
        // A name that does not resolve must not keep HAProxy from starting.
        Name::Dns(host) => (format!("{host}:{port}"), " init-addr last,libc,none"),
    };
    Ok(format!(
        "server {name} {place} check{options} inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions{resolve}"
    ))
}

fn check_unique(order: &ConfigureLoadBalancer) -> Result<(), Problem> {
    let (mut names, mut ports) = (BTreeSet::from([STATS]), BTreeSet::from([order.stats_port]));
    for frontend in &order.frontends {
        if !names.insert(&frontend.name) {
            return Err(invalid(&frontend.name, "the name is used twice"));
        }
        if !ports.insert(frontend.port) {
            let what = format!("the port {} is used twice", frontend.port);
            return Err(invalid(&frontend.name, what));
        }
        let mut servers = BTreeSet::new();
        for backend in &frontend.backends {
            if !servers.insert(&backend.name) {
                let what = format!("the backend {:?} is there twice", backend.name);
                return Err(invalid(&frontend.name, what));
            }
        }
    }
    Ok(())
}

fn proxy_name(name: &str) -> Result<&str, Problem> {
    // Upper case alone is HAProxy's own: GLOBAL, MASTER, FRONTEND, BACKEND.
    if name.chars().any(|character| character.is_ascii_lowercase()) {
        return word("frontends", name, b"._-", MAX_NAME);
    }
    Err(invalid(
        "frontends",
        format!("{name:?} holds no lower-case letter"),
    ))
}

/// Letters, digits and the given further characters; begins with a letter or digit.
fn word<'a>(
    field: &str,
    text: &'a str,
    further: &[u8],
    longest: usize,
) -> Result<&'a str, Problem> {
    let begins = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || further.contains(&byte));
    if begins && plain && text.len() <= longest {
        return Ok(text);
    }
    let shown: String = text.chars().take(100).collect();
    Err(invalid(field, format!("{shown:?} cannot be a name")))
}

/// The name rule that the runtime socket's commands rely on.
pub fn is_server_name(name: &str) -> bool {
    word("", name, b"._-", MAX_NAME).is_ok()
}

fn port(field: &str, port: u32) -> Result<u16, Problem> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| invalid(field, format!("{port} is no port")))
}

fn invalid(field: &str, what: impl Into<String>) -> Problem {
    Problem::new("load-balancer-invalid", what)
        .at(field)
        .next("correct the load balancer's section of the cluster file")
}
