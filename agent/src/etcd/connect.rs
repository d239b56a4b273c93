//! gRPC channel over our own TLS connection: tonic's own TLS knows neither our provider nor TLS 1.2's etcd.

use super::EtcdAccess;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

/// A channel that dials on its first call, and again after a broken connection.
pub(super) fn channel(access: &EtcdAccess, within: Duration) -> Channel {
    let origin = Uri::builder()
        .scheme("https")
        .authority(access.authority())
        .path_and_query("/")
        .build()
        .unwrap_or_default();
    let access = access.clone();
    // The scheme of the dialled URI only keeps tonic from asking for TLS of its own.
    Endpoint::from_static("http://etcd")
        .origin(origin)
        .connect_timeout(within)
        .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let access = access.clone();
            async move { dial(&access).await.map(TokioIo::new) }
        }))
}

async fn dial(access: &EtcdAccess) -> Result<TlsStream<TcpStream>, Error> {
    let stream = match access.source() {
        None => TcpStream::connect(access.authority()).await?,
        Some(source) => connect_from(source, access.authority()).await?,
    };
    stream.set_nodelay(true)?;
    let host = host_of(access.authority());
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    TlsConnector::from(access.tls()).connect(name, stream).await
}

/// Between addresses of the loopback, which are no names.
async fn connect_from(source: IpAddr, authority: &str) -> Result<TcpStream, Error> {
    let to: SocketAddr = authority
        .parse()
        .map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind((source, 0).into())?;
    socket.connect(to).await
}

/// The host without its port and without IPv6's brackets.
fn host_of(authority: &str) -> &str {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    host.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn hosts() {
        for (authority, host) in [
            ("10.0.0.1:2379", "10.0.0.1"),
            ("[2001:db8::1]:2379", "2001:db8::1"),
            ("etcd-1.example:2379", "etcd-1.example"),
        ] {
            assert_eq!(host_of(authority), host);
        }
    }
}
