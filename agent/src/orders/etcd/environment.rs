//! etcd's options for one member, as the environment file of its unit. Pure.
//!
//! Comments in the file say which cluster and which member it is for, so that data of another one is recognised.

use quorate_proto::v1::{ClusterConfig, MemberAddress, NodeConfig, Problem};
use std::net::IpAddr;

pub const DATA_FOLDER: &str = "/var/lib/etcd/quorate";
const PKI: &str = "/etc/quorate/etcd/pki";
const PEER_PORT: u16 = 2380;
const CLIENT_PORT: u16 = crate::etcd::CLIENT_PORT;
/// Metrics and health, without TLS: where load balancers look.
pub const METRICS_PORT: u16 = crate::etcd::gauges::METRICS_PORT;
/// The largest database that etcd recommends.
const QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Revisions older than this are dropped, hourly; otherwise the database only grows.
const COMPACTION: &str = "8h";

/// How the member comes to its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first of a new cluster.
    New,
    /// Added to an existing one, with this id.
    Join(u64),
}

impl Start {
    /// As written into the file.
    pub fn identity(self) -> String {
        match self {
            Start::New => "first".to_owned(),
            Start::Join(id) => format!("{id:x}"),
        }
    }
}

/// What an environment file says about whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    pub member: String,
}

pub fn peer_url(address: IpAddr) -> String {
    url("https", address, PEER_PORT)
}

pub fn render(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    address: IpAddr,
    start: Start,
    initial: &[MemberAddress],
) -> Result<String, Problem> {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let client_url = url("https", address, CLIENT_PORT);
    let both = |scheme, port| {
        format!(
            "{},{}",
            url(scheme, address, port),
            url(scheme, loopback, port)
        )
    };
    let members: Vec<String> = initial
        .iter()
        .map(|member| format!("{}={}", member.name, member.peer_url))
        .collect();
    let state = match start {
        Start::New => "new",
        Start::Join(_) => "existing",
    };
    let mut options = vec![
        ("ETCD_NAME", node.name.clone()),
        ("ETCD_DATA_DIR", DATA_FOLDER.to_owned()),
        ("ETCD_LISTEN_PEER_URLS", peer_url(address)),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", peer_url(address)),
        ("ETCD_LISTEN_CLIENT_URLS", both("https", CLIENT_PORT)),
        ("ETCD_ADVERTISE_CLIENT_URLS", client_url),
        ("ETCD_LISTEN_METRICS_URLS", both("http", METRICS_PORT)),
        ("ETCD_INITIAL_CLUSTER", members.join(",")),
        ("ETCD_INITIAL_CLUSTER_STATE", state.to_owned()),
        ("ETCD_INITIAL_CLUSTER_TOKEN", cluster.id.clone()),
        ("ETCD_STRICT_RECONFIG_CHECK", "true".to_owned()),
        ("ETCD_CLIENT_CERT_AUTH", "true".to_owned()),
        ("ETCD_TRUSTED_CA_FILE", format!("{PKI}/ca.crt")),
        ("ETCD_CERT_FILE", format!("{PKI}/server.crt")),
        ("ETCD_KEY_FILE", format!("{PKI}/server.key")),
        ("ETCD_PEER_CLIENT_CERT_AUTH", "true".to_owned()),
        ("ETCD_PEER_TRUSTED_CA_FILE", format!("{PKI}/ca.crt")),
        ("ETCD_PEER_CERT_FILE", format!("{PKI}/peer.crt")),
        ("ETCD_PEER_KEY_FILE", format!("{PKI}/peer.key")),
        ("ETCD_AUTO_COMPACTION_MODE", "periodic".to_owned()),
        ("ETCD_AUTO_COMPACTION_RETENTION", COMPACTION.to_owned()),
        ("ETCD_QUOTA_BACKEND_BYTES", QUOTA_BYTES.to_string()),
        // Otherwise a member that returns calls an election, and all clients wait for it: the default up to etcd 3.4.
        ("ETCD_PRE_VOTE", "true".to_owned()),
        ("ETCD_HEARTBEAT_INTERVAL", "100".to_owned()),
        ("ETCD_ELECTION_TIMEOUT", "1000".to_owned()),
        ("ETCD_LOGGER", "zap".to_owned()),
        ("ETCD_LOG_OUTPUTS", "stderr".to_owned()),
    ];
    if cfg!(target_arch = "aarch64") {
        // etcd 3.4 refuses to start there unless told to.
        options.push(("ETCD_UNSUPPORTED_ARCH", "arm64".to_owned()));
    }
    let mut text = format!(
        "# Written by quorate-agent; changes are overwritten.\n# cluster {}\n# member {}\n",
        plain("cluster.id", &cluster.id)?,
        start.identity()
    );
    for (name, value) in &options {
        text += &format!("{name}={}\n", plain(name, value)?);
    }
    Ok(text)
}

