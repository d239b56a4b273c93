//! One session, from hello to its end.

use super::failure::Failure;
use super::greeting::{Greeted, greet};
use super::{End, Handler, Link, LinkState, telling};
use crate::host::boot_clock;
use crate::journal::now_ms;
use quorate_proto::limits::{HEARTBEAT_SECONDS, REPORT_AT_REST_MS};
use quorate_proto::v1::agent_message::Message as Ours;
use quorate_proto::v1::coordinator_message::Message as Theirs;
use quorate_proto::v1::{
    AgentMessage, CoordinatorMessage, Goodbye, Heartbeat, NodeReport, OrderDone, Pace, Problem,
    Welcome,
};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{self, OwnedPermit, Sender};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

/// From hello to welcome: a coordinator that greets ten thousand agents needs some seconds.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for a goodbye to leave.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// Messages handed to the transport ahead of the network: few, so that backpressure is felt early.
pub(super) const SEND_QUEUE: usize = 4;
/// Messages taken out of the outbox ahead of the transport.
const READY_QUEUE: usize = 16;
/// An observation that hangs is given up, or the node would be silent for ever.
const OBSERVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Results without acknowledgement are told again each so many heartbeats: the coordinator may have failed to store them.
const RESEND_HEARTBEATS: u64 = 2;
/// What a coordinator may ask for.
const HEARTBEAT_RANGE: (u32, u32) = (1, 300);
const REPORT_RANGE_MS: (u32, u32) = (100, 300_000);
const HEARTBEAT_RANGE_MS: (u32, u32) = (500, 300_000);
/// Heartbeats whose answers are waited for: at one a second, longer than any session lives unanswered.
const MAX_UNHEARD: usize = 64;
/// Endpoints watched at once: the present one and the next are enough, and each costs a look-up.
const MAX_WATCHED: usize = 8;
/// Nodes looked at for the coordinator at once: each costs three calls.
const MAX_SUSPECTS: usize = 16;

/// What a session waits for.
enum Event {
    Stop,
    Redial,
    Received(Box<Result<Option<CoordinatorMessage>, tonic::Status>>),
    /// The transport takes a message.
    Room(Result<OwnedPermit<AgentMessage>, SendError<()>>),
    Outbox,
    Heartbeat,
    Report,
    Observed(Option<Box<NodeReport>>),
}

type Observation = Pin<Box<dyn Future<Output = Option<NodeReport>> + Send>>;

/// What ends a session from our side.
pub(super) struct Ends<'a> {
    pub stop: &'a CancellationToken,
    pub redial: watch::Receiver<()>,
}

struct Session<'a, H: Handler> {
    link: &'a Link<H>,
    sender: Sender<AgentMessage>,
    incoming: Streaming<CoordinatorMessage>,
    ready: VecDeque<Ours>,
    heartbeat: Interval,
    report: Interval,
    /// Between heartbeats, as the welcome said.
    welcomed_ms: u32,
    pace: Pace,
    observing: Option<Observation>,
    /// Another observation follows the one under way; true: one that is anew.
    observe_again: Option<bool>,
    /// The observation under way was begun because something had changed here.
    anew: bool,
    heartbeats: u64,
    /// When those were sent that have no answer yet.
    unheard: VecDeque<(u64, u64)>,
    reports: u64,
}

pub(super) async fn run<H: Handler>(
    link: &Link<H>,
    endpoint: &str,
    channel: Channel,
    mut ends: Ends<'_>,
    welcomed: &mut Option<(Instant, Welcome)>,
) -> End {
    let opened = tokio::select! {
        () = ends.stop.cancelled() => return End::Stopped,
        opened = timeout(WELCOME_TIMEOUT, greet(link, endpoint, channel)) => opened,
    };
    let Greeted {
        sender,
        incoming,
        welcome,
    } = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(failure)) => return End::Failed(failure),
        Err(_) => return End::Failed(silent(endpoint).into()),
    };
    let before = link.handler.hello().highest_epoch;
    if let Err(problem) = link.handler.welcome(&welcome) {
        return End::Failed(problem.at(endpoint).into());
    }
    if telling::is_of_a_newer_tenure(before, welcome.epoch) {
        tokio::spawn(telling::tell_others(link, endpoint, ends.stop.clone()));
    }
    link.handler.changed(&LinkState::Connected {
        endpoint: endpoint.to_owned(),
        epoch: welcome.epoch,
    });
    tracing::info!(
        endpoint,
        epoch = welcome.epoch,
        "session with the coordinator"
    );
    let heartbeat = bounded(
        welcome.heartbeat_seconds,
        HEARTBEAT_SECONDS,
        HEARTBEAT_RANGE,
    );
    *welcomed = Some((Instant::now(), welcome));
    let mut session = Session {
        link,
        sender,
        incoming,
        ready: VecDeque::new(),
        heartbeat: every(Duration::from_secs(u64::from(heartbeat))),
        report: every(Duration::from_millis(u64::from(REPORT_AT_REST_MS))),
        welcomed_ms: heartbeat.saturating_mul(1_000),
        pace: Pace {
            report_ms: REPORT_AT_REST_MS,
            heartbeat_ms: heartbeat.saturating_mul(1_000),
            ..Pace::default()
        },
        observing: None,
        observe_again: None,
        anew: false,
        heartbeats: 0,
        unheard: VecDeque::new(),
        reports: 0,
    };
    link.outbox.open();
    session.tell_unacknowledged();
    let end = session.serve(endpoint, &mut ends).await;
    link.outbox.close();
    end
}

