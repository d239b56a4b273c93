//! Serves the fake with mutual TLS, and makes the certificates for it.

use super::fake::Fake;
use quorate_pki::{
    Authority, Identity, Leaf, Name, Role, TlsMaterial, Usage, mutual_server_config,
};
use quorate_proto::v1::operator_server::OperatorServer;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

const DAY: Duration = Duration::from_secs(86_400);

pub fn authority(name: &str) -> Authority {
    Authority::create(name, DAY * 365, SystemTime::now() - DAY * 30).unwrap()
}

pub fn leaf(role: Role, id: &str) -> Leaf {
    Leaf {
        common_name: id.to_owned(),
        organization: Vec::new(),
        names: Vec::new(),
        uri: Some(Identity::new(role, id).unwrap().to_uri()),
        usage: Usage::Client,
        validity: DAY,
    }
}

fn server_leaf(address: &str) -> Leaf {
    Leaf {
        names: vec![Name::parse(address).unwrap()],
        usage: Usage::Server,
        ..leaf(Role::Coordinator, "main")
    }
}

/// `name` is the address in the server's certificate; it listens at 127.0.0.1 in any case.
pub async fn listen(ca: &Authority, name: &str, crl: Option<&str>, fake: Arc<Fake>) -> SocketAddr {
    let pair = ca.issue(&server_leaf(name), SystemTime::now()).unwrap();
    let material = TlsMaterial {
        cert_chain_pem: pair.issued.cert_pem,
        key_pem: pair.key_pem,
        ca_bundle_pem: ca.cert_pem().to_owned(),
    };
    let config = mutual_server_config(&material, crl).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handshake = acceptor.accept(stream);
            let sender = sender.clone();
            tokio::spawn(async move {
                if let Ok(stream) = handshake.await {
                    let _ = sender.send(io::Result::Ok(Peer(stream))).await;
                }
            });
        }
    });
    let service = OperatorServer::from_arc(fake);
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(ReceiverStream::new(receiver)),
    );
    address
}

struct Peer(TlsStream<TcpStream>);

impl Connected for Peer {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
