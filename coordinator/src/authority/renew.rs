//! A node asks for its next certificate, over the one it has. The old one stays valid until it expires.

use super::enroll::AGENT_VALIDITY;
use super::{Authority, NodeRecord, agent_identity};
use crate::store::{Key, Transaction};
use quorate_proto::v1::{Problem, RenewResponse};

impl Authority {
    pub async fn renew(&self, node_id: &str, csr_pem: &str) -> Result<RenewResponse, Problem> {
        let key = Key::node(node_id);
        let entry = self
            .store
            .entry::<NodeRecord>(&key)?
            .filter(|entry| entry.value.revoked_unix.is_none())
            .ok_or_else(|| {
                Problem::new("denied-node", "this node is not known here any more")
                    .next("enrol it again with a new token")
            })?;
        let mut node = entry.value;
        let (issued, certificate) = self.sign(
            csr_pem,
            &agent_identity(node_id)?,
            &node.name,
            AGENT_VALIDITY,
        )?;
        node.serial = certificate.serial.clone();
        node.certificate_expires_unix = certificate.expires_unix;
        let transaction = Transaction::new()
            .unchanged(key.clone(), entry.revision)
            .put(key, &node)
            .put(Key::certificate(&certificate.serial), &certificate);
        self.store.commit(transaction).await?;
        Ok(RenewResponse {
            certificate_pem: issued.cert_pem,
            ca_bundle_pem: self.ca_pem().to_owned(),
        })
    }
}
