//! The agent behind its link, over real mTLS, with orders from a script.

mod delivery;
mod running;
mod session;
mod takeover;

use super::executor::{Execute, Executor};
use super::in_place::InPlace;
use super::*;
use crate::context::{Artifacts, Context, Done, Outcome};
use crate::journal;
use crate::link::{Link, dial::Dialer};
use crate::testing::{self, Answers, Coordinator, Session, soon};
use quorate_pki::{Authority, Hot};
use quorate_proto::v1::agent_message::Message as FromAgent;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::{
    ArtifactRef, ClusterConfig, DeleteNode, DialCount, Endpoint, EndpointView, ExportJoinMaterial,
    Install, JoinWorker, Pace,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct NoArtifacts;

impl Artifacts for NoArtifacts {
    fn fetch<'a>(
        &'a self,
        _artifact: &'a ArtifactRef,
    ) -> Pin<Box<dyn Future<Output = Result<PathBuf, Problem>> + Send + 'a>> {
        Box::pin(async { Err(Problem::new("none", "no artifacts here")) })
    }
}

/// Counts what it runs; holds back an installation until it is let go.
#[derive(Default)]
struct Script {
    runs: AtomicU32,
    go: Notify,
}

impl Script {
    fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    async fn run(&self, context: Context) -> Done {
        self.runs.fetch_add(1, Ordering::SeqCst);
        context.say("at work");
        let mut outcome = Outcome::done();
        match context.order.action.as_ref() {
            Some(Action::Install(install)) if install.digest == "wait" => self.go.notified().await,
            Some(Action::Install(install)) if install.digest == "panic" => panic!("on purpose"),
            Some(Action::Install(install)) if install.digest == "hang" => {
                std::future::pending().await
            }
            Some(Action::JoinWorker(_)) => {
                outcome.result.authority_pem = context.material()?.token.clone();
            }
            Some(Action::ExportJoinMaterial(_)) => {
                outcome.sealed = Some(JoinMaterial {
                    token: format!("secret {}", self.runs()),
                    ..JoinMaterial::default()
                });
            }
            Some(_) | None => {}
        }
        Ok(outcome)
    }
}

struct Node {
    folder: tempfile::TempDir,
    authority: Arc<Authority>,
    script: Arc<Script>,
    endpoints: Vec<String>,
}

struct Agent {
    stop: CancellationToken,
    redial: watch::Sender<()>,
    link: JoinHandle<()>,
    runner: Arc<Runner>,
    states: Arc<Mutex<Vec<LinkState>>>,
}

impl Node {
    async fn new() -> (Node, Coordinator) {
        let authority = Arc::new(testing::authority());
        let coordinator = Coordinator::start(authority.clone(), Answers::default()).await;
        let endpoints = vec![coordinator.endpoint.clone()];
        let folder = tempfile::tempdir().expect("folder");
        let node = Node {
            folder,
            authority,
            script: Arc::default(),
            endpoints,
        };
        (node, coordinator)
    }

    fn paths(&self) -> Paths {
        Paths::under(self.folder.path())
    }

