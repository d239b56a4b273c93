//! The session with the coordinator: dials out, says hello, carries orders in and results out, dials again.
//!
//! What an order does is behind [`Handler`], so that a simulator runs thousands of agents through this very code.
//! - [`dial`]: TLS and HTTP/2; [`session`]: one session from hello to its end; [`outbox`]: what waits to be sent;
//!   [`backoff`]: when to dial again; [`telling`]: lets a superseded coordinator know; [`failure`]: errors of the network by name.

pub mod backoff;
pub mod dial;
pub mod failure;
mod greeting;
pub mod outbox;
pub mod session;
mod telling;

use crate::identity::merge_endpoints;
use backoff::{Backoff, Ended};
use dial::Dialer;
use failure::Failure;
use outbox::Outbox;
use quorate_proto::v1::{
    Delivery, Hello, Isolation, NodeReport, OrderResult, Pace, Problem, Welcome,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The agent behind a link. Calls come one at a time, from the link's own task, and must not wait for orders to end.
#[tonic::async_trait]
pub trait Handler: Send + Sync + 'static {
    fn hello(&self) -> Hello;
    /// An error ends the session: a stale coordinator.
    fn welcome(&self, welcome: &Welcome) -> Result<(), Problem>;
    fn deliver(&self, delivery: Delivery);
    fn acknowledge(&self, id: &str);
    /// Results that the coordinator has not acknowledged.
    fn unacknowledged(&self) -> Vec<OrderResult>;
    /// `pace`: what the coordinator last asked for in this session. `anew`: nothing is to be told from memory, as an order has ended.
    async fn report(&self, sequence: u64, pace: Pace, anew: bool) -> NodeReport;
    fn changed(&self, _state: &LinkState) {}
    /// The coordinator has heard what was sent at that time, by the boot's clock.
    fn heard(&self, _sent_ms: u64) {}
    /// The node's duty to stop its pods, as the coordinator has it.
    fn isolation(&self, _told: &Isolation) {}
}

#[derive(Clone, Debug)]
pub enum LinkState {
    Connected {
        endpoint: String,
        epoch: u64,
    },
    Disconnected {
        problem: Problem,
        again_in: Duration,
    },
}

pub struct Link<H: Handler> {
    pub dialer: Dialer,
    /// host:port, the preferred one first; never empty.
    pub endpoints: Vec<String>,
    pub handler: Arc<H>,
    pub outbox: Arc<Outbox>,
    /// A change ends the session and dials anew at once: the certificate was renewed.
    pub redial: watch::Receiver<()>,
}

/// Why a session ended.
pub(crate) enum End {
    Stopped,
    Redial,
    /// The coordinator said so: it stops, or a newer session took over.
    Goodbye(String),
    Failed(Failure),
}

impl<H: Handler> Link<H> {
    /// Runs until `stop`, then says goodbye.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut position = 0;
        loop {
            let endpoint = self.endpoints[position % self.endpoints.len()].clone();
            let mut welcomed = None;
            let end = self.attempt(&endpoint, &stop, &mut welcomed).await;
            let lasted = welcomed
                .as_ref()
                .map(|(at, _): &(Instant, Welcome)| at.elapsed());
            if let Some((_, welcome)) = &welcomed {
                self.learn(welcome, &endpoint, &mut position);
            }
            let mut ended = Ended {
                lasted,
                ..Ended::default()
            };
            let problem = match end {
                End::Stopped => return,
                End::Redial => continue,
                End::Goodbye(reason) => {
                    ended.sent_away = true;
                    said_goodbye(&endpoint, &reason)
                }
                End::Failed(failure) => {
                    ended.asked = failure.retry_after;
                    failure.problem
                }
            };
            position = position.wrapping_add(1);
            let again_in = backoff.next(ended, rand::random());
            tracing::warn!(%problem, ?again_in, "no session with the coordinator");
            self.handler
                .changed(&LinkState::Disconnected { problem, again_in });
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(again_in) => {}
            }
        }
    }

    async fn attempt(
        &self,
        endpoint: &str,
        stop: &CancellationToken,
        welcomed: &mut Option<(Instant, Welcome)>,
    ) -> End {
        // What changed up to now is in the material that is dialled with.
        let mut redial = self.redial.clone();
        redial.mark_unchanged();
        let channel = tokio::select! {
            () = stop.cancelled() => return End::Stopped,
            channel = self.dialer.channel(endpoint) => channel,
        };
        match channel {
            Ok(channel) => {
                let ends = session::Ends { stop, redial };
                session::run(self, endpoint, channel, ends, welcomed).await
            }
            Err(failure) => End::Failed(failure),
        }
    }

    /// Takes over the announced endpoints, and goes on from the one that just worked.
    fn learn(&mut self, welcome: &Welcome, endpoint: &str, position: &mut usize) {
        self.endpoints = merge_endpoints(&self.endpoints, &welcome.endpoints);
        *position = self
            .endpoints
            .iter()
            .position(|known| known == endpoint)
            .unwrap_or(0);
    }
}

fn said_goodbye(endpoint: &str, reason: &str) -> Problem {
    Problem::new("coordinator-goodbye", "the coordinator ended the session")
        .at(endpoint)
        .because(reason)
}
