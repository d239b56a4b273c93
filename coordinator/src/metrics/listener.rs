//! Plain HTTP/1.1 with bounds: few connections, small requests, one answer each, and an end to all of it.

use super::collect::collect;
use super::health::Health;
use super::render::{self, CONTENT_TYPE};
use crate::server::Parts;
use http::header::{ALLOW, CONTENT_TYPE as TYPE};
use http::{Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Some Prometheus servers and a load balancer's probes; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// For a request's lines: a scrape sends less than 1 KiB. The least that hyper takes.
const REQUEST_BYTES: usize = 8 * 1024;
const HEADERS: usize = 32;
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// For one connection as a whole; Prometheus gives up after 10 s.
const LIMIT: Duration = Duration::from_secs(15);
/// After an error that lasts, such as too many open files. Connections that end cannot be waited for from here.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

struct Served {
    parts: Parts,
    health: Health,
}

/// Until `shutdown`.
pub async fn serve(parts: Parts, listener: TcpListener, shutdown: CancellationToken) {
    let health = Health::new(Arc::clone(&parts.store), shutdown.clone());
    let served = Arc::new(Served { parts, health });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed, so there is always a permit to come.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let served = Arc::clone(&served);
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let work = timeout(LIMIT, connection(stream, served));
            // What went wrong is the other side's to notice.
            let _ = shutdown.run_until_cancelled(work).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, served: Arc<Served>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let served = Arc::clone(&served);
        async move { Ok::<_, Infallible>(answer(&served, &request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(REQUEST_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// A request's body is not looked at.
async fn answer<B>(served: &Served, request: &Request<B>) -> Response<String> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = http::HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    match request.uri().path() {
        "/metrics" => match collect(&served.parts).await {
            Ok(gauges) => plain(StatusCode::OK, render::text(&gauges)),
            Err(problem) => {
                tracing::error!(%problem, "cannot collect metrics");
                plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{problem}\n"))
            }
        },
        "/healthz" => match served.health.look().await {
            Ok(()) => plain(StatusCode::OK, "ok\n"),
            Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        _ => plain(
            StatusCode::NOT_FOUND,
            "there is /metrics, and there is /healthz\n",
        ),
    }
}

fn plain(status: StatusCode, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(TYPE, kind);
    response
}
