//! Who calls, and where.

use crate::lab::Host;
use crate::product::Fleet;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An address as clients write it, and where it leads: the lab's names are in no resolver of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub at: IpAddr,
}

impl Target {
    pub fn ip(host: &Host, port: u16) -> Self {
        Self::at(host.ip().into(), port)
    }

    pub fn ip6(host: &Host, port: u16) -> Self {
        Self::at(host.ip6().into(), port)
    }

    fn at(at: IpAddr, port: u16) -> Self {
        Target {
            host: at.to_string(),
            port,
            at,
        }
    }

    pub fn name(name: &str, port: u16, leads_to: &Host) -> Self {
        Target {
            host: name.to_owned(),
            port,
            at: leads_to.ip().into(),
        }
    }

    pub(super) fn socket(&self) -> SocketAddr {
        (self.at, self.port).into()
    }

    pub(super) fn server_name(&self) -> Result<ServerName<'static>> {
        server_name(&self.host)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

pub(super) fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).with_context(|| format!("no name of a server: {host}"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Etcd,
    Kubernetes,
}

#[derive(Clone)]
pub struct Access {
    pub(super) service: Service,
    pub(super) tls: Arc<ClientConfig>,
    /// Whether some of the requests to an API server write; of those to etcd every other does.
    pub(super) writes: bool,
}

impl Access {
    /// Shows writes that are lost too. Three API servers on two cores are kept busy by little else then.
    pub fn writing(self) -> Self {
        Access {
            writes: true,
            ..self
        }
    }

    /// Where a member answers.
    pub fn port(&self) -> u16 {
        match self.service {
            Service::Etcd => 2379,
            Service::Kubernetes => 6443,
        }
    }

    /// As a user gets it from the coordinator.
    pub fn etcd(fleet: &Fleet, cluster: &str) -> Result<Self> {
        let folder = format!("/root/{cluster}-access");
        fleet.quorate(&["kubeconfig", cluster, "--force", "-f", &folder])?;
        let [authority, certificate, key] = ["ca.crt", "client.crt", "client.key"]
            .map(|file| fleet.coordinator.read(&format!("{folder}/{file}")));
        Self::new(Service::Etcd, &authority?, &certificate?, &key?)
    }

    /// The administrator's, of a control plane.
    pub fn kubernetes(member: &Host) -> Result<Self> {
        let text = crate::product::kubernetes::kubectl(
            member,
            &["config", "view", "--raw", "-o", "json"],
        )?;
        let config: Value = serde_json::from_str(&text)?;
        let data = |value: &Value| -> Result<Vec<u8>> {
            Ok(STANDARD.decode(value.as_str().context("no such data in the kubeconfig")?)?)
        };
        let user = &config["users"][0]["user"];
        Self::new(
            Service::Kubernetes,
            &data(&config["clusters"][0]["cluster"]["certificate-authority-data"])?,
            &data(&user["client-certificate-data"])?,
            &data(&user["client-key-data"])?,
        )
    }

    fn new(service: Service, authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(authority) {
            roots.add(root?)?;
        }
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>()?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
        // A resumed session would prove no certificate.
        tls.resumption = Resumption::disabled();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Access {
            service,
            tls: Arc::new(tls),
            writes: false,
        })
    }
}