/// Whom a file is for; `None` if it is not one of ours.
pub fn identity(text: &str) -> Option<Identity> {
    let after = |prefix: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(prefix))
            .map(str::to_owned)
    };
    Some(Identity {
        cluster: after("# cluster ")?,
        member: after("# member ")?,
    })
}

/// The same file for a member that has its data: the members it began with are left out. Should the data be lost, etcd then refuses
/// to start, where it would otherwise come back without what it has promised to the others, and ruin the cluster.
pub fn settled(text: &str) -> String {
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
    };
    let name = value("ETCD_NAME=");
    let peer_url = value("ETCD_INITIAL_ADVERTISE_PEER_URLS=");
    let line = |line: &str| {
        if line.starts_with("ETCD_INITIAL_CLUSTER=") {
            return format!("ETCD_INITIAL_CLUSTER={name}={peer_url}\n");
        }
        if line.starts_with("ETCD_INITIAL_CLUSTER_STATE=") {
            return "ETCD_INITIAL_CLUSTER_STATE=existing\n".to_owned();
        }
        format!("{line}\n")
    };
    text.lines().map(line).collect()
}

/// How far a recovery of this member has come, as its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    No,
    /// Each start makes a cluster of one from its data.
    Forced,
    /// It starts as any member does.
    Done,
}

const RECOVERY: &str = "# recovery ";
const FORCE: &str = "ETCD_FORCE_NEW_CLUSTER=true";

pub fn recovered(text: &str, recovery: &str) -> Recovered {
    let begun = text
        .lines()
        .any(|line| line.strip_prefix(RECOVERY) == Some(recovery));
    match (begun, text.lines().any(|line| line == FORCE)) {
        (false, _) => Recovered::No,
        (true, true) => Recovered::Forced,
        (true, false) => Recovered::Done,
    }
}

/// The file with which etcd makes a cluster of one from its data, marked with the recovery that asks for it.
pub fn forced(text: &str, recovery: &str) -> String {
    format!("{}{FORCE}\n", restored(text, recovery))
}

/// The file of a member whose data is a cluster of one already, as a snapshot that was put back is.
pub fn restored(text: &str, recovery: &str) -> String {
    let kept = unforced(text);
    let kept: String = kept
        .lines()
        .filter(|line| !line.starts_with(RECOVERY))
        .flat_map(|line| [line, "\n"])
        .collect();
    format!("{}{RECOVERY}{recovery}\n", settled(&kept))
}

