//! Names a certificate is valid for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::{PkiError, Result};

/// A host name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// A host name; lower case when made by [`Name::parse`].
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl Name {
    /// Reads a host name or an address; IPv6 with or without brackets.
    ///
    /// Ports, wildcards, a trailing dot, underscores and anything that looks like a broken
    /// address are refused: a name that only nearly fits makes a certificate nobody accepts.
    pub fn parse(text: &str) -> Result<Self> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return match inner.parse::<Ipv6Addr>() {
                Ok(ip) => Ok(Self::Ip(IpAddr::V6(ip))),
                Err(_) => Err(refuse(text, "brackets are for an IPv6 address")),
            };
        }
        check_dns(text)?;
        Ok(Self::Dns(text.to_ascii_lowercase()))
    }

    /// The check of [`Name::parse`] for a value that was put together by hand.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Dns(name) => check_dns(name),
            Self::Ip(_) => Ok(()),
        }
    }
}

fn refuse(value: &str, reason: &'static str) -> PkiError {
    PkiError::Name {
        value: value.chars().take(300).collect(),
        reason,
    }
}

fn check_dns(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(refuse(name, "empty"));
    }
    if name.len() > 253 {
        return Err(refuse(name, "longer than 253 characters"));
    }
    let mut last = "";
    for label in name.split('.') {
        if label.is_empty() {
            return Err(refuse(name, "has an empty label"));
        }
        if label.len() > 63 {
            return Err(refuse(name, "has a label longer than 63 characters"));
        }
        if !label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return Err(refuse(
                name,
                "only letters, digits, hyphens and dots are allowed",
            ));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(refuse(name, "a label starts or ends with a hyphen"));
        }
        last = label;
    }
    // No top level domain is a number, so "10.0.0.256" is a mistyped address and not a host.
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse(name, "ends in a number but is not an IPv4 address"));
    }
    Ok(())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl FromStr for Name {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        let long = "a".repeat(63);
        let cases = [
            ("host", "host"),
            ("Node-1.Example.COM", "node-1.example.com"),
            ("1and1.example", "1and1.example"),
            (long.as_str(), long.as_str()),
        ];
        for (text, expected) in cases {
            assert_eq!(Name::parse(text).unwrap(), Name::Dns(expected.to_owned()));
        }
        for (text, expected) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("[2001:DB8::1]", "2001:db8::1"),
        ] {
            let name = Name::parse(text).unwrap();
            assert_eq!(name, Name::Ip(expected.parse().unwrap()));
            assert_eq!(name.to_string(), expected);
        }
    }

    #[test]
    fn refused() {
        let label = "a".repeat(64);
        let name = ["a".repeat(63).as_str(); 4].join(".");
        let cases = [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a.-b.c",
            "a_b",
            "*.example.com",
            "host:443",
            "10.0.0.1:443",
            "10.0.0.256",
            "10.0.0",
            "1",
            "[10.0.0.1]",
            "[::1",
            "::1]",
            "[::1]:443",
            "fe80::1%eth0",
            "b\u{fc}ro",
            "a b",
            " a",
            "a\n",
            "a\0",
            "10.0.0.1/8",
            &label,
            &name,
        ];
        for text in cases {
            assert!(Name::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
