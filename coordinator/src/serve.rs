//! The daemon, put together: store, authority, sessions, engine and the two listeners.

mod config;
mod notify;

pub use config::{Config, METRICS};

use crate::artifacts::Artifacts;
use crate::authority::{Authority, server_names};
use crate::backup::Place;
use crate::engine::{Engine, bridge};
use crate::files::hostname;
use crate::metrics;
use crate::server::{self, Parts};
use crate::sessions::{SUPERSEDED, Sessions};
use crate::store::Store;
use crate::tenure::Tenure;
use anyhow::Context;
use quorate_proto::v1::Problem;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time for calls under way to end when the daemon stops; systemd would wait for 90 s.
const DRAIN: Duration = Duration::from_secs(10);

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A coordinator that runs in this process.
pub struct Daemon {
    pub parts: Parts,
    /// Where agents and operators are served.
    pub session_address: SocketAddr,
    pub enroll_address: SocketAddr,
    /// Where monitoring asks.
    pub metrics_address: Option<SocketAddr>,
    /// Cancelled when it is to stop, and also when a listener has ended by itself.
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

struct Listeners {
    sessions: TcpListener,
    enrolment: TcpListener,
    metrics: Option<TcpListener>,
}

/// Runs until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    // Keys are in memory: no core dumps, and no other process of this user may look into it.
    nix::sys::prctl::set_dumpable(false).context("cannot switch core dumps off")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let daemon = Daemon::start(&config).await?;
    let watchdog = tokio::spawn(notify::watchdog(Arc::clone(&daemon.parts.sessions)));
    notify::ready();
    tracing::info!(
        version = VERSION,
        epoch = daemon.parts.tenure.epoch(),
        sessions = %daemon.session_address,
        enrolment = %daemon.enroll_address,
        metrics = daemon.metrics_address.map(|at| at.to_string()),
        "the coordinator serves"
    );
    let asked = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        () = daemon.shutdown.cancelled() => false,
    };
    notify::stopping();
    watchdog.abort();
    daemon.stop().await;
    anyhow::ensure!(asked, "a listener has ended by itself");
    Ok(())
}

impl Daemon {
    pub async fn start(config: &Config) -> Result<Self, Problem> {
        let state = &config.state_dir;
        let store = Arc::new(Store::open(&state.join("store"))?);
        let names = server_names(&config.hosts()?, &hostname())?;
        let authority = Arc::new(Authority::open(state, names, Arc::clone(&store))?);
        // Before anything can be ordered: an order of this run is never taken for one of an earlier run.
        let tenure = Tenure::begin(Arc::clone(&store), Arc::clone(&authority)).await?;
        let tenure = Arc::new(tenure);
        let epoch = tenure.epoch();
        let (sessions, events) = Sessions::new();
        let sessions = Arc::new(sessions);
        let artifacts = Artifacts::open(state.join("artifacts"), Arc::clone(&store))?;
        let artifacts = Arc::new(artifacts);
        let session_listener = listen(config.listen)?;
        let enroll_listener = listen(config.enroll_listen()?)?;
        let metrics = config.metrics.and_then(|at| metrics_listener(at, &store));
        let engine = Engine::start(
            Arc::clone(&store),
            Arc::new(bridge::Bridge::new(
                Arc::clone(&sessions),
                Arc::clone(&store),
                Arc::clone(&authority),
            )),
            Arc::clone(&artifacts) as _,
            epoch,
            VERSION,
            bridge::events(events),
        )?;
        if tenure.newer().is_some() {
            engine.stop();
        }
        let parts = Parts {
            store,
            authority,
            sessions,
            artifacts,
            engine: Arc::clone(&engine) as _,
            tenure,
            transfers: Arc::default(),
            place: Arc::new(Place::of(config)?),
            addresses: config.addresses()?,
        };
        let listeners = Listeners {
            sessions: session_listener,
            enrolment: enroll_listener,
            metrics,
        };
        Daemon::serve(parts, &engine, listeners)
    }

    fn serve(parts: Parts, engine: &Arc<Engine>, listeners: Listeners) -> Result<Self, Problem> {
        let Listeners {
            sessions,
            enrolment,
            metrics,
        } = listeners;
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let session_address = local(&sessions)?;
        let enroll_address = local(&enrolment)?;
        let metrics_address = metrics.as_ref().map(local).transpose()?;
        let mutual = server::serve_mutual(parts.clone(), sessions, shutdown.clone());
        let enroll = server::serve_enrollment(parts.clone(), enrolment, shutdown.clone());
        tasks.spawn(until_end(mutual, "sessions", shutdown.clone()));
        tasks.spawn(until_end(enroll, "enrolment", shutdown.clone()));
        if let Some(listener) = metrics {
            tasks.spawn(metrics::serve(parts.clone(), listener, shutdown.clone()));
        }
        let authority = Arc::clone(&parts.authority);
        let stop = shutdown.clone();
        tasks.spawn(async move { authority.upkeep(stop).await });
        let stepping_back = step_back(parts.clone(), Arc::clone(engine));
        let stop = shutdown.clone();
        tasks.spawn(async move { stop.run_until_cancelled(stepping_back).await.unwrap_or(()) });
        tasks.close();
        Ok(Daemon {
            parts,
            session_address,
            enroll_address,
            metrics_address,
            shutdown,
            tasks,
        })
    }

    /// Says goodbye to the agents, lets calls end, and closes the store.
    pub async fn stop(self) {
        self.parts.sessions.end_all("the coordinator stops");
        self.shutdown.cancel();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("some calls did not end in time");
        }
        self.parts.store.close().await;
    }
}

/// Clusters are kept without metrics too: a port that is taken is told, and nothing else stops for it.
fn metrics_listener(address: SocketAddr, store: &Store) -> Option<TcpListener> {
    match listen(address) {
        Ok(listener) => Some(listener),
        Err(problem) => {
            tracing::error!(%problem, "no metrics");
            store.notice(format!(
                "metrics are not served at {address}: {}. Set another `metrics` in coordinator.yaml and restart the coordinator",
                problem.what
            ));
            None
        }
    }
}

/// Once agents obey a newer coordinator, this one decides nothing any more and lets its agents go there.
async fn step_back(parts: Parts, engine: Arc<Engine>) {
    parts.tenure.superseded().await;
    engine.stop();
    parts.sessions.end_all(SUPERSEDED);
}

async fn until_end(
    serve: impl Future<Output = Result<(), tonic::transport::Error>>,
    what: &'static str,
    shutdown: CancellationToken,
) {
    if let Err(error) = serve.await {
        tracing::error!(what, %error, "a listener failed");
    }
    shutdown.cancel();
}

fn listen(address: SocketAddr) -> Result<TcpListener, Problem> {
    server::bind(address).map_err(|error| {
        Problem::new("listen-failed", format!("cannot listen: {error}"))
            .at(address.to_string())
            .next(format!(
                "see what uses the port: ss -ltnp 'sport = :{}'",
                address.port()
            ))
    })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Problem> {
    listener
        .local_addr()
        .map_err(|error| Problem::new("listen-failed", error.to_string()))
}

#[cfg(test)]
mod tests;
