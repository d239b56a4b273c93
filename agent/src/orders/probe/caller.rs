//! As whom this node calls the endpoint.

use crate::context::Context;
use crate::etcd::{EtcdAccess, EtcdClient};
use crate::kube::api::{self, Api};
use crate::kube::carrier;
use crate::kube::kubeconfig::Kubeconfig;
use crate::orders::distribution;
use crate::orders::kubeadm::ready::node_path;
use crate::paths::Paths;
use quorate_pki::plain_https_client_config;
use quorate_proto::v1::{Distribution, Problem};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;

pub const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";
/// In every API server's certificate, and in every member's of an etcd cluster.
const KUBERNETES_NAME: &str = "kubernetes";
const ETCD_NAME: &str = "localhost";
/// One call to etcd through the endpoint.
const CALL: Duration = Duration::from_secs(5);

/// A client certificate of this cluster, and its authority.
#[derive(Clone)]
pub struct Credentials {
    pub tls: Arc<ClientConfig>,
    pub authority_pem: String,
}

/// What each connection asks for.
#[derive(Clone)]
pub enum Questions {
    /// A control plane: the namespace's uid is the same only in this cluster.
    Cluster { uid: String },
    /// A worker: it may read its own Node.
    Node { path: String },
    /// An etcd member, at its port for clients.
    Etcd,
}

#[derive(Clone)]
pub struct Caller {
    pub host: String,
    /// The name that certificates have to cover: the endpoint's, or one that all members' cover already.
    pub expected: String,
    /// Without any this node can only see whether somebody answers.
    pub as_client: Option<(Credentials, Questions)>,
    pub paths: Paths,
}

impl Caller {
    pub async fn of(
        context: &Context,
        place: &(String, u16),
        pending: bool,
    ) -> Result<Self, Problem> {
        let paths = &context.paths;
        let distribution = distribution(context)?;
        let as_client = match distribution {
            Distribution::Kubeadm => kubernetes(context).await?,
            Distribution::Etcd => etcd(paths)?,
            Distribution::Unspecified => None,
        };
        Ok(Caller {
            host: place.0.clone(),
            expected: match distribution {
                Distribution::Kubeadm | Distribution::Etcd | Distribution::Unspecified
                    if !pending =>
                {
                    place.0.clone()
                }
                Distribution::Kubeadm => KUBERNETES_NAME.to_owned(),
                Distribution::Etcd | Distribution::Unspecified => ETCD_NAME.to_owned(),
            },
            as_client,
            paths: paths.clone(),
        })
    }

    pub fn sees_servers(&self) -> bool {
        self.as_client.is_some()
    }

    /// For etcd, whose members say which cluster they are of only to a client of its own protocol.
    pub async fn prove_cluster(&self, place: &(String, u16)) -> Result<(), Problem> {
        match self.as_client {
            // Its authority is this cluster's alone, which the handshakes have shown.
            Some((_, Questions::Etcd)) if self.expected != self.host => return Ok(()),
            Some((_, Questions::Etcd)) => {}
            Some((_, Questions::Cluster { .. } | Questions::Node { .. })) | None => return Ok(()),
        }
        let local = EtcdAccess::required(&self.paths)?;
        let url = format!("https://{}", carrier::text(place));
        let through = local.at(&url).ok_or_else(|| {
            Problem::new("order-malformed", "the endpoint is no host and port").at(&url)
        })?;
        let id = async |access: &EtcdAccess| {
            let client = EtcdClient::new(access, CALL);
            client.member_list(true).await.map_err(|it| it.problem())?;
            let status = client.status().await.map_err(|it| it.problem())?;
            Ok::<u64, Problem>(status.header.unwrap_or_default().cluster_id)
        };
        match id(&local).await? == id(&through).await? {
            true => Ok(()),
            false => Err(
                super::verdict::other_cluster("its etcd has another cluster id")
                    .at(carrier::text(place)),
            ),
        }
    }
}

async fn kubernetes(context: &Context) -> Result<Option<(Credentials, Questions)>, Problem> {
    let paths = &context.paths;
    let (admin, kubelet) = (
        paths.kubernetes().join("admin.conf"),
        paths.kubernetes().join("kubelet.conf"),
    );
    if admin.exists() && api::local_endpoint(paths).is_ok() {
        let namespace = Api::new(paths)?.get(KUBE_SYSTEM).await?.unwrap_or_default();
        let uid = namespace["metadata"]["uid"].as_str().unwrap_or_default();
        if uid.is_empty() {
            return Err(Problem::new(
                "api-refused",
                "the API server of this node does not tell its cluster's identity",
            )
            .at(KUBE_SYSTEM));
        }
        let questions = Questions::Cluster {
            uid: uid.to_owned(),
        };
        return Ok(Some((credentials(&admin)?, questions)));
    }
    if kubelet.exists() {
        let path = node_path(&context.node()?.name);
        return Ok(Some((credentials(&kubelet)?, Questions::Node { path })));
    }
    Ok(None)
}

fn credentials(file: &std::path::Path) -> Result<Credentials, Problem> {
    let config = Kubeconfig::read(file)?;
    let pair = Some((config.certificate_pem.as_str(), config.key_pem.as_str()));
    with_pair(config.authority_pem.clone(), pair)
        .map_err(|problem| problem.at(file.display().to_string()))
}

fn etcd(paths: &Paths) -> Result<Option<(Credentials, Questions)>, Problem> {
    let folder = paths.etcd_pki();
    let pair = crate::host::pair::Pair::new(&folder, "client");
    let (certificate, key) = pair.read()?;
    if certificate.is_empty() || key.is_empty() {
        return Ok(None);
    }
    let authority = crate::host::files::read_text(&folder.join("ca.crt"))?;
    let credentials = with_pair(authority, Some((&certificate, &key)))?;
    Ok(Some((credentials, Questions::Etcd)))
}

pub fn with_pair(
    authority_pem: String,
    pair: Option<(&str, &str)>,
) -> Result<Credentials, Problem> {
    let tls = plain_https_client_config(&authority_pem, pair).map_err(|error| {
        Problem::new(
            "credentials-unusable",
            format!("cannot use this node's client certificate: {error}"),
        )
        .because("a half-written or hand-edited file")
    })?;
    Ok(Credentials {
        tls: Arc::new(tls),
        authority_pem,
    })
}
