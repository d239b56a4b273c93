//! Revocation: at once in memory for calls on open connections, in the TLS configuration for new ones, and in the store.

use super::{Authority, CertificateRecord, NodeRecord, UserRecord, lock, problem};
use crate::clock;
use crate::sessions::Node;
use crate::store::{Entry, Key, Kind, Prefix, Store, StoreError, Transaction};
use quorate_pki::{Authority as Ca, Identity, mutual_server_config};
use quorate_proto::v1::Problem;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

/// Not enforced by our own verifier; a date that is far off for whoever else reads the list.
const LIST_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is refused although its certificate is valid.
#[derive(Debug, Default)]
pub(super) struct Denied {
    /// Serial -> when.
    serials: BTreeMap<String, SystemTime>,
    /// "agent/<id>" of nodes that were revoked: holds for certificates that are not in the store any more, too.
    identities: BTreeSet<String>,
}

impl Denied {
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let certificates: Vec<(String, CertificateRecord)> =
            store.scan(&Prefix::all(Kind::Certificate))?;
        let nodes: Vec<(String, NodeRecord)> = store.scan(&Prefix::all(Kind::Node))?;
        let serials = certificates
            .into_iter()
            .filter_map(|(serial, one)| Some((serial, clock::from_unix(one.revoked_unix?))))
            .collect();
        let identities = nodes
            .into_iter()
            .filter(|(_, node)| node.revoked_unix.is_some())
            .map(|(id, _)| format!("agent/{id}"))
            .collect();
        Ok(Denied {
            serials,
            identities,
        })
    }

    pub fn revocation_list(&self, ca: &Ca, now: SystemTime) -> Result<String, Problem> {
        let serials: Vec<_> = self
            .serials
            .iter()
            .map(|(serial, at)| (serial.clone(), *at))
            .collect();
        ca.revocation_list(&serials, now, now + LIST_VALIDITY)
            .map_err(problem)
    }
}

impl Authority {
    /// Asked for each call.
    pub fn is_denied(&self, identity: &Identity, serial: &str) -> bool {
        let denied = self.denied.read().unwrap_or_else(PoisonError::into_inner);
        if denied.serials.is_empty() && denied.identities.is_empty() {
            return false;
        }
        denied.serials.contains_key(serial) || denied.identities.contains(&identity.to_string())
    }

    /// Takes a node's identity back. Its session is to be ended by the caller.
    pub async fn revoke_node(&self, who: &str, name: &str) -> Result<Node, Problem> {
        let Some(entry) = self.node_by_name(name)? else {
            return Err(Problem::new("missing-node", "there is no such node")
                .at(name.chars().take(80).collect::<String>())
                .next("quorate nodes"));
        };
        let node = entry.value;
        let transaction = Transaction::new()
            .unchanged(Key::node(&node.id), entry.revision)
            .delete(Key::node_name(&node.name))
            .audit(who, "revoke-node", format!("{} ({})", node.name, node.id));
        self.store
            .commit(self.revoking(transaction, &node)?)
            .await?;
        self.deny_node(&node.id)?;
        Ok(Node {
            id: node.id,
            name: node.name,
        })
    }

    /// Takes all certificates of a user back.
    pub async fn revoke_user(&self, who: &str, name: &str) -> Result<(), Problem> {
        let key = Key::user(name);
        let Some(entry) = self.store.entry::<UserRecord>(&key)? else {
            return Err(Problem::new("missing-user", "there is no such user")
                .at(name.chars().take(80).collect::<String>())
                .next("quorate certificates issued"));
        };
        if who == format!("{}/{name}", entry.value.role) {
            return Err(
                Problem::new("refused-own-user", "nobody takes back their own access")
                    .next("let another admin do it"),
            );
        }
        let transaction = Transaction::new()
            .unchanged(key.clone(), entry.revision)
            .delete(key)
            .audit(who, "revoke-user", name);
        let identity = format!("{}/{name}", entry.value.role);
        self.store
            .commit(self.revoking_identity(transaction, &identity)?)
            .await?;
        self.deny_stored()
    }

    /// Adds to a transaction what makes this node and its certificates revoked.
    pub(super) fn revoking(
        &self,
        transaction: Transaction,
        node: &NodeRecord,
    ) -> Result<Transaction, StoreError> {
        let revoked = NodeRecord {
            revoked_unix: Some(clock::unix()),
            ..node.clone()
        };
        let transaction = transaction.put(Key::node(&node.id), &revoked);
        self.revoking_identity(transaction, &format!("agent/{}", node.id))
    }

    pub(super) fn revoking_identity(
        &self,
        mut transaction: Transaction,
        identity: &str,
    ) -> Result<Transaction, StoreError> {
        let all: Vec<(String, Entry<CertificateRecord>)> =
            self.store.scan_entries(&Prefix::all(Kind::Certificate))?;
        for (serial, entry) in all {
            if entry.value.identity != identity || entry.value.revoked_unix.is_some() {
                continue;
            }
            let key = Key::certificate(&serial);
            let revoked = CertificateRecord {
                revoked_unix: Some(clock::unix()),
                ..entry.value
            };
            transaction = transaction
                .unchanged(key.clone(), entry.revision)
                .put(key, &revoked);
        }
        Ok(transaction)
    }

    pub(super) fn deny_node(&self, id: &str) -> Result<(), Problem> {
        let mut denied = self.denied.write().unwrap_or_else(PoisonError::into_inner);
        denied.identities.insert(format!("agent/{id}"));
        drop(denied);
        self.deny_stored()
    }

    /// Takes over what the store says, and puts it into the TLS configuration.
    pub(super) fn deny_stored(&self) -> Result<(), Problem> {
        // Loaded under the lock, so that of two changes at a time none is overwritten by an older reading.
        let mut denied = self.denied.write().unwrap_or_else(PoisonError::into_inner);
        *denied = Denied::load(&self.store)?;
        drop(denied);
        self.swap_mutual()
    }

    pub(super) fn swap_mutual(&self) -> Result<(), Problem> {
        // Held across the swap, so that of two changes the newer configuration stays.
        let material = lock(&self.material);
        let denied = self.denied.read().unwrap_or_else(PoisonError::into_inner);
        let list = denied.revocation_list(&self.ca, clock::now())?;
        let config = mutual_server_config(&material, Some(&list)).map_err(problem)?;
        self.mutual.swap(config);
        Ok(())
    }
}
