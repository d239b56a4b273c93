//! Relations between Debian packages: "a (>= 1) | b, c:any" and what is provided.

use super::version;
use std::cmp::Ordering;

/// One of its alternatives is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency(pub Vec<Alternative>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    pub package: String,
    pub constraint: Option<Constraint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    pub relation: Relation,
    pub version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Earlier,
    EarlierOrEqual,
    Exactly,
    LaterOrEqual,
    Later,
}

impl Constraint {
    pub fn holds(&self, version: &str) -> bool {
        let order = version::compare(version, &self.version);
        match self.relation {
            Relation::Earlier => order == Ordering::Less,
            Relation::EarlierOrEqual => order != Ordering::Greater,
            Relation::Exactly => order == Ordering::Equal,
            Relation::LaterOrEqual => order != Ordering::Less,
            Relation::Later => order == Ordering::Greater,
        }
    }
}

/// Reads a Depends field. What cannot be understood is left out: dpkg has the last word on the node.
pub fn dependencies(field: &str) -> Vec<Dependency> {
    field
        .split(',')
        .map(|group| group.split('|').filter_map(alternative).collect())
        .filter(|alternatives: &Vec<_>| !alternatives.is_empty())
        .map(Dependency)
        .collect()
}

/// Reads a Provides field: names, some with the version that they stand for.
pub fn provided(field: &str) -> Vec<(String, Option<String>)> {
    field
        .split(',')
        .filter_map(alternative)
        .map(|provided| {
            let version = provided.constraint.map(|constraint| constraint.version);
            (provided.package, version)
        })
        .collect()
}

fn alternative(text: &str) -> Option<Alternative> {
    // "name:any (>= 1.2) [amd64] <!nocheck>": the last two do not occur in built packages.
    let text = text.trim();
    let (name, rest) = match text.find(|c: char| c.is_whitespace() || c == '(' || c == '[') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let name = name.split(':').next().unwrap_or_default();
    if name.is_empty() {
        return None;
    }
    let inner = rest
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(inner, _)| inner.trim());
    Some(Alternative {
        package: name.to_owned(),
        constraint: inner.and_then(constraint),
    })
}

fn constraint(text: &str) -> Option<Constraint> {
    let relations = [
        ("<<", Relation::Earlier),
        ("<=", Relation::EarlierOrEqual),
        (">=", Relation::LaterOrEqual),
        (">>", Relation::Later),
        ("=", Relation::Exactly),
    ];
    relations.into_iter().find_map(|(sign, relation)| {
        let version = text.strip_prefix(sign)?.trim().to_owned();
        Some(Constraint { relation, version })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_packages_have_them() {
        let read =
            dependencies("libc6 (>= 2.34), iptables (>= 1.4.21)| nftables , conntrack:any, ,");
        let names: Vec<Vec<&str>> = read
            .iter()
            .map(|group| group.0.iter().map(|a| a.package.as_str()).collect())
            .collect();
        assert_eq!(
            names,
            [
                vec!["libc6"],
                vec!["iptables", "nftables"],
                vec!["conntrack"]
            ]
        );
        let libc = read[0].0[0].constraint.as_ref().unwrap();
        assert!(libc.holds("2.36-9+deb12u10") && !libc.holds("2.31"));
        assert_eq!(dependencies(" "), []);
    }

    #[test]
    fn every_relation() {
        for (text, earlier, same, later) in [
            ("<< 2", true, false, false),
            ("<=2", true, true, false),
            ("= 2", false, true, false),
            (">= 2", false, true, true),
            (">> 2", false, false, true),
        ] {
            let constraint = constraint(text).unwrap();
            let got = ["1", "2", "3"].map(|version| constraint.holds(version));
            assert_eq!(got, [earlier, same, later], "{text}");
        }
    }

    #[test]
    fn provides_with_and_without_version() {
        assert_eq!(
            provided("mail-agent, libfoo (= 1.2)"),
            [
                ("mail-agent".to_owned(), None),
                ("libfoo".to_owned(), Some("1.2".to_owned()))
            ]
        );
    }
}
