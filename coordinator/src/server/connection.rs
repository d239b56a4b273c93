//! A connection after its handshake, and who is on the other side.

use super::gate::Pass;
use quorate_pki::{Identity, inspect_der};
use quorate_proto::v1::Problem;
use std::io::{Error, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// In every request of the connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// None on the enrolment listener.
    pub caller: Option<Arc<Caller>>,
}

/// From the certificate, after the handshake has verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub identity: Identity,
    pub serial: String,
    pub expires: SystemTime,
}

impl Caller {
    fn of(stream: &TlsStream<TcpStream>) -> Result<Option<Arc<Self>>, Problem> {
        let (_, session) = stream.get_ref();
        let Some(certificate) = session.peer_certificates().and_then(<[_]>::first) else {
            return Ok(None);
        };
        let unusable = |error: quorate_pki::PkiError| {
            Problem::new("unauthenticated-certificate", error.to_string())
        };
        let info = inspect_der(certificate).map_err(unusable)?;
        Ok(Some(Arc::new(Caller {
            identity: Identity::from_cert_der(certificate).map_err(unusable)?,
            serial: info.serial,
            expires: info.not_after,
        })))
    }
}

pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    _pass: Pass<IpAddr>,
}

impl Connection {
    pub fn new(
        stream: TlsStream<TcpStream>,
        address: SocketAddr,
        pass: Pass<IpAddr>,
    ) -> Result<Self, Problem> {
        let caller = Caller::of(&stream)?;
        Ok(Connection {
            stream,
            peer: Peer { address, caller },
            _pass: pass,
        })
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
