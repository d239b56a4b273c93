//! Who this agent is: key, certificate, authorities and endpoints in one folder that is replaced as a whole.

use crate::host::files;
use crate::paths::Paths;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use quorate_pki::{KeyRequest, PkiError, TlsMaterial};
use quorate_proto::token::parse_endpoint;
use quorate_proto::v1::Problem;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Endpoints that are remembered: more coordinators than anybody runs.
pub const MAX_ENDPOINTS: usize = 16;

#[derive(Clone, Debug)]
pub struct AgentIdentity {
    pub node_id: String,
    pub node_name: String,
    /// host:port of the coordinators, the preferred one first.
    pub endpoints: Vec<String>,
    pub material: TlsMaterial,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

#[derive(Serialize, Deserialize)]
struct AgentFile {
    node_id: String,
    node_name: String,
    session_endpoints: Vec<String>,
}

/// What a coordinator hands back for a certificate request.
pub struct Granted {
    pub certificate_pem: String,
    pub ca_bundle_pem: String,
}

impl AgentIdentity {
    /// Checks that key, certificate and authorities belong together before anything relies on them.
    pub fn assemble(
        node_id: String,
        node_name: String,
        endpoints: Vec<String>,
        key_pem: Zeroizing<String>,
        granted: Granted,
    ) -> Result<Self, Problem> {
        if !quorate_pki::pair_matches(&granted.certificate_pem, &key_pem) {
            return Err(broken("the certificate does not belong to the key"));
        }
        let signed = quorate_pki::signed_by(&granted.certificate_pem, &granted.ca_bundle_pem);
        if !signed.map_err(|error| unreadable(&error))? {
            return Err(broken(
                "the certificate is signed by none of the authorities",
            ));
        }
        let info = quorate_pki::inspect_pem(&granted.certificate_pem)
            .map_err(|error| unreadable(&error))?
            .into_iter()
            .next()
            .ok_or_else(|| broken("the certificate file is empty"))?;
        if endpoints.is_empty() || endpoints.len() > MAX_ENDPOINTS {
            return Err(broken("there must be 1 to 16 endpoints"));
        }
        for endpoint in &endpoints {
            parse_endpoint(endpoint)?;
        }
        Ok(AgentIdentity {
            node_id,
            node_name,
            endpoints,
            material: TlsMaterial {
                cert_chain_pem: granted.certificate_pem,
                key_pem,
                ca_bundle_pem: granted.ca_bundle_pem,
            },
            not_before: info.not_before,
            not_after: info.not_after,
        })
    }

    /// `None`: not enrolled yet.
    pub fn load(paths: &Paths) -> Result<Option<Self>, Problem> {
        let folder = paths.identity();
        let Some(described) = files::read_optional(&folder.join("agent.json"))? else {
            return Ok(None);
        };
        let place = |problem: Problem| problem.at(folder.display().to_string());
        let described: AgentFile = serde_json::from_slice(&described)
            .map_err(|error| place(broken(&format!("agent.json cannot be parsed: {error}"))))?;
        let key_pem = Zeroizing::new(files::read_text(&folder.join("key.pem"))?);
        let granted = Granted {
            certificate_pem: files::read_text(&folder.join("cert.pem"))?,
            ca_bundle_pem: files::read_text(&folder.join("ca.pem"))?,
        };
        Self::assemble(
            described.node_id,
            described.node_name,
            described.session_endpoints,
            key_pem,
            granted,
        )
        .map(Some)
        .map_err(place)
    }

    /// All or nothing: a reader sees the old folder or the new one.
    pub fn save(&self, paths: &Paths) -> Result<(), Problem> {
        let folder = paths.identity();
        let fresh = sibling(&folder);
        files::remove_tree(&fresh)?;
        files::make_folder(&fresh, 0o700)?;
        let described = serde_json::to_vec_pretty(&AgentFile {
            node_id: self.node_id.clone(),
            node_name: self.node_name.clone(),
            session_endpoints: self.endpoints.clone(),
        })
        .map_err(|error| broken(&error.to_string()))?;
        let material = &self.material;
        for (name, content) in [
            ("key.pem", material.key_pem.as_bytes()),
            ("cert.pem", material.cert_chain_pem.as_bytes()),
            ("ca.pem", material.ca_bundle_pem.as_bytes()),
            ("agent.json", described.as_slice()),
        ] {
            files::write_atomic(&fresh.join(name), content, 0o600)?;
        }
        put_in_place(&fresh, &folder)?;
        files::remove_tree(&fresh)
    }

