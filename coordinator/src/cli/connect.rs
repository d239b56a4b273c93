//! The connection to the coordinator: our own TLS under tonic's channel.

use super::context::Context;
use super::exit::Exit;
use super::explain;
use super::failure::{Failure, Outcome};
use crate::clock;
use hyper_util::rt::TokioIo;
use quorate_proto::limits::{
    KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_TIMEOUT_SECONDS, MAX_MESSAGE_BYTES,
};
use quorate_proto::v1::Problem;
use quorate_proto::v1::operator_client::OperatorClient;
use rustls_pki_types::ServerName;
use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use tower::service_fn;

/// A lost packet or two at each step of TCP and TLS; a person waits for the answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Calls that the coordinator answers from what it knows.
pub const SHORT: Duration = Duration::from_secs(30);
/// Calls that wait for orders to nodes: a node's check may run tools with limits of their own.
pub const LONG: Duration = Duration::from_secs(180);
/// Status of 5,000 nodes is about 5 MiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

pub type Client = OperatorClient<Channel>;

/// Connects now, so that what is wrong with the connection is said as such.
pub async fn connect(context: &Context) -> Outcome<Client> {
    context.check_dates(clock::unix_ms())?;
    let dial = Dial::new(context)?;
    let other = dial.clone();
    let endpoint = Endpoint::from_static("http://coordinator")
        .http2_keep_alive_interval(Duration::from_secs(KEEPALIVE_INTERVAL_SECONDS))
        .keep_alive_timeout(Duration::from_secs(KEEPALIVE_TIMEOUT_SECONDS))
        .keep_alive_while_idle(true);
    let connector = service_fn(move |_| {
        let dial = dial.clone();
        async move { dial.open().await.map(TokioIo::new) }
    });
    let channel = match endpoint.connect_with_connector(connector).await {
        Ok(channel) => channel,
        Err(error) => return Err(unreachable(&error, &context.server, Some(&other)).await),
    };
    Ok(OperatorClient::new(channel)
        .max_decoding_message_size(MAX_ANSWER_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES))
}

#[derive(Clone)]
struct Dial {
    address: String,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Dial {
    fn new(context: &Context) -> Outcome<Self> {
        let wrong = |what: String| Problem::new("context-unreadable", what).at("context file");
        let (host, _) = context
            .server
            .rsplit_once(':')
            .ok_or_else(|| wrong("`server` is not HOST:PORT".into()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| wrong("`server` names no valid host".into()))?;
        let config = quorate_pki::client_config(&context.material())
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Dial {
            address: context.server.clone(),
            name,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Why connections are closed without a word: a TLS 1.3 client learns that its certificate is refused when it
    /// reads, and by then its first write may have failed. So this one reads first.
    async fn ask_why(&self) -> Option<explain::Cause> {
        let work = async { self.open().await?.read_u8().await };
        match timeout(CONNECT_LIMIT, work).await {
            Ok(Err(error)) => Some(explain::classify(&error)),
            Ok(Ok(_)) | Err(_) => None,
        }
    }

    async fn open(&self) -> io::Result<TlsStream<TcpStream>> {
        let work = async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            self.tls.connect(self.name.clone(), stream).await
        };
        timeout(CONNECT_LIMIT, work)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// One call and its answer, within a limit.
pub async fn call<T>(
    context: &Context,
    limit: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Outcome<T> {
    match timeout(limit, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(failed(&status, context).await),
        Err(_) => Err(Failure::new(
            Exit::Unreachable,
            Problem::new(
                "coordinator-silent",
                format!("no answer within {} s", limit.as_secs()),
            )
            .at(context.server.clone())
            .next("on the coordinator's machine: journalctl -u quorate-coordinator"),
        )),
    }
}

/// An answer that says no, or a connection that broke under the call.
pub async fn failed(status: &Status, context: &Context) -> Failure {
    let broken = matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Internal
    );
    match status.source() {
        // Only what happened on this side has a source; an answer of the coordinator has none.
        Some(source) if broken && status.details().is_empty() => {
            unreachable(source, &context.server, Dial::new(context).ok().as_ref()).await
        }
        Some(_) | None => Failure::from_status(status),
    }
}

async fn unreachable(error: &(dyn Error + 'static), server: &str, dial: Option<&Dial>) -> Failure {
    let mut cause = explain::classify(error);
    let mut detail = Vec::new();
    let mut next = Some(error);
    while let Some(link) = next {
        detail.push(link.to_string());
        next = link.source();
    }
    if let (explain::Cause::Closed, Some(dial)) = (&cause, dial) {
        cause = dial.ask_why().await.unwrap_or(cause);
    }
    Failure {
        exit: Exit::Unreachable,
        problems: vec![explain::problem(&cause, server)],
        detail,
    }
}
