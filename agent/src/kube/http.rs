//! Small HTTP client: bounded in time and size, one connection for a few calls in a row.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use quorate_proto::v1::Problem;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Largest answer read: a table of some ten thousand nodes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Code of the error of a call that was never sent: the server had closed the connection, as it may at any time.
pub const CLOSED: &str = "connection-closed";

/// Where a server is, and by which name its certificate is checked.
#[derive(Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub tls: Arc<ClientConfig>,
}

impl Target {
    pub fn url(&self) -> String {
        format!("https://{}", authority(&self.host, self.port))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Json,
    MergePatch,
}

impl Content {
    fn header(self) -> &'static str {
        match self {
            Content::Json => "application/json",
            Content::MergePatch => "application/merge-patch+json",
        }
    }
}

#[derive(Clone)]
pub struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub accept: &'a str,
    pub body: Option<(Content, Bytes)>,
}

impl<'a> Call<'a> {
    pub fn get(path: &'a str) -> Self {
        Call {
            method: Method::GET,
            path,
            accept: "application/json",
            body: None,
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    pub fn success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// An open connection. Calls on it follow one another.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    pub async fn open(target: &Target, within: Duration) -> Result<Self, Problem> {
        let url = target.url();
        let work = async {
            let name = ServerName::try_from(target.host.clone())
                .map_err(|error| unreachable(&url, &error.to_string()))?;
            let tcp = TcpStream::connect((target.host.as_str(), target.port))
                .await
                .map_err(|error| unreachable(&url, &error.to_string()))?;
            let tls = TlsConnector::from(target.tls.clone())
                .connect(name, tcp)
                .await
                .map_err(|error| unreachable(&url, &error.to_string()))?;
            Self::over(tls, authority(&target.host, target.port)).await
        };
        bounded(&url, within, work).await
    }

    /// Over a stream that is there already; `authority` is the host that is asked for.
    pub async fn over<S>(stream: S, authority: String) -> Result<Self, Problem>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        handshake(stream, authority).await
    }

    /// Any status is an answer; only no answer is an error.
    pub async fn call(&mut self, call: Call<'_>, within: Duration) -> Result<Answer, Problem> {
        let place = format!("{} {}{}", call.method, self.authority, call.path);
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, call.accept)
            .header(header::USER_AGENT, "quorate-agent");
        let body = match call.body {
            Some((content, bytes)) => {
                request = request.header(header::CONTENT_TYPE, content.header());
                bytes
            }
            None => Bytes::new(),
        };
        let request = request
            .body(Full::new(body))
            .map_err(|error| unreachable(&place, &error.to_string()))?;
        let work = async {
            let sent = self.sender.send_request(request).await;
            let answer = sent.map_err(|error| match error.is_canceled() || error.is_closed() {
                true => Problem::new(CLOSED, "the server closed the connection").at(&place),
                false => unreachable(&place, &error.to_string()),
            })?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| unreachable(&place, &error.to_string()))?
                .to_bytes();
            Ok(Answer { status, body })
        };
        bounded(&place, within, work).await
    }
}

/// One plain GET, for kubelet and etcd, which answer so on the loopback.
pub async fn plain_get(
    host: &str,
    port: u16,
    path: &str,
    within: Duration,
) -> Result<Answer, Problem> {
    let place = format!("http://{}{path}", authority(host, port));
    let work = async {
        let tcp = TcpStream::connect((host, port))
            .await
            .map_err(|error| unreachable(&place, &error.to_string()))?;
        let mut connection = handshake(tcp, authority(host, port)).await?;
        connection.call(Call::get(path), within).await
    };
    bounded(&place, within, work).await
}

async fn handshake<S>(stream: S, authority: String) -> Result<Connection, Problem>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(&authority, &error.to_string()))?;
    // Ends with the sender, or with the stream; the caller sees either as an error of its call.
    tokio::spawn(connection);
    Ok(Connection { sender, authority })
}

async fn bounded<T>(
    place: &str,
    within: Duration,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    match timeout(within, work).await {
        Ok(result) => result,
        Err(_) => Err(unreachable(
            place,
            &format!("no answer within {} ms", within.as_millis()),
        )),
    }
}

fn unreachable(place: &str, cause: &str) -> Problem {
    Problem::new("no-answer", format!("no answer: {cause}")).at(place)
}

/// `host:port`, an IPv6 address in brackets.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn brackets_ipv6_only() {
        assert_eq!(authority("10.0.0.1", 6443), "10.0.0.1:6443");
        assert_eq!(authority("fd00::1", 6443), "[fd00::1]:6443");
        assert_eq!(authority("api.example", 1), "api.example:1");
    }

    async fn serve(reply: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(reply.as_bytes()).await;
            // Held open: a server that says nothing more must not hang the caller.
            std::future::pending::<()>().await;
        });
        port
    }

    #[tokio::test]
    async fn reads_status_and_body() {
        let port = serve("HTTP/1.1 503 Nope\r\ncontent-length: 3\r\n\r\nbad").await;
        let answer = plain_get("127.0.0.1", port, "/x", Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!((answer.status, &answer.body[..]), (503, &b"bad"[..]));
        assert!(!answer.success());
    }

    #[tokio::test]
    async fn tells_a_closed_connection_from_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut connection = handshake(stream, address.to_string()).await.unwrap();
        drop(listener.accept().await.unwrap());
        let call = connection.call(Call::get("/x"), Duration::from_secs(5));
        let problem = call.await.unwrap_err();
        assert!(
            problem.code == CLOSED || problem.code == "no-answer",
            "{problem}"
        );
        // By now the client has seen the end.
        let again = connection.call(Call::get("/x"), Duration::from_secs(5));
        assert_eq!(again.await.unwrap_err().code, CLOSED);
    }

    #[tokio::test]
    async fn gives_up_on_a_silent_server() {
        let port = serve("").await;
        let problem = plain_get("127.0.0.1", port, "/x", Duration::from_millis(50))
            .await
            .unwrap_err();
        assert_eq!(problem.code, "no-answer");
        assert!(problem.what.contains("within 50 ms"), "{problem}");
    }

    #[tokio::test]
    async fn names_a_refused_connection() {
        let problem = plain_get("127.0.0.1", 1, "/x", Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(problem.what.contains("refused"), "{problem}");
    }
}
