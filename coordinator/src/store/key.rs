//! Typed keys. A key is "kind/part/part"; numbers are zero-padded, so that keys sort as what they mean.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Artifact,
    Audit,
    Certificate,
    Cluster,
    Finding,
    Meta,
    Node,
    /// Node name -> node id, for as long as the node is not revoked.
    NodeName,
    Operation,
    Order,
    /// The one membership change of a cluster.
    Slot,
    Token,
    User,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Artifact => "artifact",
            Kind::Audit => "audit",
            Kind::Certificate => "certificate",
            Kind::Cluster => "cluster",
            Kind::Finding => "finding",
            Kind::Meta => "meta",
            Kind::Node => "node",
            Kind::NodeName => "node-name",
            Kind::Operation => "operation",
            Kind::Order => "order",
            Kind::Slot => "slot",
            Kind::Token => "token",
            Kind::User => "user",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(String);

impl Key {
    pub fn new(kind: Kind, parts: &[&str]) -> Self {
        let mut text = kind.word().to_owned();
        for part in parts {
            text.push('/');
            escape(part, &mut text);
        }
        Key(text)
    }

    pub fn artifact(digest: &str) -> Self {
        Key::new(Kind::Artifact, &[digest])
    }

    pub fn audit(sequence: u64) -> Self {
        Key::new(Kind::Audit, &[&number(sequence)])
    }

    pub fn certificate(serial: &str) -> Self {
        Key::new(Kind::Certificate, &[serial])
    }

    pub fn cluster(name: &str) -> Self {
        Key::new(Kind::Cluster, &[name])
    }

    pub fn finding(cluster: &str, node: &str) -> Self {
        Key::new(Kind::Finding, &[cluster, node])
    }

    pub fn meta(name: &str) -> Self {
        Key::new(Kind::Meta, &[name])
    }

    pub fn node(id: &str) -> Self {
        Key::new(Kind::Node, &[id])
    }

    pub fn node_name(name: &str) -> Self {
        Key::new(Kind::NodeName, &[name])
    }

    pub fn operation(id: &str) -> Self {
        Key::new(Kind::Operation, &[id])
    }

    pub fn order(operation: &str, id: &str) -> Self {
        Key::new(Kind::Order, &[operation, id])
    }

    pub fn slot(cluster: &str) -> Self {
        Key::new(Kind::Slot, &[cluster])
    }

    pub fn token(id: &str) -> Self {
        Key::new(Kind::Token, &[id])
    }

    pub fn user(name: &str) -> Self {
        Key::new(Kind::User, &[name])
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All keys of a kind, or those below the given parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    pub fn all(kind: Kind) -> Self {
        Prefix::under(kind, &[])
    }

    pub fn under(kind: Kind, parts: &[&str]) -> Self {
        let Key(mut text) = Key::new(kind, parts);
        text.push('/');
        Prefix(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a key adds to this prefix, as it was given to [`Key::new`].
    pub(crate) fn rest(&self, key: &str) -> String {
        unescape(key.strip_prefix(&self.0).unwrap_or(key))
    }
}

/// Sorts as text in the order of the numbers.
pub fn number(value: u64) -> String {
    format!("{value:020}")
}

fn escape(part: &str, into: &mut String) {
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'-' => {
                into.push(char::from(byte));
            }
            other => into.push_str(&format!("%{other:02x}")),
        }
    }
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_reach_into_each_other() {
        assert_ne!(Key::order("a/b", "c"), Key::order("a", "b/c"));
        assert_eq!(Key::user("../x").as_str(), "user/..%2fx");
        assert_eq!(Key::user("ü").as_str(), "user/%c3%bc");
    }

    #[test]
    fn the_rest_is_what_was_given() {
        for part in ["plain", "a/b", "50%", "%2f", "ü"] {
            let key = Key::order("op", part);
            let rest = Prefix::under(Kind::Order, &["op"]).rest(key.as_str());
            assert_eq!(rest, part);
        }
    }

    #[test]
    fn one_kind_is_no_prefix_of_another() {
        let nodes = Prefix::all(Kind::Node);
        assert!(!Key::node_name("a").as_str().starts_with(nodes.as_str()));
        assert!(Key::audit(9) < Key::audit(10));
    }
}
