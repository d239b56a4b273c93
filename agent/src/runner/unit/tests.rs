//! The launcher over a pretended systemd, whose units are threads that run the real other side.

use super::*;
use crate::context::{Artifacts, Outcome};
use crate::host::files::write_atomic;
use crate::inbox::is_order_id;
use crate::journal::{Entry, Journal, path_of};
use crate::runner::executor::Execute;
use crate::testing::soon;
use quorate_proto::v1::agent_message::Message;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::{ArtifactRef, Install, JoinMaterial, Order, OrderStatus};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

const ID: &str = "01JD0000000000000000000001";

struct NoArtifacts;

impl Artifacts for NoArtifacts {
    fn fetch<'a>(
        &'a self,
        _artifact: &'a ArtifactRef,
    ) -> Pin<Box<dyn Future<Output = Result<PathBuf, Problem>> + Send + 'a>> {
        Box::pin(async { Err(Problem::new("none", "no artifacts here")) })
    }
}

/// What the pretended unit does.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Works,
    /// Killed before it wrote a result.
    Dies,
    DoesNotStart,
}

struct Pretended {
    how: How,
    executor: Arc<Executor>,
    active: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl Units for Pretended {
    async fn start(&self, unit: &str, id: &str, _timeout: Duration) -> Result<(), Problem> {
        assert_eq!(unit, "u");
        assert!(is_order_id(id));
        if self.how == How::DoesNotStart {
            return Err(Problem::new("tool-failed", "no such bus"));
        }
        self.active.store(true, Ordering::SeqCst);
        let (executor, active, how) = (self.executor.clone(), self.active.clone(), self.how);
        let id = id.to_owned();
        tokio::spawn(async move {
            if how == How::Works {
                execute(&executor, &id).await.expect("recorded");
            }
            active.store(false, Ordering::SeqCst);
        });
        Ok(())
    }

    async fn is_active(&self, _unit: &str) -> Result<bool, Problem> {
        Ok(self.active.load(Ordering::SeqCst))
    }

    async fn verdict(&self, _unit: &str) -> String {
        "oom-kill".to_owned()
    }
}

struct Place {
    _folder: tempfile::TempDir,
    paths: Paths,
    outbox: Arc<Outbox>,
    executor: Arc<Executor>,
    job: Job,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("folder");
    let paths = Paths::under(folder.path());
    let execute: Execute = Arc::new(|context| {
        Box::pin(async move {
            context.say("one");
            context.say("two");
            let mut outcome = Outcome::done();
            if let Some(material) = &context.material {
                outcome.result.authority_pem = format!("{} bytes", material.token.len());
            }
            Ok(outcome)
        })
    });
    let order = Order {
        id: ID.to_owned(),
        timeout_seconds: 20,
        action: Some(Action::Install(Install::default())),
        ..Order::default()
    };
    let mut journal = Journal::open(&paths).expect("journal").journal;
    journal.accept(order.clone(), false).expect("accepted");
    journal.set_running(ID, "u").expect("running");
    let executor = Arc::new(Executor {
        paths: paths.clone(),
        execute,
        artifacts: Arc::new(NoArtifacts),
    });
    Place {
        _folder: folder,
        paths,
        outbox: Arc::default(),
        executor,
        job: Job {
            order,
            unit: "u".to_owned(),
        },
    }
}

impl Place {
    fn launcher(&self, how: How) -> Unit<Pretended> {
        Unit {
            paths: self.paths.clone(),
            units: Pretended {
                how,
                executor: self.executor.clone(),
                active: Arc::default(),
            },
            outbox: self.outbox.clone(),
        }
    }

