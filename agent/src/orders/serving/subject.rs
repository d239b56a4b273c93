//! What serves on a member: its pairs, who signs them, and where they are seen.

use super::names::{Own, first_service};
use crate::context::Context;
use crate::etcd::CLIENT_PORT;
use crate::host::files;
use crate::host::pair::Pair;
use crate::orders::etcd::{certificates, claim as etcd_claim};
use crate::orders::kubeadm::layout::Layout;
use crate::orders::kubeadm::{API_PORT, claim as kubeadm_claim};
use quorate_pki::{Authority, CertificateInfo, Name, SKEW};
use quorate_proto::v1::{Distribution, Problem};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// etcd's port for other members.
const PEER_PORT: u16 = 2380;
/// kubeadm's default range of services.
const SERVICES: &str = "10.96.0.0/12";

/// One pair and where it is served.
pub struct Serving {
    pub pair: Pair,
    pub address: SocketAddr,
}

pub struct Subject {
    pub authority: Authority,
    pub own: Own,
    pub serving: Vec<Serving>,
    /// Lets the server read a new key.
    pub own_key: fn(&Path) -> Result<(), Problem>,
    /// `None`: as long as the present one.
    validity: Option<Duration>,
}

impl Subject {
    pub fn of(context: &Context, distribution: Distribution) -> Result<Self, Problem> {
        match distribution {
            Distribution::Kubeadm => kubeadm(context),
            Distribution::Etcd => etcd(context),
            Distribution::Unspecified => Err(super::missing("distribution")),
        }
    }

    #[cfg(test)]
    pub fn test(authority: Authority, own: Own, serving: Serving) -> Self {
        Subject {
            authority,
            own,
            serving: vec![serving],
            own_key: |_| Ok(()),
            validity: None,
        }
    }

    pub fn validity(&self, present: &CertificateInfo) -> Duration {
        self.validity.unwrap_or_else(|| {
            let life = present.not_after.duration_since(present.not_before);
            life.unwrap_or_default().saturating_sub(SKEW).max(SKEW)
        })
    }
}

fn kubeadm(context: &Context) -> Result<Subject, Problem> {
    kubeadm_claim::require(context)?;
    let layout = Layout::of(&context.paths);
    let (address, name) = node(context)?;
    let manifest = files::read_optional(&layout.manifests().join("kube-apiserver.yaml"))?;
    let ranges = service_ranges(&String::from_utf8_lossy(&manifest.unwrap_or_default()))
        .unwrap_or_else(|| {
            context
                .cluster()
                .map(|it| it.service_subnet.clone())
                .unwrap_or_default()
        });
    let service = first_service(&ranges).or_else(|| first_service(SERVICES));
    Ok(Subject {
        authority: kubeadm_authority(&layout.pki())?,
        own: Own {
            required: vec![name, Name::Ip(address)],
            kept: service.map(Name::Ip).into_iter().collect(),
        },
        serving: vec![Serving {
            pair: Pair::new(layout.pki(), "apiserver"),
            address: SocketAddr::new(address, API_PORT),
        }],
        own_key: |_| Ok(()),
        validity: None,
    })
}

fn etcd(context: &Context) -> Result<Subject, Problem> {
    etcd_claim::require(context)?;
    let (address, name) = node(context)?;
    let folder = context.paths.etcd_pki();
    let serving = |stem: &str, port| Serving {
        pair: Pair::new(&folder, stem),
        address: SocketAddr::new(address, port),
    };
    Ok(Subject {
        authority: certificates::required(&context.paths, context.cluster()?)?,
        own: Own {
            required: vec![
                name,
                Name::Ip(address),
                Name::Dns("localhost".to_owned()),
                Name::Ip(IpAddr::from([127, 0, 0, 1])),
                Name::Ip(std::net::Ipv6Addr::LOCALHOST.into()),
            ],
            kept: Vec::new(),
        },
        serving: vec![serving("server", CLIENT_PORT), serving("peer", PEER_PORT)],
        own_key: certificates::show_key_to_etcd,
        validity: Some(certificates::LEAF_VALIDITY),
    })
}

fn node(context: &Context) -> Result<(IpAddr, Name), Problem> {
    let node = context.node()?;
    let address = node.address.parse().map_err(|_| {
        Problem::new(
            "address-invalid",
            format!("{:?} is no IP address", node.address),
        )
        .at(format!("node {}", node.name))
        .next("give the node's IP address in the cluster file")
    })?;
    let name =
        Name::parse(&node.name).map_err(|error| Problem::new("name-invalid", error.to_string()))?;
    Ok((address, name))
}

/// The cluster's authority, or the one below it for another purpose.
pub fn kubeadm_authority(folder: &Path) -> Result<Authority, Problem> {
    load_authority(&folder.join("ca.crt"), &folder.join("ca.key"))
}

pub fn load_authority(certificate: &Path, key: &Path) -> Result<Authority, Problem> {
    let place = key.display().to_string();
    let Some(bytes) = files::read_optional(key)? else {
        return Err(Problem::new(
            "authority-missing",
            "this node does not hold the authority's key",
        )
        .at(place)
        .because("the node is no control plane, or the authority is kept outside of the cluster"));
    };
    let text = Zeroizing::new(String::from_utf8(bytes).unwrap_or_default());
    Authority::load(&files::read_text(certificate)?, &text).map_err(|error| {
        Problem::new(
            "certificates",
            format!("cannot sign with the authority: {error}"),
        )
        .at(place)
    })
}

fn service_ranges(manifest: &str) -> Option<String> {
    let line = manifest
        .lines()
        .find_map(|line| line.split_once("--service-cluster-ip-range="))?;
    let value = line.1.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_range_of_services() {
        for (manifest, expected) in [
            (
                "    - --service-cluster-ip-range=10.96.0.0/12\n",
                Some("10.96.0.0/12"),
            ),
            (
                "    - \"--service-cluster-ip-range=fd00::/108\"\n",
                Some("fd00::/108"),
            ),
            ("kind: Pod", None),
        ] {
            assert_eq!(service_ranges(manifest).as_deref(), expected, "{manifest}");
        }
    }
}
