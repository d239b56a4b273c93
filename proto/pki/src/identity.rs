//! Who a certificate speaks for: `spiffe://quorate/<role>/<id>` in its only URI name.

use std::fmt;
use std::str::FromStr;

use x509_parser::extensions::GeneralName;

use crate::{PkiError, Result, der};

const PREFIX: &str = "spiffe://quorate/";

/// What the holder of a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A machine under management.
    Agent,
    /// Everything, users and CAs included.
    Admin,
    /// Runs and changes clusters.
    Operator,
    /// Reads.
    Viewer,
    /// The coordinator itself.
    Coordinator,
}

impl Role {
    /// Every role, for tables and tests.
    pub const ALL: [Self; 5] = [
        Self::Agent,
        Self::Admin,
        Self::Operator,
        Self::Viewer,
        Self::Coordinator,
    ];

    /// The name used in URIs and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Coordinator => "coordinator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| {
                refuse(
                    text,
                    "expected agent, admin, operator, viewer or coordinator",
                )
            })
    }
}

/// Role and name of a certificate's holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    pub role: Role,
    pub id: String,
}

impl Identity {
    /// Checks the id: a lower-case letter or digit, then up to 62 of `a-z 0-9 . -`.
    pub fn new(role: Role, id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = match id.as_bytes() {
            [first, rest @ ..] => {
                plain(*first)
                    && rest.len() <= 62
                    && rest.iter().all(|&b| plain(b) || b == b'.' || b == b'-')
            }
            [] => false,
        };
        if !valid {
            return Err(refuse(
                &id,
                "an id is 1 to 63 of a-z, 0-9, '.' and '-' and starts with a letter or digit",
            ));
        }
        Ok(Self { role, id })
    }

    /// `spiffe://quorate/<role>/<id>`
    pub fn to_uri(&self) -> String {
        format!("{PREFIX}{}/{}", self.role, self.id)
    }

    /// Reads what [`Identity::to_uri`] writes, and nothing else.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let (role, id) = uri
            .strip_prefix(PREFIX)
            .and_then(|path| path.split_once('/'))
            .ok_or_else(|| refuse(uri, "expected spiffe://quorate/<role>/<id>"))?;
        Self::new(role.parse()?, id)
    }

    /// The identity in a certificate that the TLS layer has already verified.
    ///
    /// Exactly one URI name is accepted: with two, different readers of the same certificate
    /// could see different holders.
    pub fn from_cert_der(cert: &[u8]) -> Result<Self> {
        let cert = der::certificate(cert)?;
        let mut uris = Vec::new();
        for name in der::subject_names(&cert)? {
            if let GeneralName::URI(uri) = name {
                uris.push(*uri);
            } else if let GeneralName::Invalid(..) = name {
                return Err(refuse("", "the certificate has an unreadable name"));
            }
        }
        match uris.as_slice() {
            [uri] => Self::from_uri(uri),
            _ => Err(refuse(
                &uris.join(" "),
                format!("the certificate has {} URI names, expected one", uris.len()),
            )),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.id)
    }
}

fn refuse(value: &str, reason: impl Into<String>) -> PkiError {
    PkiError::Identity {
        value: value.chars().take(300).collect(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_round_trips() {
        for role in Role::ALL {
            let identity = Identity::new(role, "node-1.example").unwrap();
            let uri = identity.to_uri();
            assert_eq!(uri, format!("spiffe://quorate/{role}/node-1.example"));
            assert_eq!(Identity::from_uri(&uri).unwrap(), identity);
        }
        assert!("Agent".parse::<Role>().is_err());
        assert!("".parse::<Role>().is_err());
    }

    #[test]
    fn ids() {
        let longest = "a".repeat(63);
        for id in ["a", "0", "a.b-c", "a-", longest.as_str()] {
            assert!(Identity::new(Role::Agent, id).is_ok(), "{id:?}");
        }
        let too_long = "a".repeat(64);
        for id in [
            "", "A", "-a", ".a", "a/b", "a b", "a%2f", "a_b", "\u{e4}", &too_long,
        ] {
            assert!(Identity::new(Role::Agent, id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn uris_refused() {
        for uri in [
            "",
            "spiffe://quorate/",
            "spiffe://quorate/agent",
            "spiffe://quorate/agent/",
            "spiffe://quorate/agent/a/b",
            "spiffe://quorate//a",
            "spiffe://quorate/root/a",
            "spiffe://other/agent/a",
            "SPIFFE://quorate/agent/a",
            "spiffe://quorate/agent/a?b",
            " spiffe://quorate/agent/a",
        ] {
            assert!(Identity::from_uri(uri).is_err(), "{uri:?}");
        }
    }
}
