//! The authority's files in the state folder: `ca/ca.{crt,key}` and `tls/server.{crt,key}`. Keys are 0600.

use super::problem;
use crate::files;
use quorate_pki::{
    Authority as Ca, Leaf, Name, TlsMaterial, Usage, inspect_pem, pair_matches, signed_by,
};
use quorate_proto::v1::Problem;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Renewed in place long before: a coordinator that runs never notices.
const SERVER_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Clone, Debug)]
pub struct Files {
    state: PathBuf,
}

impl Files {
    pub fn new(state: &Path) -> Self {
        Files {
            state: state.to_owned(),
        }
    }

    pub fn ca_cert(&self) -> PathBuf {
        self.state.join("ca/ca.crt")
    }

    pub fn ca_key(&self) -> PathBuf {
        self.state.join("ca/ca.key")
    }

    pub fn server_cert(&self) -> PathBuf {
        self.state.join("tls/server.crt")
    }

    fn server_key(&self) -> PathBuf {
        self.state.join("tls/server.key")
    }

    /// Makes the coordinator's CA. Never replaces one.
    pub fn create_ca(&self, now: SystemTime) -> Result<Ca, Problem> {
        if self.ca_key().exists() || self.ca_cert().exists() {
            return Err(Problem::new(
                "exists-authority",
                "there is a certificate authority already",
            )
            .at(self.ca_cert().display().to_string()));
        }
        // Each CA has a name of its own; the time makes it readable.
        let name = format!("quorate {}", crate::clock::to_unix(now));
        let ca = Ca::create(&name, CA_VALIDITY, now).map_err(problem)?;
        files::make_folder(&self.state.join("ca"), 0o700)?;
        files::write_atomic(&self.ca_key(), ca.key_pem().as_bytes(), 0o600)?;
        files::write_atomic(&self.ca_cert(), ca.cert_pem().as_bytes(), 0o644)?;
        Ok(ca)
    }

    pub fn load_ca(&self) -> Result<Ca, Problem> {
        let next = |problem: Problem| {
            problem.next("quorate init, or restore the state folder from a backup")
        };
        let cert = files::read_text(&self.ca_cert()).map_err(next)?;
        let key = files::read_text(&self.ca_key())
            .map(Zeroizing::new)
            .map_err(next)?;
        Ca::load(&cert, &key).map_err(|error| {
            let wrong = problem(error);
            next(wrong.at(self.ca_cert().display().to_string()))
        })
    }

    /// The serving certificate that is there, if it still does: names, issuer and time. Otherwise a new one.
    pub fn server_material(
        &self,
        ca: &Ca,
        names: &[Name],
        now: SystemTime,
    ) -> Result<TlsMaterial, Problem> {
        match self.present(ca, names, now) {
            Some(material) => Ok(material),
            None => self.renew_server(ca, names, now),
        }
    }

    fn present(&self, ca: &Ca, names: &[Name], now: SystemTime) -> Option<TlsMaterial> {
        let cert_chain_pem = files::read_text(&self.server_cert()).ok()?;
        let key_pem = files::read_text(&self.server_key())
            .map(Zeroizing::new)
            .ok()?;
        let info = inspect_pem(&cert_chain_pem).ok()?.into_iter().next()?;
        let fits = names.iter().all(|name| info.covers(name))
            && pair_matches(&cert_chain_pem, &key_pem)
            && signed_by(&cert_chain_pem, ca.cert_pem()).ok()?
            && !quorate_pki::is_due(info.not_before, info.not_after, 0.5, now);
        fits.then(|| TlsMaterial {
            cert_chain_pem,
            key_pem,
            ca_bundle_pem: ca.cert_pem().to_owned(),
        })
    }

    /// Key first: a crash in between leaves a pair that does not match, which [`Files::server_material`] replaces.
    pub fn renew_server(
        &self,
        ca: &Ca,
        names: &[Name],
        now: SystemTime,
    ) -> Result<TlsMaterial, Problem> {
        let leaf = Leaf {
            common_name: "quorate coordinator".to_owned(),
            organization: Vec::new(),
            names: names.to_vec(),
            uri: None,
            usage: Usage::Server,
            validity: SERVER_VALIDITY,
        };
        let made = ca.issue(&leaf, now).map_err(problem)?;
        files::make_folder(&self.state.join("tls"), 0o700)?;
        files::write_atomic(&self.server_key(), made.key_pem.as_bytes(), 0o600)?;
        files::write_atomic(&self.server_cert(), made.issued.cert_pem.as_bytes(), 0o644)?;
        Ok(TlsMaterial {
            cert_chain_pem: made.issued.cert_pem,
            key_pem: made.key_pem,
            ca_bundle_pem: ca.cert_pem().to_owned(),
        })
    }
}

/// Every name under which the coordinator is called: the advertised ones, its own, and the loopback.
pub fn server_names(advertised: &[String], hostname: &str) -> Result<Vec<Name>, Problem> {
    let mut names = Vec::new();
    for host in advertised {
        let name = Name::parse(host).map_err(problem)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for further in [hostname, "localhost", "127.0.0.1", "::1"] {
        // A host name that no certificate can carry is left out: the advertised name is the one that counts.
        match Name::parse(further) {
            Ok(name) if !names.contains(&name) => names.push(name),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_private_and_the_ca_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        let now = crate::clock::now();
        let ca = files.create_ca(now).unwrap();
        assert_eq!(files.create_ca(now).unwrap_err().code, "exists-authority");
        assert_eq!(files.load_ca().unwrap().spki_pin(), ca.spki_pin());
        files
            .renew_server(&ca, &[Name::parse("a").unwrap()], now)
            .unwrap();
        for key in [files.ca_key(), files.server_key()] {
            let mode = std::fs::metadata(key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_serving_certificate_is_kept_while_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path());
        let now = crate::clock::now();
        let ca = files.create_ca(now).unwrap();
        let names = server_names(&["10.0.0.1".to_owned()], "host_x").unwrap();
        assert_eq!(names.len(), 4);
        let first = files.server_material(&ca, &names, now).unwrap();
        let again = files.server_material(&ca, &names, now).unwrap();
        assert_eq!(first.cert_chain_pem, again.cert_chain_pem);
        // Another name, the time, a torn pair: each needs a new one.
        let more = server_names(&["example.org".to_owned()], "host").unwrap();
        let renamed = files.server_material(&ca, &more, now).unwrap();
        assert_ne!(renamed.cert_chain_pem, first.cert_chain_pem);
        let later = now + SERVER_VALIDITY * 3 / 4;
        let aged = files.server_material(&ca, &more, later).unwrap();
        assert_ne!(aged.cert_chain_pem, renamed.cert_chain_pem);
        std::fs::write(files.server_key(), first.key_pem.as_bytes()).unwrap();
        let torn = files.server_material(&ca, &more, later).unwrap();
        assert!(pair_matches(&torn.cert_chain_pem, &torn.key_pem));
    }
}
