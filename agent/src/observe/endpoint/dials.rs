//! Connections from this machine to watched endpoints. Those inside pods' own networks are not seen from here.

use super::sockets::{Socket, to};
use crate::kube::carrier::Place;
use crate::paths::Paths;
use nix::unistd::User;
use quorate_proto::v1::{DialCount, Endpoint, Marks, Pace};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// A name server that takes longer does not hold up reports; the last answer is used.
const LOOK_UP: Duration = Duration::from_millis(500);
/// Open files looked at to find whose a connection is: a few milliseconds. Beyond that it stays nobody's.
const MAX_LOOKED_AT: usize = 20_000;
/// HAProxy's account in the Debian package.
const HAPROXY: &str = "haproxy";
/// This agent, in the daemon or in an order's unit.
const AGENT: &str = "quorate-agent";
/// What on a control plane is given its own API server by kubeadm, and that server itself. Their connections to an endpoint that is
/// this very API server say nothing about who still needs the endpoint.
const LOCAL: [&str; 4] = [
    "kube-apiserver",
    "kube-controller",
    "kube-scheduler",
    "kubelet",
];

/// What is remembered: names that were resolved, and whose the connections are.
#[derive(Debug, Default)]
pub struct Dials {
    resolved: BTreeMap<(String, u16), Vec<SocketAddr>>,
    programs: BTreeMap<u64, String>,
}

impl Dials {
    pub async fn count(
        &mut self,
        paths: &Paths,
        marks: &Marks,
        pace: &Pace,
        own: Option<&Place>,
    ) -> Vec<DialCount> {
        if pace.watch.is_empty() {
            *self = Dials::default();
            return Vec::new();
        }
        let mut targets = Vec::new();
        for endpoint in &pace.watch {
            targets.push((endpoint, self.resolve(endpoint).await));
        }
        // A connection to an address that two of them have says nothing of which one was meant.
        let shared = shared(&targets);
        for (_, addresses) in &mut targets {
            addresses.retain(|address| !shared.contains(address));
        }
        let tables = ["tcp", "tcp6"].map(|table| {
            // The agent's own network is the machine's.
            fs::read_to_string(paths.at("/proc/net").join(table)).unwrap_or_default()
        });
        let mine = own_inodes(&paths.at("/proc/self/fd"));
        let balancer = match marks.load_balancer.is_empty() {
            true => None,
            false => User::from_name(HAPROXY)
                .ok()
                .flatten()
                .map(|it| it.uid.as_raw()),
        };
        let found: Vec<(&Endpoint, Vec<Socket>)> = targets
            .into_iter()
            .map(|(endpoint, addresses)| {
                let all = tables.iter().flat_map(|table| to(table, &addresses));
                let others = all
                    .filter(|it| !mine.contains(&it.inode) && Some(it.user) != balancer)
                    .collect();
                (endpoint, others)
            })
            .collect();
        self.learn(paths, &found);
        found
            .into_iter()
            .map(|(endpoint, sockets)| summary(endpoint, &sockets, &self.programs, own))
            .collect()
    }

    async fn resolve(&mut self, endpoint: &Endpoint) -> Vec<SocketAddr> {
        let Ok(port) = u16::try_from(endpoint.port) else {
            return Vec::new();
        };
        let key = (endpoint.host.clone(), port);
        let looked_up = timeout(LOOK_UP, lookup_host((endpoint.host.as_str(), port))).await;
        if let Ok(Ok(addresses)) = looked_up {
            let addresses: Vec<SocketAddr> = addresses
                .map(|it| SocketAddr::new(it.ip().to_canonical(), it.port()))
                .collect();
            self.resolved.insert(key, addresses.clone());
            return addresses;
        }
        self.resolved.get(&key).cloned().unwrap_or_default()
    }

    /// Finds whose the connections are that were not seen before; those that are gone are forgotten.
    fn learn(&mut self, paths: &Paths, found: &[(&Endpoint, Vec<Socket>)]) {
        let inodes: BTreeSet<u64> = found
            .iter()
            .flat_map(|(_, sockets)| sockets.iter().map(|it| it.inode))
            .collect();
        self.programs.retain(|inode, _| inodes.contains(inode));
        let new: BTreeSet<u64> = inodes
            .into_iter()
            .filter(|inode| !self.programs.contains_key(inode))
            .collect();
        if new.is_empty() {
            return;
        }
        let owners = owners(&paths.at("/proc"), &new);
        // Those without a known owner are remembered too, or each report would look for them.
        for inode in new {
            let program = owners.get(&inode).cloned().unwrap_or_default();
            self.programs.insert(inode, program);
        }
    }
}

fn shared(targets: &[(&Endpoint, Vec<SocketAddr>)]) -> BTreeSet<SocketAddr> {
    let mut seen = BTreeSet::new();
    let distinct = targets
        .iter()
        .map(|(_, addresses)| addresses.iter().collect::<BTreeSet<_>>());
    distinct
        .flatten()
        .filter(|address| !seen.insert(**address))
        .copied()
        .collect()
}

