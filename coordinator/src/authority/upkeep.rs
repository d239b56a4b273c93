//! What the authority does from time to time: renews its serving certificate and forgets what is over.

use super::{Authority, CertificateRecord, NodeRecord, TokenRecord, lock, problem};
use crate::clock;
use crate::store::{Key, Kind, Prefix, Transaction};
use quorate_pki::{enroll_server_config, inspect_pem, is_due};
use quorate_proto::v1::Problem;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Far below every term that it looks at.
const EVERY: Duration = Duration::from_secs(3600);
/// Certificates that have expired are listed for another day; a verifier refuses them by their date.
const EXPIRED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Tokens and revoked nodes stay visible for a while. By then every certificate of such a node has expired.
const PAST_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

impl Authority {
    pub async fn upkeep(&self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(problem) = self.renew_server() {
                tracing::error!(%problem, "cannot renew the serving certificate");
            }
            if let Err(problem) = self.forget(clock::unix()).await {
                tracing::warn!(%problem, "cannot remove what has expired");
            }
        }
    }

    /// Takes effect with the next connection; open ones go on.
    fn renew_server(&self) -> Result<(), Problem> {
        let now = clock::now();
        let mut material = lock(&self.material);
        let infos = inspect_pem(&material.cert_chain_pem).map_err(problem)?;
        if infos
            .first()
            .is_some_and(|info| !is_due(info.not_before, info.not_after, 0.5, now))
        {
            return Ok(());
        }
        let renewed = self.files.renew_server(&self.ca, &self.names, now)?;
        self.enroll
            .swap(enroll_server_config(&renewed).map_err(problem)?);
        *material = renewed;
        drop(material);
        self.swap_mutual()?;
        tracing::info!("renewed the serving certificate");
        Ok(())
    }

    /// Removes records of what is long over.
    pub(super) async fn forget(&self, now: i64) -> Result<(), Problem> {
        let past = |at: i64, kept: Duration| now.saturating_sub(at) > super::seconds(kept);
        let certificates: Vec<(String, CertificateRecord)> =
            self.store.scan(&Prefix::all(Kind::Certificate))?;
        let tokens: Vec<(String, TokenRecord)> = self.store.scan(&Prefix::all(Kind::Token))?;
        let nodes: Vec<(String, NodeRecord)> = self.store.scan(&Prefix::all(Kind::Node))?;
        let certificates = certificates
            .into_iter()
            .filter(|(_, one)| past(one.expires_unix, EXPIRED_KEPT))
            .map(|(serial, _)| Key::certificate(&serial));
        let tokens = tokens
            .into_iter()
            .filter(|(_, token)| past(token.expires_unix, PAST_KEPT))
            .map(|(id, _)| Key::token(&id));
        let nodes = nodes
            .into_iter()
            .filter(|(_, node)| node.revoked_unix.is_some_and(|at| past(at, PAST_KEPT)))
            .map(|(id, _)| Key::node(&id));
        let keys: Vec<Key> = certificates.chain(tokens).chain(nodes).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let transaction = keys
            .into_iter()
            .fold(Transaction::new(), Transaction::delete);
        self.store.commit(transaction).await?;
        self.deny_stored()
    }
}