impl<H: Handler> Session<'_, H> {
    async fn serve(&mut self, endpoint: &str, ends: &mut Ends<'_>) -> End {
        loop {
            let ended = match self.next(ends).await {
                Event::Stop => {
                    self.say_goodbye("the agent stops").await;
                    Some(End::Stopped)
                }
                Event::Redial => {
                    self.say_goodbye("the certificate was renewed").await;
                    Some(End::Redial)
                }
                Event::Received(received) => match *received {
                    Ok(Some(message)) => self.receive(message),
                    // A cut connection can look like a clean end: only a goodbye is one.
                    Ok(None) => Some(End::Failed(ended(endpoint).into())),
                    Err(status) => Some(End::Failed(Failure::of_status(endpoint, &status))),
                },
                Event::Room(Err(_)) => Some(End::Failed(ended(endpoint).into())),
                Event::Room(Ok(permit)) => {
                    if let Some(message) = self.ready.pop_front() {
                        permit.send(wrap(message));
                    }
                    None
                }
                Event::Outbox => {
                    self.take_from_outbox();
                    None
                }
                Event::Heartbeat => {
                    self.beat();
                    None
                }
                Event::Report => {
                    self.observe(false);
                    None
                }
                Event::Observed(report) => {
                    self.observed(report);
                    None
                }
            };
            if let Some(end) = ended {
                return end;
            }
        }
    }

    async fn next(&mut self, ends: &mut Ends<'_>) -> Event {
        // With no room the network is behind, and more of ours would only pile up.
        let room = self.room() > 0;
        tokio::select! {
            () = ends.stop.cancelled() => Event::Stop,
            () = asked(&mut ends.redial) => Event::Redial,
            received = self.incoming.message() => Event::Received(Box::new(received)),
            permit = self.sender.clone().reserve_owned(), if !self.ready.is_empty() => Event::Room(permit),
            () = self.link.outbox.changed(), if room => Event::Outbox,
            _ = self.heartbeat.tick(), if room => Event::Heartbeat,
            _ = self.report.tick(), if room => Event::Report,
            report = done(&mut self.observing) => Event::Observed(report.map(Box::new)),
        }
    }

    fn room(&self) -> usize {
        READY_QUEUE.saturating_sub(self.ready.len())
    }

    fn take_from_outbox(&mut self) {
        let (mut messages, report) = self.link.outbox.take(self.room());
        for message in &mut messages {
            if let Ours::Done(done) = message {
                done.report = self.reports + 1;
            }
        }
        self.ready.extend(messages);
        if report {
            self.observe(true);
            self.report.reset();
        }
    }

    fn observed(&mut self, report: Option<Box<NodeReport>>) {
        self.observing = None;
        self.anew = false;
        self.ready
            .extend(report.map(|report| Ours::Report(*report)));
        if let Some(anew) = self.observe_again.take() {
            self.observe(anew);
        }
    }

    fn receive(&mut self, message: CoordinatorMessage) -> Option<End> {
        match message.message {
            Some(Theirs::Delivery(delivery)) => self.link.handler.deliver(delivery),
            Some(Theirs::Acknowledge(done)) => self.link.handler.acknowledge(&done.id),
            Some(Theirs::Pace(pace)) => {
                let report_ms = bounded(pace.report_ms, REPORT_AT_REST_MS, REPORT_RANGE_MS);
                let mut watch = pace.watch;
                watch.truncate(MAX_WATCHED);
                self.report = every(Duration::from_millis(u64::from(report_ms)));
                let mut suspects = pace.suspects;
                suspects.truncate(MAX_SUSPECTS);
                let heartbeat_ms = match pace.heartbeat_ms {
                    0 => self.welcomed_ms,
                    asked => bounded(asked, asked, HEARTBEAT_RANGE_MS),
                };
                if heartbeat_ms != self.pace.heartbeat_ms {
                    self.heartbeat = every(Duration::from_millis(heartbeat_ms.into()));
                }
                if let Some(isolation) = &pace.isolation {
                    self.link.handler.isolation(isolation);
                }
                self.pace = Pace {
                    report_ms,
                    watch,
                    suspects,
                    heartbeat_ms,
                    isolation: None,
                };
            }
            Some(Theirs::Heard(beat)) => self.heard(beat.sequence),
            Some(Theirs::Goodbye(goodbye)) => return Some(End::Goodbye(goodbye.reason)),
            // A second welcome or a message of a newer version says nothing that this one could follow.
            Some(Theirs::Welcome(_)) | None => {}
        }
        None
    }

    /// Those before it came earlier on the same stream.
    fn heard(&mut self, sequence: u64) {
        while let Some((sent, at_ms)) = self.unheard.front().copied() {
            if sent > sequence {
                return;
            }
            self.unheard.pop_front();
            self.link.handler.heard(at_ms);
        }
    }

    fn beat(&mut self) {
        self.heartbeats += 1;
        if self.unheard.len() >= MAX_UNHEARD {
            self.unheard.pop_front();
        }
        // Before it is sent: the coordinator hears it later than that.
        self.unheard
            .push_back((self.heartbeats, boot_clock::now_ms()));
        self.ready.push_back(Ours::Heartbeat(Heartbeat {
            sequence: self.heartbeats,
            unix_ms: now_ms(),
        }));
        if self.heartbeats.is_multiple_of(RESEND_HEARTBEATS) {
            self.tell_unacknowledged();
        }
    }

    fn tell_unacknowledged(&self) {
        for result in self.link.handler.unacknowledged() {
            self.link.outbox.done(OrderDone {
                result: Some(result),
                ..OrderDone::default()
            });
        }
    }

    /// One observation at a time. `anew`: what is being looked at is out of date already, and somebody waits for what comes next. Not
    /// twice in a row: orders that end one upon the other must not keep the node silent.
    fn observe(&mut self, anew: bool) {
        if anew && !self.anew {
            self.observing = None;
        }
        if self.observing.is_some() {
            self.observe_again = Some(anew || self.observe_again == Some(true));
            return;
        }
        self.anew = anew;
        self.reports += 1;
        let (handler, sequence) = (self.link.handler.clone(), self.reports);
        let pace = self.pace.clone();
        self.observing = Some(Box::pin(async move {
            timeout(OBSERVE_TIMEOUT, handler.report(sequence, pace, anew))
                .await
                .ok()
        }));
    }

    async fn say_goodbye(&mut self, reason: &str) {
        let goodbye = wrap(Ours::Goodbye(Goodbye {
            reason: reason.to_owned(),
        }));
        let leave = async {
            for message in std::mem::take(&mut self.ready) {
                self.sender.send(wrap(message)).await.ok()?;
            }
            self.sender.send(goodbye).await.ok()?;
            // Closing our half lets the coordinator end its half; then all has arrived.
            self.sender = mpsc::channel(1).0;
            while let Ok(Some(_)) = self.incoming.message().await {}
            Some(())
        };
        if timeout(GOODBYE_TIMEOUT, leave).await.is_err() {
            tracing::debug!("the coordinator did not take the goodbye in time");
        }
    }
}

async fn done(observing: &mut Option<Observation>) -> Option<NodeReport> {
    match observing {
        Some(observation) => observation.await,
        None => std::future::pending().await,
    }
}

/// Nobody who could ask any more is nobody who asks.
async fn asked(redial: &mut watch::Receiver<()>) {
    if redial.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// 0 means the usual value; everything else is kept in a range that harms neither side.
fn bounded(asked: u32, usual: u32, (low, high): (u32, u32)) -> u32 {
    if asked == 0 {
        usual
    } else {
        asked.clamp(low, high)
    }
}

pub(super) fn wrap(message: Ours) -> AgentMessage {
    AgentMessage {
        message: Some(message),
    }
}

fn silent(endpoint: &str) -> Problem {
    Problem::new(
        "coordinator-unreachable",
        format!("no welcome within {} s", WELCOME_TIMEOUT.as_secs()),
    )
    .at(endpoint)
    .because("the coordinator is overloaded or hangs")
}

pub(super) fn ended(endpoint: &str) -> Problem {
    Problem::new("session-ended", "the coordinator closed the session").at(endpoint)
}