    /// The same agent with a new certificate.
    pub fn renewed(&self, request: KeyRequest, granted: Granted) -> Result<Self, Problem> {
        Self::assemble(
            self.node_id.clone(),
            self.node_name.clone(),
            self.endpoints.clone(),
            request.key_pem,
            granted,
        )
    }
}

/// Adds what the coordinator announces in front of what is known; malformed ones are left out.
pub fn merge_endpoints(known: &[String], announced: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    for endpoint in announced.iter().chain(known) {
        if parse_endpoint(endpoint).is_ok() && !merged.contains(endpoint) {
            merged.push(endpoint.clone());
        }
    }
    merged.truncate(MAX_ENDPOINTS);
    merged
}

/// Exchanges the folders in one step, so that there is no moment without an identity.
fn put_in_place(fresh: &Path, folder: &Path) -> Result<(), Problem> {
    let moved = if folder.exists() {
        renameat2(
            AT_FDCWD,
            fresh,
            AT_FDCWD,
            folder,
            RenameFlags::RENAME_EXCHANGE,
        )
        .map_err(std::io::Error::from)
    } else {
        fs::rename(fresh, folder)
    };
    let parent = folder.parent().unwrap_or(Path::new("/"));
    moved
        .and_then(|()| fs::File::open(parent)?.sync_all())
        .map_err(|error| {
            broken(&format!("the folder cannot be put in place: {error}"))
                .at(folder.display().to_string())
        })
}

fn sibling(folder: &Path) -> PathBuf {
    folder.with_extension("new")
}

fn unreadable(error: &PkiError) -> Problem {
    broken(&error.to_string())
}

fn broken(cause: &str) -> Problem {
    Problem::new("identity-broken", "the agent's identity cannot be used")
        .because(cause)
        .next("enrol again: quorate-agent enroll --force TOKEN")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let paths = Paths::under(folder.path());
        let authority = testing::authority();
        assert!(AgentIdentity::load(&paths).expect("readable").is_none());
        let first = testing::agent_identity(&authority, "n1", &["127.0.0.1:1"]);
        first.save(&paths).expect("saved");
        let second = testing::agent_identity(&authority, "n1", &["127.0.0.1:2"]);
        second.save(&paths).expect("saved again");
        let loaded = AgentIdentity::load(&paths)
            .expect("readable")
            .expect("there");
        assert_eq!(loaded.endpoints, ["127.0.0.1:2"]);
        assert_eq!(
            loaded.material.cert_chain_pem,
            second.material.cert_chain_pem
        );
        let mode = fs::metadata(paths.identity().join("key.pem"))
            .expect("key")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(!sibling(&paths.identity()).exists());
    }

    #[test]
    fn a_half_written_one_is_not_used() {
        let folder = tempfile::tempdir().expect("folder");
        let paths = Paths::under(folder.path());
        let authority = testing::authority();
        let first = testing::agent_identity(&authority, "n1", &["127.0.0.1:1"]);
        first.save(&paths).expect("saved");
        // What a crash in the middle of `save` leaves.
        let fresh = sibling(&paths.identity());
        files::write_atomic(&fresh.join("key.pem"), b"half", 0o600).expect("written");
        assert!(AgentIdentity::load(&paths).expect("readable").is_some());
        first.save(&paths).expect("the rest is no obstacle");
        // A key of another certificate.
        let other = testing::agent_identity(&authority, "n2", &["127.0.0.1:1"]);
        let key = paths.identity().join("key.pem");
        files::write_atomic(&key, other.material.key_pem.as_bytes(), 0o600).expect("written");
        let problem = AgentIdentity::load(&paths).expect_err("used");
        assert_eq!(problem.code, "identity-broken");
    }

    #[test]
    fn announced_endpoints_come_first() {
        let known = ["a:1".to_owned(), "b:1".to_owned()];
        let announced = ["b:1".to_owned(), "not one".to_owned(), "c:1".to_owned()];
        assert_eq!(merge_endpoints(&known, &announced), ["b:1", "c:1", "a:1"]);
        let many: Vec<String> = (1..100).map(|port| format!("x:{port}")).collect();
        assert_eq!(merge_endpoints(&known, &many).len(), MAX_ENDPOINTS);
    }
}
