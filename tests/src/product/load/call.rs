//! One address: its kept connections, and single requests through it. HTTP/2 over TLS, as the clients of both services speak it.

use super::access::{Access, Service, Target};
use super::counts::{Failure, Tally};
use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;

/// A client would have given up by then.
const PATIENCE: Duration = Duration::from_secs(5);
/// What API servers ask for in `Retry-After`.
const BUSY: Duration = Duration::from_secs(1);
/// Kept connections of an address; a client has few.
const KEPT: usize = 4;
const KEY: &[u8] = b"load";
/// Of the requests to an API server one in so many writes: each costs it as much as several reads.
const WRITES: usize = 8;
/// Writers of one object get in each other's way, which would be no fault of the cluster's.
const OBJECTS: usize = 64;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;
type Sender = SendRequest<Body>;

pub struct Caller {
    target: Target,
    shown: String,
    name: ServerName<'static>,
    access: Access,
    kept: [Mutex<Option<Sender>>; KEPT],
    next: AtomicUsize,
    tally: Arc<Tally>,
}

impl Caller {
    pub fn new(access: &Access, target: &Target, tally: Arc<Tally>) -> Result<Self> {
        Ok(Caller {
            target: target.clone(),
            shown: target.to_string(),
            name: target.server_name()?,
            access: access.clone(),
            kept: Default::default(),
            next: AtomicUsize::new(0),
            tally,
        })
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Not counted: whether the address serves at all.
    pub async fn prove(&self) -> Result<(), Failure> {
        within(self.fresh(0)).await
    }

    pub async fn call(&self, fresh: bool, turn: usize) {
        let result = within(async {
            loop {
                let result = match fresh {
                    true => self.fresh(turn).await,
                    false => self.kept(turn).await,
                };
                let Err(Failure::Busy) = result else {
                    return result;
                };
                // An API server that has more to do than it can: clients do as it says, and come again.
                self.tally.put_off();
                tokio::time::sleep(BUSY).await;
            }
        });
        self.tally.answered(&self.shown, result.await);
    }

    async fn fresh(&self, turn: usize) -> Result<(), Failure> {
        let sender = self.connect().await?;
        ask(sender, self.request(turn))
            .await
            .map_err(Unanswered::failure)
    }

    async fn kept(&self, turn: usize) -> Result<(), Failure> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % KEPT;
        match ask(self.kept_sender(at).await?, self.request(turn)).await {
            // The server closed the connection before: every client then takes another.
            Err(Unanswered::NeverSent(_)) => {
                *self.kept[at].lock().await = None;
                ask(self.kept_sender(at).await?, self.request(turn))
                    .await
                    .map_err(Unanswered::failure)
            }
            other => other.map_err(Unanswered::failure),
        }
    }

    async fn kept_sender(&self, at: usize) -> Result<Sender, Failure> {
        let mut place = self.kept[at].lock().await;
        if let Some(sender) = place.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let sender = self.connect().await?;
        *place = Some(sender.clone());
        Ok(sender)
    }

    /// An open watch: the answer whose body goes on.
    pub async fn watch(&self) -> Result<Response<Incoming>, Failure> {
        let open = async {
            let mut sender = self.connect().await?;
            let response = sender
                .send_request(self.watch_request())
                .await
                .map_err(broken)?;
            expect_ok(response.status())?;
            Ok(response)
        };
        within(open).await
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        self.tally.handshake();
        let stream = TcpStream::connect(self.target.socket())
            .await
            .map_err(|error| Failure::Other(format!("connecting: {error}")))?;
        let connector = TlsConnector::from(Arc::clone(&self.access.tls));
        let stream = connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| tls_failure(&error))?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Its end shows in the requests.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn request(&self, turn: usize) -> Request<Body> {
        match self.access.service {
            Service::Kubernetes if self.access.writes && turn.is_multiple_of(WRITES) => {
                self.apply(turn / WRITES)
            }
            Service::Kubernetes => self.get("/api/v1/namespaces/default"),
            Service::Etcd if turn.is_multiple_of(2) => self.grpc("KV/Range", message(&[(1, KEY)])),
            Service::Etcd => {
                let value = turn.to_string();
                self.grpc("KV/Put", message(&[(1, KEY), (2, value.as_bytes())]))
            }
        }
    }

    fn watch_request(&self) -> Request<Body> {
        match self.access.service {
            // An hour: no test takes as long, so that each end is an unexpected one.
            Service::Kubernetes => self.get("/api/v1/configmaps?watch=1&timeoutSeconds=3600"),
            Service::Etcd => {
                let create = message(&[(1, KEY)]);
                let asked = framed(&message(&[(1, &create)]));
                // A watch lasts as long as its asking side stays open.
                let asking = tokio_stream::once(Ok(Frame::data(asked)))
                    .chain(tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>());
                self.grpc_request("Watch/Watch", StreamBody::new(asking).boxed_unsync())
            }
        }
    }

    fn get(&self, path: &str) -> Request<Body> {
        let mut request = Request::new(Full::new(Bytes::new()).boxed_unsync());
        self.address(&mut request, path);
        request
    }

