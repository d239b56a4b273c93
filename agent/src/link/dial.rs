//! Dials one endpoint: TCP, TLS with our own configuration, HTTP/2 with keep-alive.

use super::failure::Failure;
use crate::identity::AgentIdentity;
use hyper_util::rt::TokioIo;
use quorate_pki::{Hot, TlsMaterial};
use quorate_proto::limits::{KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_TIMEOUT_SECONDS};
use quorate_proto::token::parse_endpoint;
use quorate_proto::v1::Problem;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// TCP, TLS and HTTP/2 together: a loaded coordinator answers in well under a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Dials with the certificate of the moment, so that a renewed one is used from the next dial on.
#[derive(Clone)]
pub struct Dialer {
    material: Arc<Hot<TlsMaterial>>,
}

impl Dialer {
    pub fn new(material: Arc<Hot<TlsMaterial>>) -> Self {
        Dialer { material }
    }

    pub async fn channel(&self, endpoint: &str) -> Result<Channel, Failure> {
        let config = quorate_pki::client_config(&self.material.load()).map_err(|error| {
            Problem::new("identity-broken", "the agent's certificate cannot be used")
                .because(error.to_string())
                .next("enrol again: quorate-agent enroll --force TOKEN")
        })?;
        connect(endpoint, config).await
    }
}

/// `endpoint` is host:port; its host is the name that the server's certificate has to carry.
pub async fn connect(endpoint: &str, config: ClientConfig) -> Result<Channel, Failure> {
    let address = parse_endpoint(endpoint)?;
    let name = ServerName::try_from(address.host.clone())
        .map_err(|error| Problem::new("endpoint-malformed", error.to_string()).at(endpoint))?;
    let port = u16::try_from(address.port).unwrap_or_default();
    let target = Arc::new((address.host, port, name));
    let tls = TlsConnector::from(Arc::new(config));
    let connector = tower::service_fn(move |_: http::Uri| {
        let (target, tls) = (target.clone(), tls.clone());
        async move {
            let (host, port, name) = &*target;
            let tcp = TcpStream::connect((host.as_str(), *port)).await?;
            tcp.set_nodelay(true)?;
            let stream = tls.connect(name.clone(), tcp).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    // With https:// tonic would insist on a TLS configuration of its own.
    let http2 = Endpoint::from_static("http://quorate")
        .http2_keep_alive_interval(Duration::from_secs(KEEPALIVE_INTERVAL_SECONDS))
        .keep_alive_timeout(Duration::from_secs(KEEPALIVE_TIMEOUT_SECONDS))
        .keep_alive_while_idle(true);
    let dialled = http2.connect_with_connector(connector);
    match tokio::time::timeout(CONNECT_TIMEOUT, dialled).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(Failure::of_transport(endpoint, &error)),
        Err(_) => Err(Problem::new(
            "coordinator-unreachable",
            format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        )
        .at(endpoint)
        .because("a firewall drops the packets, or the machine is down")
        .next("check the address and that its port is open from this node")
        .into()),
    }
}

/// A channel beside the session, for bulk and renewals: with the identity on disk, to the first endpoint that answers.
pub async fn beside(identity: &AgentIdentity) -> Result<(String, Channel), Failure> {
    let dialer = Dialer::new(Arc::new(Hot::new(identity.material.clone())));
    let mut last = None;
    for endpoint in &identity.endpoints {
        match dialer.channel(endpoint).await {
            Ok(channel) => return Ok((endpoint.clone(), channel)),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| Problem::new("identity-broken", "no endpoint is known").into()))
}
