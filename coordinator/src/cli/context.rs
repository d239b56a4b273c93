//! The context file: which coordinator, and who we are to it.

use super::failure::Outcome;
use super::files;
use super::text::units;
use super::text::yaml::to_yaml;
use crate::clock;
use quorate_pki::{Identity, TlsMaterial};
use quorate_proto::v1::Problem;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Written by `quorate init` for root on the coordinator's own machine.
pub const SYSTEM_CONTEXT: &str = "/etc/quorate/context.yaml";
/// Five certificates of each kind would fit.
const MAX_CONTEXT_BYTES: u64 = 64 * 1024;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    #[serde(default)]
    pub name: String,
    /// host:port of the operators' service.
    pub server: String,
    pub ca_pem: String,
    pub cert_pem: String,
    #[serde(deserialize_with = "zeroizing")]
    pub key_pem: Zeroizing<String>,
}

fn zeroizing<'de, D: Deserializer<'de>>(source: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(source).map(Zeroizing::new)
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Context {
    pub fn material(&self) -> TlsMaterial {
        TlsMaterial {
            cert_chain_pem: self.cert_pem.clone(),
            key_pem: self.key_pem.clone(),
            ca_bundle_pem: self.ca_pem.clone(),
        }
    }

    /// The name in our certificate, such as `root`; empty if it has none.
    pub fn user(&self) -> String {
        let certificate = quorate_pki::inspect_pem(&self.cert_pem).unwrap_or_default();
        let uri = certificate.first().and_then(|info| info.uris.first());
        uri.and_then(|uri| Identity::from_uri(uri).ok())
            .map(|identity| identity.id)
            .unwrap_or_default()
    }

    /// Refuses a certificate that has ended before the coordinator does, in words that help.
    pub fn check_dates(&self, now_ms: i64) -> Result<(), Problem> {
        let certificates = quorate_pki::inspect_pem(&self.cert_pem)
            .map_err(|error| Problem::new("context-unreadable", error.to_string()))?;
        let Some(end) = certificates.first().map(|info| info.not_after) else {
            return Ok(());
        };
        let end_ms = units::ms(clock::to_unix(end));
        if end_ms > now_ms {
            return Ok(());
        }
        let when = units::rfc3339(end_ms);
        Err(
            Problem::new("certificate-expired", format!("your certificate ended on {when}"))
                .because("it was not renewed in time, or this machine's clock is wrong")
                .next("let an administrator make a new one: quorate user create NAME --role ROLE -o context.yaml"),
        )
    }

    pub fn to_file_text(&self) -> Zeroizing<String> {
        // Not through serde: a zeroized key must not leave copies of itself in a JSON value.
        let head = serde_json::json!({
            "ca_pem": self.ca_pem,
            "cert_pem": self.cert_pem,
            "name": self.name,
            "server": self.server,
        });
        let mut text = Zeroizing::new(to_yaml(&head));
        text.push_str("key_pem: |\n");
        for line in self.key_pem.lines() {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// Where contexts are looked for.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `--context` or `QUORATE_CONTEXT`.
    pub explicit: Option<PathBuf>,
    pub config_home: Option<PathBuf>,
    pub system: PathBuf,
}

impl Places {
    pub fn of_process(explicit: Option<PathBuf>) -> Self {
        let var = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        Places {
            explicit,
            config_home: var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|h| h.join(".config"))),
            system: PathBuf::from(SYSTEM_CONTEXT),
        }
    }

    fn candidates(&self) -> Vec<PathBuf> {
        match &self.explicit {
            Some(path) => vec![path.clone()],
            None => {
                let own = self.config_home.as_ref();
                own.map(|home| home.join("quorate/context.yaml"))
                    .into_iter()
                    .chain([self.system.clone()])
                    .collect()
            }
        }
    }
}

pub fn load(places: &Places) -> Outcome<Context> {
    let candidates = places.candidates();
    for path in &candidates {
        if path.exists() || places.explicit.is_some() {
            return Ok(read(path)?);
        }
    }
    let tried: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
    Err(Problem::new("context-missing", "no context file: which coordinator, and who are you?")
        .at(tried.join(", "))
        .next("on the coordinator's machine use sudo; elsewhere copy the file that `quorate user create` wrote and name it by --context")
        .into())
}

fn read(path: &Path) -> Result<Context, Problem> {
    let text = files::read_text(path, MAX_CONTEXT_BYTES).map_err(|problem| {
        problem.next("name another file by --context; on the coordinator's machine use sudo")
    })?;
    let text = Zeroizing::new(text);
    // The parser's message may quote the file, and with it the key; its place is enough.
    serde_saphyr::from_str(&text).map_err(|error| {
        let place = error.location().map(|at| format!(", line {}", at.line()));
        Problem::new("context-unreadable", "this is not a context file")
            .at(format!("{}{}", path.display(), place.unwrap_or_default()))
            .because("it needs exactly: name, server, ca_pem, cert_pem, key_pem")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Context {
        Context {
            name: "lab".into(),
            server: "[fd00::1]:7443".into(),
            ca_pem: "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n".into(),
            cert_pem: "-----BEGIN CERTIFICATE-----\nQ0U=\n-----END CERTIFICATE-----\n".into(),
            key_pem: Zeroizing::new(
                "-----BEGIN PRIVATE KEY-----\nS0VZ\n-----END PRIVATE KEY-----\n".into(),
            ),
        }
    }

    #[test]
    fn written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("context.yaml");
        std::fs::write(&path, sample().to_file_text().as_bytes()).unwrap();
        let places = Places {
            explicit: Some(path),
            ..Places::default()
        };
        let back = load(&places).unwrap();
        assert_eq!(back.server, sample().server);
        assert_eq!(back.key_pem, sample().key_pem);
        assert_eq!(
            (back.ca_pem, back.cert_pem),
            (sample().ca_pem, sample().cert_pem)
        );
        assert!(!format!("{:?}", sample()).contains("S0VZ"));
    }

    #[test]
    fn own_before_system_and_missing_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("config");
        let places = Places {
            explicit: None,
            config_home: Some(home.clone()),
            system: folder.path().join("system.yaml"),
        };
        let missing = load(&places).unwrap_err();
        assert_eq!(missing.problems[0].code, "context-missing");
        assert!(missing.problems[0].r#where.contains("system.yaml"));
        std::fs::write(&places.system, sample().to_file_text().as_bytes()).unwrap();
        assert_eq!(load(&places).unwrap().name, "lab");
        std::fs::create_dir_all(home.join("quorate")).unwrap();
        let own = Context {
            name: "own".into(),
            ..sample()
        };
        std::fs::write(
            home.join("quorate/context.yaml"),
            own.to_file_text().as_bytes(),
        )
        .unwrap();
        assert_eq!(load(&places).unwrap().name, "own");
    }

    #[test]
    fn errors_do_not_quote_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("context.yaml");
        for text in [
            "key_pem: S0VZ\nserver: [",
            "key_pem: {a: S0VZ}\nserver: x",
            "S0VZ: 1",
        ] {
            std::fs::write(&path, text).unwrap();
            let failure = read(&path).unwrap_err();
            assert_eq!(failure.code, "context-unreadable");
            assert!(!failure.to_string().contains("S0VZ"), "{failure}");
        }
    }
}
