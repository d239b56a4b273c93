//! The cluster's CA on this node, and the certificates that it signs for the local member.
//!
//! Each member holds the CA's key and signs for itself, so that no key of a member ever travels.

use super::data::show_to_etcd;
use crate::host::files;
use crate::host::pair::Pair;
use crate::paths::Paths;
use quorate_pki::{
    Authority, IssuedWithKey, Leaf, Name, PkiError, Usage, inspect_pem, pair_matches, signed_by,
};
use quorate_proto::v1::{ClusterConfig, NodeConfig, Problem};
use std::fs::{Permissions, set_permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The coordinator has them renewed when a third is left (RenewCertificates); an expired one would stop a healthy cluster.
pub const LEAF_VALIDITY: Duration = YEAR;
/// Signed anew when prepared again with less than this left: what would be renewed soon anyway.
const LEAST_LEFT: Duration = Duration::from_secs(YEAR.as_secs() / 3);

/// Who may read a key.
#[derive(Clone, Copy)]
enum KeyReaders {
    Etcd,
    Root,
}

/// What tells the CA of one cluster from another's.
fn common_name(cluster: &ClusterConfig) -> String {
    format!("quorate etcd {}", cluster.id)
}

/// The CA that is here; `None` before there is one.
pub fn load(paths: &Paths, cluster: &ClusterConfig) -> Result<Option<Authority>, Problem> {
    let folder = paths.etcd_pki();
    let Some(certificate) = files::read_optional(&folder.join("ca.crt"))? else {
        return Ok(None);
    };
    let key = Zeroizing::new(files::read_text(&folder.join("ca.key"))?);
    let certificate = String::from_utf8_lossy(&certificate);
    of_cluster(&certificate, &key, cluster)
        .map(Some)
        .map_err(|problem| problem.at(folder.display().to_string()))
}

/// [`load`] for orders that need one.
pub fn required(paths: &Paths, cluster: &ClusterConfig) -> Result<Authority, Problem> {
    load(paths, cluster)?.ok_or_else(|| {
        Problem::new(
            "authority-missing",
            "this node does not hold the cluster's certificate authority",
        )
        .at(paths.etcd_pki().display().to_string())
        .because("an earlier step is missing, or the node was reset meanwhile")
        .next("plan again: the missing step is then ordered")
    })
}

/// Reads a CA and refuses another cluster's.
pub fn of_cluster(
    certificate: &str,
    key: &str,
    cluster: &ClusterConfig,
) -> Result<Authority, Problem> {
    let authority = Authority::load(certificate, key).map_err(unusable)?;
    let found = &authority.info().common_name;
    if *found == common_name(cluster) {
        return Ok(authority);
    }
    Err(Problem::new(
        "authority-of-another-cluster",
        format!("the certificate authority is {found:?}, not this cluster's"),
    )
    .because("the node was in another cluster and was not reset")
    .next("reset the node, if that cluster no longer needs it"))
}

/// Makes the CA; call only when [`load`] found none.
pub fn create(paths: &Paths, cluster: &ClusterConfig) -> Result<(), Problem> {
    let now = SystemTime::now();
    let authority = Authority::create(&common_name(cluster), CA_VALIDITY, now).map_err(unusable)?;
    store(paths, &authority)
}

/// The key goes first: a certificate on disk means that the CA is whole.
pub fn store(paths: &Paths, authority: &Authority) -> Result<(), Problem> {
    let folder = make_folder(paths)?;
    let key = authority.key_pem();
    files::write_atomic(&folder.join("ca.key"), key.as_bytes(), 0o600)?;
    let certificate = authority.cert_pem();
    files::write_atomic(&folder.join("ca.crt"), certificate.as_bytes(), 0o644)
}

/// Brings the member's and the agent's certificates to what the order asks; good ones stay.
pub fn ensure(
    paths: &Paths,
    authority: &Authority,
    cluster: &ClusterConfig,
    node: &NodeConfig,
    address: IpAddr,
) -> Result<(), Problem> {
    let names = names(cluster, node, address)?;
    let leaf = |common_name: &str, names: &[Name], usage| Leaf {
        common_name: common_name.to_owned(),
        organization: Vec::new(),
        names: names.to_vec(),
        uri: None,
        usage,
        validity: LEAF_VALIDITY,
    };
    // etcd's own HTTP gateway calls its gRPC side with the server certificate.
    let server = leaf(&node.name, &names, Usage::Both);
    let client = leaf("quorate-agent", &[], Usage::Client);
    for (file, leaf, readers) in [
        ("server", &server, KeyReaders::Etcd),
        ("peer", &server, KeyReaders::Etcd),
        ("client", &client, KeyReaders::Root),
    ] {
        ensure_pair(paths, authority, file, leaf, readers)?;
    }
    Ok(())
}

fn ensure_pair(
    paths: &Paths,
    authority: &Authority,
    file: &str,
    leaf: &Leaf,
    readers: KeyReaders,
) -> Result<(), Problem> {
    let pair = Pair::new(make_folder(paths)?, file);
    let (certificate, key) = pair.read()?;
    let now = SystemTime::now();
    if is_good(&certificate, &key, authority, leaf, now) {
        return Ok(());
    }
    let IssuedWithKey { issued, key_pem } = authority.issue(leaf, now).map_err(unusable)?;
    pair.install(paths, &issued.cert_pem, &key_pem, |key| match readers {
        KeyReaders::Etcd => show_key_to_etcd(key),
        KeyReaders::Root => Ok(()),
    })
}

fn is_good(
    certificate: &str,
    key: &str,
    authority: &Authority,
    leaf: &Leaf,
    now: SystemTime,
) -> bool {
    let Some(info) = inspect_pem(certificate)
        .ok()
        .and_then(|chain| chain.into_iter().next())
    else {
        return false;
    };
    let lasts = info.not_after > now + LEAST_LEFT || info.not_after >= authority.info().not_after;
    lasts
        && info.common_name == leaf.common_name
        && leaf.names.iter().all(|name| info.covers(name))
        && pair_matches(certificate, key)
        && signed_by(certificate, authority.cert_pem()).unwrap_or(false)
}

/// Every name under which a member is called: by its peers, by clients directly and through the cluster's endpoint.
fn names(
    cluster: &ClusterConfig,
    node: &NodeConfig,
    address: IpAddr,
) -> Result<Vec<Name>, Problem> {
    let endpoint = cluster.endpoint.iter().map(|endpoint| &endpoint.host);
    let mut names = vec![
        Name::Ip(address),
        Name::Ip(IpAddr::from([127, 0, 0, 1])),
        Name::Ip(std::net::Ipv6Addr::LOCALHOST.into()),
        Name::Dns("localhost".to_owned()),
    ];
    for text in std::iter::once(&node.name)
        .chain(endpoint)
        .chain(&cluster.extra_names)
        .filter(|text| !text.is_empty())
    {
        names.push(Name::parse(text).map_err(|error| {
            Problem::new("name-invalid", error.to_string())
                .next("use host names and addresses in the cluster file")
        })?);
    }
    Ok(names)
}

fn make_folder(paths: &Paths) -> Result<std::path::PathBuf, Problem> {
    let folder = paths.etcd_pki();
    files::make_folder(&folder, 0o750)?;
    show_to_etcd(&folder)?;
    Ok(folder)
}

/// A key that etcd reads and root keeps.
pub fn show_key_to_etcd(key: &Path) -> Result<(), Problem> {
    show_to_etcd(key)?;
    set_permissions(key, Permissions::from_mode(0o640)).map_err(|error| {
        Problem::new("file", format!("cannot set a file's mode: {error}"))
            .at(key.display().to_string())
    })
}

fn unusable(error: PkiError) -> Problem {
    Problem::new("certificates", format!("cannot make certificates: {error}"))
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
