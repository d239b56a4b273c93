//! Accepts connections. Handshakes run in tasks of their own, so that a slow one holds up nobody, and each takes the
//! TLS configuration of its moment.

use super::connection::Connection;
use super::gate::{Gate, Limits, Pass};
use crate::authority::source;
use rustls::ServerConfig;
use std::io::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Far above what a handshake over a bad link takes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that have shaken hands and wait to be served.
const READY: usize = 256;
/// Connections that the kernel keeps for us while we are busy: all agents may come back at once.
const BACKLOG: u32 = 4096;
/// After an error that lasts, such as too many open files. Connections that end cannot be waited for from here.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // So that a restart does not wait for connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The stream never ends with an error: a failed handshake is only the end of that connection.
pub fn accept(
    listener: TcpListener,
    config: impl Fn() -> Arc<ServerConfig> + Send + 'static,
    limits: Limits,
    shutdown: CancellationToken,
) -> ReceiverStream<Result<Connection, Error>> {
    let (ready, connections) = mpsc::channel(READY);
    tokio::spawn(async move {
        let handshakes = Gate::new(limits.handshakes);
        let open = Gate::new(limits.connections);
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                // An IPv4 address that came in over an IPv6 socket counts as what it is.
                Ok((stream, from)) => (
                    stream,
                    SocketAddr::new(from.ip().to_canonical(), from.port()),
                ),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let from = source(address.ip());
            let passes = handshakes.enter(from).zip(open.enter(from));
            let Some((handshake, pass)) = passes else {
                tracing::debug!(%address, "too many connections, closed one");
                continue;
            };
            let ready = ready.clone();
            let acceptor = TlsAcceptor::from(config());
            tokio::spawn(async move {
                if let Some(connection) = shake_hands(acceptor, stream, address, pass).await {
                    drop(handshake);
                    // Fails when the server has stopped.
                    let _ = ready.send(Ok(connection)).await;
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    pass: Pass<IpAddr>,
) -> Option<Connection> {
    // Messages are small and answers are waited for.
    let _ = stream.set_nodelay(true);
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => match Connection::new(stream, address, pass) {
            Ok(connection) => Some(connection),
            Err(problem) => {
                tracing::info!(%address, %problem, "a certificate without an identity");
                None
            }
        },
        Ok(Err(error)) => {
            tracing::info!(%address, %error, "handshake refused");
            None
        }
        Err(_) => {
            tracing::info!(%address, "handshake took too long");
            None
        }
    }
}