fn summary(
    endpoint: &Endpoint,
    sockets: &[Socket],
    programs: &BTreeMap<u64, String>,
    own: Option<&Place>,
) -> DialCount {
    let is_own = own.is_some_and(|(host, port)| {
        u32::from(*port) == endpoint.port && crate::kube::carrier::same_host(host, &endpoint.host)
    });
    let program = |socket: &Socket| programs.get(&socket.inode).map_or("", String::as_str);
    let counted: Vec<&Socket> = sockets
        .iter()
        .filter(|socket| ![AGENT, HAPROXY].contains(&program(socket)))
        .filter(|socket| !(is_own && is_local(program(socket))))
        .collect();
    let names: BTreeSet<&str> = counted
        .iter()
        .map(|socket| program(socket))
        .filter(|name| !name.is_empty())
        .collect();
    DialCount {
        endpoint: Some(endpoint.clone()),
        established: u32::try_from(counted.len()).unwrap_or(u32::MAX),
        programs: names.into_iter().map(str::to_owned).collect(),
    }
}

/// One that nobody can name counts as local: without the right to look into processes none can be named, and the API server stays
/// where it is for whoever calls it on its own machine.
fn is_local(program: &str) -> bool {
    program.is_empty() || LOCAL.contains(&program)
}

/// Sockets of this very process: it looks at the member's address itself.
fn own_inodes(folder: &Path) -> BTreeSet<u64> {
    links(folder).filter_map(|link| inode_of(&link)).collect()
}

/// Processes that may not be looked into, and those beyond the bound, own nothing here.
fn owners(processes: &Path, wanted: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let mut left = MAX_LOOKED_AT;
    for process in fs::read_dir(processes).into_iter().flatten().flatten() {
        let name = process.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        for link in links(&process.path().join("fd")) {
            if left == 0 || found.len() == wanted.len() {
                return found;
            }
            left -= 1;
            if let Some(inode) = inode_of(&link).filter(|inode| wanted.contains(inode)) {
                let comm = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                found.insert(inode, comm.trim().to_owned());
            }
        }
    }
    found
}

fn links(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok())
}

/// "socket:[12345]".
fn inode_of(link: &Path) -> Option<u64> {
    let text = link.to_str()?.strip_prefix("socket:[")?;
    text.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    fn endpoint(address: SocketAddr) -> Endpoint {
        Endpoint {
            host: address.ip().to_string(),
            port: address.port().into(),
        }
    }

    fn socket(inode: u64) -> Socket {
        Socket {
            local: "10.0.0.1:40000".parse().unwrap(),
            remote: "10.0.0.1:6443".parse().unwrap(),
            user: 0,
            inode,
        }
    }

    #[test]
    fn an_address_of_two_endpoints_tells_nothing() {
        let (a, b, c) = ("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1");
        let parsed = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|it| it.parse().unwrap()).collect()
        };
        let (one, two) = (Endpoint::default(), Endpoint::default());
        let targets = [(&one, parsed(&[a, a, b])), (&two, parsed(&[b, c]))];
        assert_eq!(shared(&targets), parsed(&[b]).into_iter().collect());
    }

    #[test]
    fn whose_connections_count() {
        let programs = [(1, "kubelet"), (2, "kube-apiserver"), (3, "curl"), (4, "")];
        let programs = programs
            .map(|(inode, name)| (inode, name.to_owned()))
            .into();
        let sockets: Vec<Socket> = (1..=4).map(socket).collect();
        let endpoint = endpoint(sockets[0].remote);
        let own = ("10.0.0.1".to_owned(), 6443);
        let here = summary(&endpoint, &sockets, &programs, Some(&own));
        assert_eq!(
            (here.established, here.programs),
            (1, vec!["curl".to_owned()])
        );
        let elsewhere = summary(&endpoint, &sockets, &programs, None);
        assert_eq!(elsewhere.established, 4);
        assert_eq!(elsewhere.programs, ["curl", "kube-apiserver", "kubelet"]);
    }

    /// The test's own connections are not counted, and so another process has to dial.
    #[tokio::test]
    async fn counts_what_another_process_dials() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _mine = TcpStream::connect(address).await.unwrap();
        let (_served, _) = listener.accept().await.unwrap();
        let mut other = std::process::Command::new("/bin/bash")
            .arg("-c")
            .arg(format!(
                "exec 3<>/dev/tcp/127.0.0.1/{}; read -r _ <&3",
                address.port()
            ))
            .spawn()
            .unwrap();
        let (_accepted, _) = listener.accept().await.unwrap();
        let pace = Pace {
            watch: vec![endpoint(address)],
            ..Pace::default()
        };
        let (paths, mut dials) = (Paths::default(), Dials::default());
        let counted = dials.count(&paths, &Marks::default(), &pace, None).await;
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].established, 1);
        assert_eq!(counted[0].programs, ["bash"]);
        let nothing = dials
            .count(&paths, &Marks::default(), &Pace::default(), None)
            .await;
        assert!(nothing.is_empty() && dials.programs.is_empty());
    }
}
