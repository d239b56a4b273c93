//! Keeps the identity good: a new key and certificate in time, with which the link then dials again, and announced
//! endpoints. The only writer of the identity while the agent runs.

use crate::identity::{AgentIdentity, Granted, merge_endpoints};
use crate::link::dial;
use crate::link::failure::Failure;
use crate::paths::Paths;
use quorate_pki::{Hot, KeyRequest, TlsMaterial};
use quorate_proto::v1::agent_client::AgentClient;
use quorate_proto::v1::{Problem, RenewRequest};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest sleep: the clock may be set and the machine suspended meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// After a failed renewal; a third of the certificate's life is left to succeed in.
const RETRY: Duration = Duration::from_secs(60);
/// One renewal from dialling to the answer.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Renewal {
    pub paths: Paths,
    pub identity: AgentIdentity,
    /// What the link dials with.
    pub material: Arc<Hot<TlsMaterial>>,
    pub redial: watch::Sender<()>,
    pub announced: watch::Receiver<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Wait(Duration),
    Renew,
}

fn step(identity: &AgentIdentity, jitter: f64, now: SystemTime) -> Step {
    let at = quorate_pki::renew_at(identity.not_before, identity.not_after, jitter);
    match at.duration_since(now) {
        Ok(left) if !left.is_zero() => Step::Wait(left.min(LONGEST_WAIT)),
        Ok(_) | Err(_) => Step::Renew,
    }
}

impl Renewal {
    pub async fn run(mut self, stop: CancellationToken) {
        let mut jitter = rand::random();
        loop {
            let wait = match step(&self.identity, jitter, SystemTime::now()) {
                Step::Wait(left) => left,
                Step::Renew => match self.renew().await {
                    Ok(()) => {
                        jitter = rand::random();
                        tracing::info!("the certificate was renewed");
                        Duration::ZERO
                    }
                    Err(problem) => {
                        tracing::error!(%problem, "the certificate was not renewed");
                        RETRY.mul_f64(1.0 + rand::random::<f64>())
                    }
                },
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                Ok(()) = self.announced.changed() => self.remember(),
            }
        }
    }

    fn remember(&mut self) {
        let announced = self.announced.borrow_and_update().clone();
        let merged = merge_endpoints(&self.identity.endpoints, &announced);
        if merged == self.identity.endpoints {
            return;
        }
        self.identity.endpoints = merged;
        if let Err(problem) = self.identity.save(&self.paths) {
            tracing::warn!(%problem, "announced endpoints are not remembered");
        }
    }

    /// Not usable before it is on disk; the old one stays good until it ends.
    async fn renew(&mut self) -> Result<(), Problem> {
        let request = KeyRequest::generate()
            .map_err(|error| Problem::new("key", "cannot make a key").because(error.to_string()))?;
        let granted = tokio::time::timeout(TIMEOUT, self.ask(&request.csr_pem))
            .await
            .map_err(|_| {
                Problem::new(
                    "coordinator-silent",
                    "the coordinator did not answer a renewal",
                )
            })??;
        let renewed = self.identity.renewed(request, granted)?;
        renewed.save(&self.paths)?;
        self.material.swap(renewed.material.clone());
        self.identity = renewed;
        self.redial.send_replace(());
        Ok(())
    }

    async fn ask(&self, csr_pem: &str) -> Result<Granted, Problem> {
        let (endpoint, channel) = dial::beside(&self.identity)
            .await
            .map_err(|failure| failure.problem)?;
        let request = RenewRequest {
            csr_pem: csr_pem.to_owned(),
        };
        let answer = AgentClient::new(channel)
            .renew(request)
            .await
            .map_err(|status| Failure::of_status(&endpoint, &status).problem)?
            .into_inner();
        Ok(Granted {
            certificate_pem: answer.certificate_pem,
            ca_bundle_pem: answer.ca_bundle_pem,
        })
    }
}

#[cfg(test)]
mod tests;
