//! Who may call the coordinator: its certificate authority, join tokens, nodes, users and their revocation.
//!
//! - `files`: CA and serving certificate; `tokens`, `enroll`, `renew`: how nodes come and stay;
//!   `users`: people and scripts; `revoke`: how either goes; `upkeep`: what is done from time to time.
//!
//! Effects on live sessions are the caller's: what was revoked is returned.

mod enroll;
mod files;
mod limit;
mod records;
mod renew;
mod revoke;
mod tokens;
mod upkeep;
mod users;
mod verdict;

pub use enroll::Enrolled;
pub use files::{Files, server_names};
pub use limit::source;
pub use records::{CertificateRecord, NodeRecord, TokenRecord, TokenUse, UserRecord};
pub use tokens::NewToken;
pub use users::MAX_USER_VALIDITY;

use crate::clock;
use crate::store::{Entry, Key, Kind, Prefix, Store, StoreError};
use limit::FailureLimit;
use quorate_pki::{
    Authority as Ca, Hot, Identity, Issued, Leaf, Name, PkiError, Role, TlsMaterial, Usage,
    enroll_server_config, inspect_pem, mutual_server_config,
};
use quorate_proto::v1::Problem;
use revoke::Denied;
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// A change that meets another one is judged anew this often before it gives up.
const MAX_CONFLICTS: usize = 5;

pub struct Authority {
    ca: Ca,
    files: Files,
    names: Vec<Name>,
    store: Arc<Store>,
    denied: RwLock<Denied>,
    failures: Mutex<FailureLimit>,
    material: Mutex<TlsMaterial>,
    mutual: Hot<ServerConfig>,
    enroll: Hot<ServerConfig>,
}

/// A certificate in the coordinator's state folder.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnCertificate {
    pub kind: &'static str,
    pub place: String,
    pub ends_unix: i64,
}

impl Authority {
    /// `names` are those of the serving certificate.
    pub fn open(state: &Path, names: Vec<Name>, store: Arc<Store>) -> Result<Self, Problem> {
        let files = Files::new(state);
        let ca = files.load_ca()?;
        let now = clock::now();
        let material = files.server_material(&ca, &names, now)?;
        let denied = Denied::load(&store)?;
        let list = denied.revocation_list(&ca, now)?;
        let mutual = mutual_server_config(&material, Some(&list)).map_err(problem)?;
        let enroll = enroll_server_config(&material).map_err(problem)?;
        Ok(Authority {
            ca,
            files,
            names,
            store,
            denied: RwLock::new(denied),
            failures: Mutex::default(),
            material: Mutex::new(material),
            mutual: Hot::new(mutual),
            enroll: Hot::new(enroll),
        })
    }

    /// For the listener of agents and operators; asks for a certificate.
    pub fn mutual_config(&self) -> Arc<ServerConfig> {
        self.mutual.load()
    }

    /// For the enrolment listener.
    pub fn enroll_config(&self) -> Arc<ServerConfig> {
        self.enroll.load()
    }

    pub fn ca_pem(&self) -> &str {
        self.ca.cert_pem()
    }

    pub fn pin(&self) -> String {
        self.ca.spki_pin()
    }

    /// Proof for who holds the same authority: see [`Ca::seal`].
    pub fn seal(&self, purpose: &str, data: &[u8]) -> Vec<u8> {
        self.ca.seal(purpose, data)
    }

    pub fn is_sealed(&self, purpose: &str, data: &[u8], seal: &[u8]) -> bool {
        self.ca.is_sealed(purpose, data, seal)
    }

    /// The record of a node that may talk to us.
    pub fn node(&self, id: &str) -> Result<Option<NodeRecord>, StoreError> {
        let node: Option<NodeRecord> = self.store.read(&Key::node(id))?;
        Ok(node.filter(|node| node.revoked_unix.is_none()))
    }

    pub fn nodes(&self) -> Result<Vec<NodeRecord>, StoreError> {
        let found = self.store.scan(&Prefix::all(Kind::Node))?;
        Ok(found.into_iter().map(|(_, node)| node).collect())
    }

    pub fn certificates(&self) -> Result<Vec<CertificateRecord>, StoreError> {
        let found = self.store.scan(&Prefix::all(Kind::Certificate))?;
        Ok(found
            .into_iter()
            .map(|(_, certificate)| certificate)
            .collect())
    }

    /// Of the coordinator itself: its authority, and what it serves with.
    pub fn own_certificates(&self) -> Result<Vec<OwnCertificate>, Problem> {
        let serving = lock(&self.material).cert_chain_pem.clone();
        let serving = inspect_pem(&serving).map_err(problem)?;
        let own = |kind, place: PathBuf, ends| OwnCertificate {
            kind,
            place: place.display().to_string(),
            ends_unix: clock::to_unix(ends),
        };
        let ca = own("ca", self.files.ca_cert(), self.ca.info().not_after);
        let serving = serving
            .first()
            .map(|info| own("server", self.files.server_cert(), info.not_after));
        Ok(std::iter::once(ca).chain(serving).collect())
    }

    fn node_by_name(&self, name: &str) -> Result<Option<Entry<NodeRecord>>, StoreError> {
        let id: Option<String> = self.store.read(&Key::node_name(name))?;
        match id {
            Some(id) => self.store.entry(&Key::node(&id)),
            None => Ok(None),
        }
    }

    fn sign(
        &self,
        csr_pem: &str,
        identity: &Identity,
        common_name: &str,
        validity: Duration,
    ) -> Result<(Issued, CertificateRecord), Problem> {
        let leaf = leaf(identity, common_name, validity);
        let issued = self
            .ca
            .sign_request(csr_pem, &leaf, clock::now())
            .map_err(problem)?;
        let record = certificate_record(&issued, identity);
        Ok((issued, record))
    }
}

/// A client certificate: the role and the id are in its URI, and nothing else of it is looked at.
pub(crate) fn leaf(identity: &Identity, common_name: &str, validity: Duration) -> Leaf {
    Leaf {
        // Longer names than a certificate can carry here are for people only.
        common_name: common_name.chars().take(64).collect(),
        organization: Vec::new(),
        names: Vec::new(),
        uri: Some(identity.to_uri()),
        usage: Usage::Client,
        validity,
    }
}

pub(crate) fn certificate_record(issued: &Issued, identity: &Identity) -> CertificateRecord {
    CertificateRecord {
        serial: issued.serial.clone(),
        identity: identity.to_string(),
        issued_unix: clock::unix(),
        expires_unix: clock::to_unix(issued.not_after),
        revoked_unix: None,
    }
}

pub(crate) fn agent_identity(id: &str) -> Result<Identity, Problem> {
    Identity::new(Role::Agent, id).map_err(problem)
}

/// The caller's mistake where the caller's input is at fault, ours otherwise.
pub(crate) fn problem(error: PkiError) -> Problem {
    let of_caller = matches!(
        error,
        PkiError::Request { .. }
            | PkiError::Leaf { .. }
            | PkiError::Identity { .. }
            | PkiError::Name { .. }
            | PkiError::Time { .. }
    );
    let code = match of_caller {
        true => "invalid-request",
        false => "authority",
    };
    Problem::new(code, error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