    fn lines(&self) -> Vec<(u64, String)> {
        let (messages, _) = self.outbox.take(usize::MAX);
        let line = |message| {
            let Message::Progress(progress) = message else {
                return None;
            };
            Some((progress.sequence, progress.line))
        };
        messages.into_iter().filter_map(line).collect()
    }
}

fn status(ending: &Ending) -> Option<OrderStatus> {
    match ending {
        Ending::Finished(result, _) => Some(result.status()),
        Ending::NotStarted(_) | Ending::Lost(_) => None,
    }
}

#[tokio::test]
async fn a_unit_tells_its_lines_and_its_result() {
    let place = place();
    let ending = soon("the end", place.launcher(How::Works).run(&place.job)).await;
    assert_eq!(status(&ending), Some(OrderStatus::Succeeded));
    let expected = [(1, "one".to_owned()), (2, "two".to_owned())];
    assert_eq!(place.lines(), expected);
}

#[tokio::test]
async fn secrets_are_taken_once_and_recorded_nowhere() {
    let place = place();
    let material = JoinMaterial {
        token: "very-secret".to_owned(),
        ..JoinMaterial::default()
    };
    let bytes = prost::Message::encode_to_vec(&material);
    sealed::put(&place.paths, ID, &bytes).expect("put");
    let ending = soon("the end", place.launcher(How::Works).run(&place.job)).await;
    let Ending::Finished(result, None) = ending else {
        panic!("no result");
    };
    assert_eq!(result.authority_pem, "11 bytes");
    assert!(!sealed::is_there(&place.paths, ID));
    let record = std::fs::read(path_of(&place.paths.journal(), ID)).expect("record");
    assert!(!String::from_utf8_lossy(&record).contains("very-secret"));
}

#[tokio::test]
async fn a_unit_that_dies_is_noticed_with_its_cause() {
    let place = place();
    let ending = soon("the end", place.launcher(How::Dies).run(&place.job)).await;
    let Ending::Lost(problem) = ending else {
        panic!("not lost");
    };
    assert_eq!(problem.cause, "systemd says: oom-kill");
}

#[tokio::test]
async fn a_unit_that_does_not_start_had_no_effect() {
    let place = place();
    let ending = soon("the end", place.launcher(How::DoesNotStart).run(&place.job)).await;
    assert!(matches!(ending, Ending::NotStarted(_)));
}

#[tokio::test]
async fn an_agent_that_comes_back_sees_the_end_and_every_line() {
    let place = place();
    let launcher = place.launcher(How::Works);
    launcher.units.active.store(true, Ordering::SeqCst);
    // The unit goes on while nobody looks, and writes one line before the agent is back.
    ToFile::create(&place.paths, ID)
        .expect("created")
        .line("before");
    let unit = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        execute(&place.executor, ID).await.expect("recorded");
    };
    let (ending, ()) = soon("the end", async {
        tokio::join!(launcher.attach(&place.job), unit)
    })
    .await;
    assert_eq!(status(&ending), Some(OrderStatus::Succeeded));
    let lines: Vec<String> = place.lines().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["before", "one", "two"]);
}

#[tokio::test]
async fn a_result_written_before_the_agent_was_back_is_found() {
    let place = place();
    execute(&place.executor, ID).await.expect("recorded");
    let ending = soon("the end", place.launcher(How::Works).attach(&place.job)).await;
    assert_eq!(status(&ending), Some(OrderStatus::Succeeded));
}

#[tokio::test]
async fn only_started_orders_are_executed() {
    let place = place();
    assert_eq!(
        execute(&place.executor, "01JD0000000000000000000009")
            .await
            .expect_err("ran")
            .cause,
        "it is not known"
    );
    assert_eq!(
        execute(&place.executor, "../marks")
            .await
            .expect_err("ran")
            .code,
        "order-unknown"
    );
    execute(&place.executor, ID).await.expect("the first time");
    let again = execute(&place.executor, ID).await.expect_err("ran twice");
    assert_eq!(again.cause, "it is finished");
    let accepted = Entry::new(place.job.order.clone(), State::Accepted);
    let bytes = serde_json::to_vec(&accepted).expect("bytes");
    write_atomic(&path_of(&place.paths.journal(), ID), &bytes, 0o600).expect("written");
    let early = execute(&place.executor, ID).await.expect_err("ran");
    assert_eq!(early.cause, "the agent has not started it");
}
