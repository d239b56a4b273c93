//! Ports that the role needs and another program holds.

use super::finding::{fatal, ok};
use super::role::Role;
use crate::context::Context;
use crate::paths::Paths;
use quorate_proto::v1::{ClusterConfig, Distribution, Finding, Problem};
use std::collections::BTreeMap;
use std::fs;

/// Port -> what it is for.
type Wanted = BTreeMap<u16, &'static str>;
/// Port -> inode of its listening socket.
type Listening = BTreeMap<u16, u64>;

pub fn check(context: &Context, role: Role, cluster: &ClusterConfig) -> Vec<Finding> {
    let wanted = wanted(role, cluster);
    if role.ours {
        return wanted
            .iter()
            .map(|(port, purpose)| ok(name(*port), format!("{purpose}: this node's own")))
            .collect();
    }
    let listening = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|table| fs::read_to_string(context.paths.at(table)).unwrap_or_default())
        .concat();
    let listening = parse(&listening);
    let holder = |port: u16| {
        listening
            .get(&port)
            .map(|inode| owner(&context.paths, *inode).unwrap_or_else(|| "unknown".to_owned()))
    };
    wanted
        .iter()
        .map(|(port, purpose)| judge(*port, purpose, holder(*port)))
        .collect()
}

fn name(port: u16) -> String {
    format!("Port-{port}")
}

fn wanted(role: Role, cluster: &ClusterConfig) -> Wanted {
    let mut ports = Wanted::new();
    if role.containers() {
        ports.extend([
            (10250, "kubelet"),
            (10248, "kubelet health"),
            (10249, "kube-proxy metrics"),
            (10256, "kube-proxy health"),
        ]);
    }
    if role.control_plane() {
        ports.extend([
            (6443, "kube-apiserver"),
            (10257, "kube-controller-manager"),
            (10259, "kube-scheduler"),
        ]);
    }
    let etcd = match role.distribution {
        Distribution::Kubeadm | Distribution::Etcd => role.member,
        Distribution::Unspecified => false,
    };
    if etcd {
        ports.extend([
            (2379, "etcd clients"),
            (2380, "etcd peers"),
            (2381, "etcd metrics"),
        ]);
    }
    let endpoint = cluster
        .endpoint
        .as_ref()
        .map_or(0, |endpoint| endpoint.port);
    if role.load_balancer
        && let Ok(port @ 1..) = u16::try_from(endpoint)
    {
        ports.insert(port, "load balancer");
    }
    ports
}

/// `sl local_address rem_address st ... uid timeout inode`, state 0A is LISTEN.
fn parse(table: &str) -> Listening {
    table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
            let (_, port) = local.rsplit_once(':')?;
            let port = u16::from_str_radix(port, 16).ok()?;
            (*state == "0A").then(|| Some((port, inode.parse().ok()?)))?
        })
        .collect()
}

/// Name and number of the process with that socket.
fn owner(paths: &Paths, inode: u64) -> Option<String> {
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir(paths.at("/proc")).ok()?;
    processes.flatten().find_map(|process| {
        let number: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        files.find(|file| {
            fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == socket.as_str())
        })?;
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        Some(format!("{} (process {number})", name.trim()))
    })
}

fn judge(port: u16, purpose: &str, holder: Option<String>) -> Finding {
    let Some(holder) = holder else {
        return ok(name(port), format!("free for {purpose}"));
    };
    fatal(
        name(port),
        Problem::new(
            "port-in-use",
            format!("port {port} ({purpose}) is in use by {holder}"),
        )
        .at(format!("port {port}"))
        .because("another cluster or service runs on this machine")
        .next("stop and disable it, or use another machine"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::role::testing::{control_plane, etcd_member, load_balancer, worker};
    use super::*;
    use quorate_proto::v1::{Endpoint, Severity};

    fn ports(role: Role) -> Vec<u16> {
        let cluster = ClusterConfig {
            endpoint: Some(Endpoint {
                host: "lb".into(),
                port: 8443,
            }),
            ..ClusterConfig::default()
        };
        wanted(role, &cluster).into_keys().collect()
    }

    #[test]
    fn each_role_needs_its_ports() {
        assert_eq!(
            ports(control_plane()),
            [
                2379, 2380, 2381, 6443, 10248, 10249, 10250, 10256, 10257, 10259
            ]
        );
        assert_eq!(ports(worker()), [10248, 10249, 10250, 10256]);
        assert_eq!(ports(etcd_member()), [2379, 2380, 2381]);
        assert_eq!(ports(load_balancer()), [8443]);
    }

    #[test]
    fn only_listening_sockets_hold_a_port() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 24190 1
   1: 0B00500A:192B 0C00500A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 24191 1
   2: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 24192 1
";
        let listening = parse(table);
        assert_eq!(listening, BTreeMap::from([(2379, 24190), (10250, 24192)]));
    }

    #[test]
    fn a_held_port_names_its_holder() {
        let held = judge(6443, "kube-apiserver", Some("nginx (process 7)".into()));
        assert_eq!(held.severity(), Severity::Fatal);
        assert_eq!(held.name, "Port-6443");
        assert!(held.problem.expect("problem").what.contains("nginx"));
        assert_eq!(judge(6443, "x", None).severity(), Severity::Ok);
    }

    #[test]
    fn a_real_listener_is_found_with_its_owner() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listener");
        let port = listener.local_addr().expect("address").port();
        let listening = parse(&fs::read_to_string("/proc/net/tcp").expect("table"));
        let inode = listening.get(&port).expect("listening");
        let owner = owner(&Paths::default(), *inode).expect("owner");
        assert!(
            owner.ends_with(&format!("(process {})", std::process::id())),
            "{owner}"
        );
    }
}