    /// Made, or changed where it is there.
    fn apply(&self, turn: usize) -> Request<Body> {
        let name = format!("load-{}", turn % OBJECTS);
        let object = serde_json::json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"turn": turn.to_string()},
        });
        let body = Bytes::from(object.to_string());
        let mut request = Request::new(Full::new(body).boxed_unsync());
        *request.method_mut() = http::Method::PATCH;
        let place = "/api/v1/namespaces/default/configmaps";
        let path = format!("{place}/{name}?fieldManager=load&force=true");
        self.address(&mut request, &path);
        let kind = http::HeaderValue::from_static("application/apply-patch+yaml");
        request.headers_mut().insert("content-type", kind);
        request
    }

    fn grpc(&self, method: &str, message: Vec<u8>) -> Request<Body> {
        self.grpc_request(method, Full::new(framed(&message)).boxed_unsync())
    }

    fn grpc_request(&self, method: &str, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        self.address(&mut request, &format!("/etcdserverpb.{method}"));
        let headers = request.headers_mut();
        headers.insert(
            "content-type",
            http::HeaderValue::from_static("application/grpc"),
        );
        headers.insert("te", http::HeaderValue::from_static("trailers"));
        request
    }

    fn address(&self, request: &mut Request<Body>, path: &str) {
        // Made of an address and fixed paths: always a URI.
        *request.uri_mut() = format!("https://{}{path}", self.shown)
            .parse()
            .unwrap_or_default();
    }
}

enum Unanswered {
    /// The connection was over before: nothing of the request reached the server.
    NeverSent(Failure),
    Failed(Failure),
}

impl Unanswered {
    fn failure(self) -> Failure {
        match self {
            Unanswered::NeverSent(failure) | Unanswered::Failed(failure) => failure,
        }
    }
}

async fn ask(mut sender: Sender, request: Request<Body>) -> Result<(), Unanswered> {
    sender
        .ready()
        .await
        .map_err(|error| Unanswered::NeverSent(broken(error)))?;
    let response = sender.send_request(request).await.map_err(|error| {
        let never_sent = error.is_canceled() || was_too_late(&error);
        let failure = broken(error);
        match never_sent {
            true => Unanswered::NeverSent(failure),
            false => Unanswered::Failed(failure),
        }
    })?;
    answered(response).await.map_err(Unanswered::Failed)
}

/// The server had said that it goes, and which request is the last that it takes; this one came after it. Nothing was done of it, and
/// clients send it again elsewhere (RFC 9113, 6.8).
fn was_too_late(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|it| it.downcast_ref::<h2::Error>());
    cause.is_some_and(|it| {
        it.is_go_away() && it.is_remote() && it.reason() == Some(h2::Reason::NO_ERROR)
    })
}

async fn answered(response: Response<Incoming>) -> Result<(), Failure> {
    expect_ok(response.status())?;
    let grpc = response
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind == "application/grpc");
    let early = grpc_status(response.headers());
    let body = response.into_body().collect().await.map_err(broken)?;
    if !grpc {
        return Ok(());
    }
    // In the trailers, or in the headers where there is no answer.
    match body.trailers().and_then(grpc_status).or(early).as_deref() {
        Some("0") => Ok(()),
        // A read that waited while the leadership was handed on: etcd's own clients ask again, which changes nothing.
        Some(status) if status.contains("leader changed") => Err(Failure::Busy),
        other => Err(Failure::Other(format!("gRPC status {other:?}"))),
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let status = text("grpc-status")?;
    Some(match text("grpc-message") {
        Some(message) if status != "0" => format!("{status} {message}"),
        _ => status,
    })
}

fn expect_ok(status: StatusCode) -> Result<(), Failure> {
    match status {
        StatusCode::OK | StatusCode::CREATED => Ok(()),
        StatusCode::TOO_MANY_REQUESTS => Err(Failure::Busy),
        other => Err(Failure::Other(other.to_string())),
    }
}

async fn within<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(Failure::Other(format!("no answer within {PATIENCE:?}"))))
}

pub fn tls_failure(error: &io::Error) -> Failure {
    let of_tls = error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>());
    match of_tls {
        true => Failure::Tls(error.to_string()),
        false => Failure::Other(format!("handshake: {error}")),
    }
}

/// With its causes, which hyper keeps to itself.
fn broken(error: hyper::Error) -> Failure {
    Failure::Other(format!("{:#}", anyhow::Error::from(error)))
}

/// A protobuf message of short byte fields.
fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, value) in fields {
        // Both fit into one byte: fields below 16, values below 128 bytes.
        bytes.extend([number << 3 | 2, value.len() as u8 & 0x7f]);
        bytes.extend_from_slice(value);
    }
    bytes
}

/// As gRPC sends a message: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let length = (message.len() as u32).to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_etcd_reads_them() {
        assert_eq!(message(&[(1, b"ab"), (2, b"c")]), b"\x0a\x02ab\x12\x01c");
        assert_eq!(framed(b"xyz").as_ref(), b"\0\0\0\0\x03xyz");
    }
}