    async fn start(&self) -> Agent {
        let endpoints: Vec<&str> = self.endpoints.iter().map(String::as_str).collect();
        let identity = testing::agent_identity(&self.authority, "n1", &endpoints);
        let (paths, script) = (self.paths(), self.script.clone());
        let execute: Execute = Arc::new(move |context| {
            let script = script.clone();
            Box::pin(async move { script.run(context).await })
        });
        let outbox = Arc::new(Outbox::default());
        let executor = Arc::new(Executor {
            paths: paths.clone(),
            execute,
            artifacts: Arc::new(NoArtifacts),
        });
        let states: Arc<Mutex<Vec<LinkState>>> = Arc::default();
        let seen = states.clone();
        let in_place = Arc::new(InPlace {
            executor,
            outbox: outbox.clone(),
        });
        let settings = Settings {
            isolation: Arc::new(crate::isolation::Isolation::new(paths.clone())),
            paths,
            node_id: "n1".to_owned(),
            node_name: "n1".to_owned(),
            short: in_place.clone(),
            units: in_place,
            observe: Arc::new(|sequence, pace, anew| {
                Box::pin(async move {
                    if !anew && pace.watch.iter().any(|it| it.host == "slow") {
                        std::future::pending::<()>().await;
                    }
                    // Shows which endpoints it was asked to watch.
                    let dials = pace.watch.into_iter().map(|endpoint| DialCount {
                        endpoint: Some(endpoint),
                        ..DialCount::default()
                    });
                    NodeReport {
                        sequence,
                        endpoint: Some(EndpointView {
                            dials: dials.collect(),
                            ..EndpointView::default()
                        }),
                        ..NodeReport::default()
                    }
                })
            }),
            announced: watch::channel(Vec::new()).0,
            on_change: Box::new(move |state| seen.lock().expect("lock").push(state.clone())),
        };
        let runner = Runner::start(settings, outbox.clone())
            .await
            .expect("started");
        let (redial, redial_here) = watch::channel(());
        let link = Link {
            dialer: Dialer::new(Arc::new(Hot::new(identity.material))),
            endpoints: identity.endpoints,
            handler: runner.clone(),
            outbox,
            redial: redial_here,
        };
        let stop = CancellationToken::new();
        Agent {
            link: tokio::spawn(link.run(stop.clone())),
            stop,
            redial,
            runner,
            states,
        }
    }
}

impl Agent {
    async fn stop(self) {
        self.stop.cancel();
        soon("the end", self.link).await.expect("no panic");
    }

    /// As a crash leaves it.
    async fn kill(self) {
        self.link.abort();
        let _ = self.link.await;
    }

    fn problems(&self) -> Vec<String> {
        let states = self.states.lock().expect("lock");
        let code = |state: &LinkState| match state {
            LinkState::Disconnected { problem, .. } => Some(problem.code.clone()),
            LinkState::Connected { .. } => None,
        };
        states.iter().filter_map(code).collect()
    }
}

fn id(number: u32) -> String {
    format!("01JD{number:022}")
}

fn order(number: u32, action: Action) -> Order {
    Order {
        id: id(number),
        generation: 1,
        epoch: 1,
        timeout_seconds: 60,
        cluster: Some(ClusterConfig {
            id: "c1".to_owned(),
            ..ClusterConfig::default()
        }),
        action: Some(action),
        ..Order::default()
    }
}

/// One that the agent carries out itself.
fn short(number: u32) -> Order {
    order(number, Action::DeleteNode(DeleteNode::default()))
}

fn install(number: u32, how: &str) -> Order {
    let install = Install {
        digest: how.to_owned(),
        ..Install::default()
    };
    order(number, Action::Install(install))
}

fn status(done: &OrderDone) -> OrderStatus {
    done.result
        .as_ref()
        .map(OrderResult::status)
        .expect("result")
}

fn code(done: &OrderDone) -> String {
    let problem = done
        .result
        .as_ref()
        .and_then(|result| result.problem.clone());
    problem.map(|problem| problem.code).unwrap_or_default()
}

async fn accepted(session: &mut Session) -> String {
    let pick = |message| {
        let FromAgent::Accepted(accepted) = message else {
            return None;
        };
        Some(accepted.id)
    };
    session.next(pick).await.expect("accepted")
}

async fn beat(session: &mut Session) -> Option<u64> {
    let pick = |message| {
        let FromAgent::Heartbeat(beat) = message else {
            return None;
        };
        Some(beat.sequence)
    };
    session.next(pick).await
}

async fn report(session: &mut Session) -> Option<u64> {
    let pick = |message| {
        let FromAgent::Report(report) = message else {
            return None;
        };
        Some(report.sequence)
    };
    session.next(pick).await
}

async fn progress(session: &mut Session) -> Option<(u64, String)> {
    let pick = |message| {
        let FromAgent::Progress(progress) = message else {
            return None;
        };
        Some((progress.sequence, progress.line))
    };
    session.next(pick).await
}

async fn goodbye(session: &mut Session) -> Option<String> {
    let pick = |message| {
        let FromAgent::Goodbye(goodbye) = message else {
            return None;
        };
        Some(goodbye.reason)
    };
    session.next(pick).await
}

async fn welcomed(coordinator: &mut Coordinator, epoch: u64) -> Session {
    let session = coordinator.session().await;
    session.welcome(epoch).await;
    session
}
