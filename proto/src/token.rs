//! The join token: one string that carries everything a new node needs to find and trust its coordinator.
//! `q1.` + base64url of a small JSON object. Made by the coordinator, read by the agent.

use crate::v1::{Endpoint, Problem};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv6Addr;
use zeroize::Zeroizing;

/// Says how the rest is read; a later form gets a prefix of its own.
const PREFIX: &str = "q1.";
/// Addresses of one coordinator: an address and a name on each of two networks.
pub const MAX_ADDRESSES: usize = 4;
/// Longest token that is looked at: so many pairs of endpoints with full DNS names, and a node name, fit twice.
pub const MAX_TOKEN: usize = 8 * 1024;
/// Longest id or secret; the coordinator makes far shorter ones.
const MAX_WORD: usize = 128;
/// Shortest secret that could hold 128 bits in base64.
const MIN_SECRET: usize = 22;
/// Longest DNS name.
const MAX_NAME: usize = 253;
/// Hex digits of a SHA-256.
const SHA256_HEX: usize = 64;

#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub id: String,
    pub secret: Zeroizing<String>,
    /// Of the authority that signs the coordinator's serving certificate: "sha256:<hex of its public key info>".
    pub pin: String,
    /// host:port of the enrolment service.
    pub enroll: String,
    /// host:port of the agents' service.
    pub session: String,
    /// Where else the same coordinator is reached, in the order of preference.
    pub further: Vec<Address>,
    /// The only node name that may use it; empty: any.
    pub node: String,
}

/// One way to a coordinator: its two services, each as host:port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    pub enroll: String,
    pub session: String,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    id: &'a str,
    secret: &'a str,
    pin: &'a str,
    enroll: &'a str,
    session: &'a str,
    #[serde(skip_serializing_if = "<[Address]>::is_empty")]
    further: &'a [Address],
    node: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming {
    id: String,
    secret: String,
    pin: String,
    enroll: String,
    session: String,
    #[serde(default)]
    further: Vec<Address>,
    #[serde(default)]
    node: String,
}

impl JoinToken {
    /// The string to paste. Refuses what [`JoinToken::decode`] would refuse.
    pub fn encode(&self) -> Result<String, Problem> {
        self.check()?;
        let json = serde_json::to_vec(&Outgoing {
            id: &self.id,
            secret: &self.secret,
            pin: &self.pin,
            enroll: &self.enroll,
            session: &self.session,
            further: &self.further,
            node: &self.node,
        })
        .map(Zeroizing::new)
        .map_err(|_| malformed("it cannot be written"))?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&json)))
    }

    pub fn decode(text: &str) -> Result<JoinToken, Problem> {
        let text = text.trim();
        if text.len() > MAX_TOKEN {
            return Err(malformed("it is too long"));
        }
        let body = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| malformed("it does not start with q1."))?;
        let json = URL_SAFE_NO_PAD
            .decode(body)
            .map(Zeroizing::new)
            .map_err(|_| malformed("a part of it is missing or changed"))?;
        // The parser's own message may quote a value, and so the secret: it is not passed on.
        let incoming: Incoming = serde_json::from_slice(&json)
            .map_err(|_| malformed("its fields are not as expected"))?;
        let token = JoinToken {
            id: incoming.id,
            secret: Zeroizing::new(incoming.secret),
            pin: incoming.pin,
            enroll: incoming.enroll,
            session: incoming.session,
            further: incoming.further,
            node: incoming.node,
        };
        token.check()?;
        Ok(token)
    }

    /// All of them, the preferred one first.
    pub fn addresses(&self) -> Vec<Address> {
        let first = Address {
            enroll: self.enroll.clone(),
            session: self.session.clone(),
        };
        std::iter::once(first)
            .chain(self.further.iter().cloned())
            .collect()
    }

    fn check(&self) -> Result<(), Problem> {
        if !is_word(&self.id, 1) {
            return Err(malformed("its id is not as expected"));
        }
        if !is_word(&self.secret, MIN_SECRET) {
            return Err(malformed("its secret is not as expected"));
        }
        if !is_pin(&self.pin) {
            return Err(malformed("its pin is not sha256: and 64 hex digits"));
        }
        if self.further.len() >= MAX_ADDRESSES {
            return Err(malformed("it names too many addresses"));
        }
        for address in self.addresses() {
            parse_endpoint(&address.enroll)?;
            parse_endpoint(&address.session)?;
        }
        if !self.node.is_empty() && !is_dns_name(&self.node) {
            return Err(malformed("its node name is not a DNS name"));
        }
        Ok(())
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, redacted)", self.id)
    }
}