pub fn unforced(text: &str) -> String {
    let kept = text
        .lines()
        .filter(|line| !line.starts_with("ETCD_FORCE_NEW_CLUSTER="));
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn url(scheme: &str, address: IpAddr, port: u16) -> String {
    format!("{scheme}://{}", std::net::SocketAddr::new(address, port))
}

/// Values stand unquoted in the file, so that nothing that systemd would interpret may be in them.
fn plain<'a>(field: &str, value: &'a str) -> Result<&'a str, Problem> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:,/=[]".contains(&byte);
    if !value.is_empty() && value.bytes().all(safe) {
        return Ok(value);
    }
    Err(Problem::new(
        "option-invalid",
        format!("{value:?} cannot be an option of etcd"),
    )
    .at(field)
    .because("only letters, digits and -_.:,/=[] are allowed")
    .next("use another name in the cluster file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterConfig {
        ClusterConfig {
            id: "01J0000000000000000000000".into(),
            ..ClusterConfig::default()
        }
    }

    fn node(name: &str) -> NodeConfig {
        NodeConfig {
            name: name.into(),
            ..NodeConfig::default()
        }
    }

    fn member(name: &str, peer_url: &str) -> MemberAddress {
        MemberAddress {
            name: name.into(),
            peer_url: peer_url.into(),
        }
    }

    #[test]
    fn a_joiner_over_ipv6() {
        let initial = [
            member("n1", "https://10.0.0.1:2380"),
            member("n2", "https://[2001:db8::2]:2380"),
        ];
        let address = "2001:db8::2".parse().unwrap();
        let text = render(
            &cluster(),
            &node("n2"),
            address,
            Start::Join(0xab),
            &initial,
        )
        .unwrap();
        for line in [
            "ETCD_NAME=n2",
            "ETCD_LISTEN_PEER_URLS=https://[2001:db8::2]:2380",
            "ETCD_LISTEN_CLIENT_URLS=https://[2001:db8::2]:2379,https://127.0.0.1:2379",
            "ETCD_LISTEN_METRICS_URLS=http://[2001:db8::2]:2381,http://127.0.0.1:2381",
            "ETCD_INITIAL_CLUSTER=n1=https://10.0.0.1:2380,n2=https://[2001:db8::2]:2380",
            "ETCD_INITIAL_CLUSTER_STATE=existing",
            "ETCD_PRE_VOTE=true",
            "ETCD_CLIENT_CERT_AUTH=true",
            "ETCD_PEER_CLIENT_CERT_AUTH=true",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
        let expected = Identity {
            cluster: cluster().id,
            member: "ab".into(),
        };
        assert_eq!(identity(&text), Some(expected));
    }

    #[test]
    fn the_first_member() {
        let address = "10.0.0.1".parse().unwrap();
        let initial = [member("n1", &peer_url(address))];
        let text = render(&cluster(), &node("n1"), address, Start::New, &initial).unwrap();
        assert!(text.contains("\nETCD_INITIAL_CLUSTER_STATE=new\n"));
        assert_eq!(identity(&text).unwrap().member, "first");
        assert_eq!(identity("ETCD_NAME=n1\n"), None);
    }

    #[test]
    fn a_settled_member_does_not_begin_anew() {
        let address = "10.0.0.2".parse().unwrap();
        let initial = [
            member("n1", "https://10.0.0.1:2380"),
            member("n2", "https://10.0.0.2:2380"),
        ];
        let text = render(&cluster(), &node("n2"), address, Start::Join(7), &initial).unwrap();
        let after = settled(&text);
        for line in [
            "ETCD_INITIAL_CLUSTER=n2=https://10.0.0.2:2380",
            "ETCD_INITIAL_CLUSTER_STATE=existing",
        ] {
            assert!(after.lines().any(|l| l == line), "{line} not in\n{after}");
        }
        assert_eq!(after.lines().count(), text.lines().count());
        assert_eq!(identity(&after), identity(&text));
        assert_eq!(settled(&after), after);
    }

    #[test]
    fn a_recovery_is_forced_once() {
        let address = "10.0.0.2".parse().unwrap();
        let initial = [member("n2", "https://10.0.0.2:2380")];
        let text = render(&cluster(), &node("n2"), address, Start::Join(7), &initial).unwrap();
        assert_eq!(recovered(&text, "r1"), Recovered::No);
        let first = forced(&text, "r1");
        assert_eq!(recovered(&first, "r1"), Recovered::Forced);
        assert_eq!(identity(&first), identity(&text));
        let done = unforced(&first);
        assert_eq!(recovered(&done, "r1"), Recovered::Done);
        // A restart or another order does not bring it back, and a later recovery is another one.
        assert_eq!(recovered(&settled(&done), "r1"), Recovered::Done);
        assert_eq!(recovered(&done, "r2"), Recovered::No);
        let second = forced(&done, "r2");
        assert_eq!(recovered(&second, "r2"), Recovered::Forced);
        assert_eq!(recovered(&second, "r1"), Recovered::No);
        assert_eq!(second.matches(FORCE).count(), 1);
    }

    #[test]
    fn no_value_breaks_out_of_its_line() {
        let address = "10.0.0.1".parse().unwrap();
        for hostile in [
            "",
            "n1\nETCD_FORCE_NEW_CLUSTER=true",
            "n1\\",
            "n 1",
            "n'1",
            "n\"1",
            "$HOME",
            "n1;",
            "n\u{e9}",
        ] {
            let initial = [member("n1", "https://10.0.0.1:2380")];
            let refused = render(&cluster(), &node(hostile), address, Start::New, &initial);
            assert_eq!(refused.unwrap_err().code, "option-invalid", "{hostile:?}");
            if !hostile.is_empty() {
                let initial = [member(hostile, "https://10.0.0.1:2380")];
                let refused = render(&cluster(), &node("n1"), address, Start::New, &initial);
                assert_eq!(refused.unwrap_err().code, "option-invalid", "{hostile:?}");
            }
            let cluster = ClusterConfig {
                id: hostile.into(),
                ..ClusterConfig::default()
            };
            let refused = render(&cluster, &node("n1"), address, Start::New, &[]);
            assert_eq!(refused.unwrap_err().code, "option-invalid", "{hostile:?}");
        }
    }
}
