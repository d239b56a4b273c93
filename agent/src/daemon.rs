//! The agent as a service: wires identity, link, runner and renewal together, and tells systemd that it lives.

use crate::fetch::FromCoordinator;
use crate::host::{files, pair};
use crate::identity::AgentIdentity;
use crate::isolation::{self, Isolation};
use crate::link::Link;
use crate::link::dial::Dialer;
use crate::link::outbox::Outbox;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::renew::Renewal;
use crate::runner::executor::{Executor, built_in};
use crate::runner::in_place::InPlace;
use crate::runner::systemd::{self, Systemd};
use crate::runner::unit::{self, Unit};
use crate::runner::{Launcher, Runner, Settings};
use crate::status::{self, LinkStatus};
use quorate_pki::Hot;
use quorate_proto::v1::Problem;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// For short orders to end when the agent stops; what does not end is reported as interrupted.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Runs until a signal asks it to stop. Orders in units go on.
pub async fn run(paths: Paths) -> Result<(), Problem> {
    let identity = AgentIdentity::load(&paths)?.ok_or_else(not_enrolled)?;
    files::make_folder(&paths.runtime(), 0o700)?;
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    complete_pairs(&paths).await;
    let outbox = Arc::new(Outbox::default());
    let (announced, announced_here) = watch::channel(Vec::new());
    let (redial, redial_here) = watch::channel(());
    let isolation = Arc::new(Isolation::new(paths.clone()));
    isolation::start(isolation.clone(), identity.node_name.clone(), stop.clone())?;
    let settings = settings(&paths, &identity, &outbox, announced, isolation);
    let runner = Runner::start(settings, outbox.clone()).await?;
    let material = Arc::new(Hot::new(identity.material.clone()));
    let link = Link {
        dialer: Dialer::new(material.clone()),
        endpoints: identity.endpoints.clone(),
        handler: runner.clone(),
        outbox,
        redial: redial_here,
    };
    tracing::info!(
        node = identity.node_name,
        version = env!("CARGO_PKG_VERSION"),
        "agent starts"
    );
    let renewal = Renewal {
        paths: paths.clone(),
        identity,
        material,
        redial,
        announced: announced_here,
    };
    notify(&[NotifyState::Ready]);
    tokio::join!(
        link.run(stop.clone()),
        renewal.run(stop.clone()),
        keep_watchdog(stop),
    );
    notify(&[NotifyState::Stopping]);
    if tokio::time::timeout(STOP_GRACE, runner.short_orders_done())
        .await
        .is_err()
    {
        tracing::warn!("short orders were under way and will be reported as interrupted");
    }
    status::discard(&paths);
    Ok(())
}

/// Ahead of any order: with half a pair, the API server or etcd of this node would not come up again. A failure is no reason to stay
/// away from the coordinator.
async fn complete_pairs(paths: &Paths) {
    if !pair::unfinished(paths) {
        return;
    }
    tracing::warn!("the installation of a certificate was cut short; completing it");
    let completed = match sd_notify::booted() {
        Ok(true) => systemd::complete_pairs(paths).await,
        Ok(false) | Err(_) => pair::complete_all(paths),
    };
    if let Err(problem) = completed {
        tracing::error!(%problem, "certificates were not completed");
    }
}

/// What a transient unit runs.
pub async fn execute(paths: Paths, id: &str) -> Result<(), Problem> {
    unit::execute(&executor(&paths), id).await
}

fn executor(paths: &Paths) -> Executor {
    Executor {
        paths: paths.clone(),
        execute: built_in(),
        artifacts: Arc::new(FromCoordinator::new(paths.clone())),
    }
}

fn settings(
    paths: &Paths,
    identity: &AgentIdentity,
    outbox: &Arc<Outbox>,
    announced: watch::Sender<Vec<String>>,
    isolation: Arc<Isolation>,
) -> Settings {
    let executor = Arc::new(executor(paths));
    let short = Arc::new(InPlace {
        executor,
        outbox: outbox.clone(),
    });
    let units: Arc<dyn Launcher> = if sd_notify::booted().unwrap_or(false) {
        Arc::new(Unit {
            paths: paths.clone(),
            units: Systemd {
                paths: paths.clone(),
            },
            outbox: outbox.clone(),
        })
    } else {
        tracing::warn!("no systemd here: orders end with the agent");
        short.clone()
    };
    let observer = Arc::new(Observer::new(paths.clone()));
    let shown = paths.clone();
    Settings {
        paths: paths.clone(),
        node_id: identity.node_id.clone(),
        node_name: identity.node_name.clone(),
        short,
        units,
        observe: Arc::new(move |sequence, pace, anew| {
            let observer = observer.clone();
            Box::pin(async move { observer.report(sequence, &pace, anew).await })
        }),
        announced,
        isolation,
        on_change: Box::new(move |state| {
            if let Err(problem) = LinkStatus::of(state).store(&shown) {
                tracing::warn!(%problem, "the status was not stored");
            }
        }),
    }
}

fn stop_on_signals(stop: CancellationToken) -> Result<(), Problem> {
    let fail = |error: std::io::Error| Problem::new("signals", error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

/// Runs beside the link on the same runtime: if that hangs, systemd hears nothing.
async fn keep_watchdog(stop: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut tick = tokio::time::interval(period / 3);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => notify(&[NotifyState::Watchdog]),
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}

pub fn not_enrolled() -> Problem {
    Problem::new("not-enrolled", "this node is not enrolled").next(
        "get a token from the coordinator (quorate token create), then: quorate-agent enroll TOKEN",
    )
}