/// Reads "host:port" with a DNS name, an IPv4 address or an IPv6 address in brackets.
pub fn parse_endpoint(text: &str) -> Result<Endpoint, Problem> {
    let wrong = || {
        Problem::new("endpoint-malformed", "this is no address of a coordinator")
            .at(text.chars().take(MAX_NAME + 8).collect::<String>())
            .next("write it as host:port, an IPv6 address in brackets")
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let valid = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => is_dns_name(host),
    };
    if port == 0 || !valid {
        return Err(wrong());
    }
    Ok(Endpoint {
        host: bracketed.unwrap_or(host).to_owned(),
        port: u32::from(port),
    })
}

/// "sha256:" and 64 lower-case hex digits.
pub fn is_pin(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == SHA256_HEX && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Lower-case labels of letters, digits and inner hyphens. IPv4 addresses have this form too.
pub fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= MAX_NAME && text.split('.').all(label)
}

fn is_word(text: &str, at_least: usize) -> bool {
    (at_least..=MAX_WORD).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn malformed(cause: &str) -> Problem {
    Problem::new("token-malformed", "this is no join token")
        .because(cause)
        .next("copy the whole string that `quorate token create` printed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";

    fn token() -> JoinToken {
        JoinToken {
            id: "01jd".to_owned(),
            secret: Zeroizing::new(SECRET.to_owned()),
            pin: format!("sha256:{}", "0a".repeat(32)),
            enroll: "coordinator.example:7444".to_owned(),
            session: "[fd00::1]:7443".to_owned(),
            further: vec![Address {
                enroll: "10.0.0.5:7444".to_owned(),
                session: "10.0.0.5:7443".to_owned(),
            }],
            node: "cp-1".to_owned(),
        }
    }

    fn wrap(json: &str) -> String {
        format!("q1.{}", URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn comes_back_as_it_was() {
        let text = token().encode().expect("valid");
        assert_eq!(JoinToken::decode(&format!("  {text}\n")), Ok(token()));
    }

    #[test]
    fn refuses_what_is_not_whole() {
        let text = token().encode().expect("valid");
        for wrong in [
            "",
            "q1.",
            "q1.!!",
            &text[..text.len() - 3],
            &text.replacen("q1.", "q2.", 1),
            &wrap("{}"),
            &wrap("[1]"),
            &"q1.".repeat(3000),
        ] {
            let problem = JoinToken::decode(wrong).expect_err("accepted");
            assert_eq!(problem.code, "token-malformed");
        }
    }

    #[test]
    fn refuses_fields_out_of_form() {
        type Change = fn(&mut JoinToken);
        let changes: [Change; 11] = [
            |t| t.id.clear(),
            |t| t.id = "a/b".to_owned(),
            |t| *t.secret = "short".to_owned(),
            |t| t.pin = "sha256:00".to_owned(),
            |t| t.pin = format!("sha256:{}", "0A".repeat(32)),
            |t| t.enroll = "host".to_owned(),
            |t| t.session = "host:0".to_owned(),
            |t| t.session = "fd00::1:7443".to_owned(),
            |t| t.node = "../x".to_owned(),
            |t| t.further[0].session = "host".to_owned(),
            |t| t.further = vec![t.further[0].clone(); MAX_ADDRESSES],
        ];
        for change in changes {
            let mut wrong = token();
            change(&mut wrong);
            assert!(wrong.encode().is_err());
        }
    }

    #[test]
    fn the_secret_shows_in_no_error_and_no_debug() {
        assert!(!format!("{:?}", token()).contains(SECRET));
        let quoted = wrap(&format!(r#"{{"id":"x","secret":["{SECRET}"]}}"#));
        let extra = wrap(&format!(r#"{{"{SECRET}":1}}"#));
        for wrong in [quoted, extra] {
            let problem = JoinToken::decode(&wrong).expect_err("accepted");
            assert!(!format!("{problem} {problem:?}").contains(SECRET));
        }
    }

    #[test]
    fn endpoints() {
        for (text, expected) in [
            ("10.0.0.1:7443", Some(("10.0.0.1", 7443))),
            ("[::1]:1", Some(("::1", 1))),
            ("a.b:65535", Some(("a.b", 65535))),
            ("a.b:65536", None),
            ("http://a:1", None),
            ("[a]:1", None),
            (":1", None),
            ("A:1", None),
        ] {
            let got = parse_endpoint(text).ok().map(|e| (e.host, e.port));
            assert_eq!(got, expected.map(|(h, p)| (h.to_owned(), p)), "{text}");
        }
    }
}
