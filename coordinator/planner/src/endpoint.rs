//! What is wanted of the cluster's endpoint and of its certificates.

use crate::intent::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Of a rollback: whoever was told of the new address was told a moment ago, and its connections are seen.
const SOAK_BACK_MS: u64 = 5_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// IPv4, IPv6 without brackets, or a DNS name.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointIntent {
    /// What every carrier is to hold now.
    pub address: Address,
    /// Further names of the serving certificates, at rest.
    pub extra_names: BTreeSet<String>,
    pub rotation: Option<Rotation>,
    pub renewal: Option<Renewal>,
}

/// A change of the endpoint or of the names under way. Without `other` only names change, or strays are brought back in line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    pub target: Address,
    /// The address that goes at the end.
    pub other: Option<Address>,
    pub stage: Stage,
    /// Names that go at the end, besides the other address.
    pub drop: BTreeSet<String>,
    /// How long nothing may dial the other address before it is dropped.
    pub soak_ms: u64,
    /// The operator's word: nodes that are down are not waited for.
    pub without_absent: bool,
    /// The operator's word: the rest of the soak is not waited for.
    pub hurry: bool,
    pub rolling_back: bool,
    /// Whether each address is a load balancer of somebody else's.
    pub external: bool,
    pub other_external: bool,
}

/// How far a rotation may go now. Entered durably, one after the other; what is to be done in it is decided from what is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// All members serve certificates for both addresses, and the new one is proven to lead here.
    Accept,
    /// Every place that carries the address gets the new one.
    Switch,
    /// Nothing dials the old one any more, for a while. The last stage that can be rolled back.
    Soak,
    /// Certificates lose the old name.
    Drop,
    /// Load balancers lose the old front end.
    Retire,
}

impl Stage {
    pub fn word(self) -> &'static str {
        match self {
            Stage::Accept => "accept",
            Stage::Switch => "switch",
            Stage::Soak => "soak",
            Stage::Drop => "drop",
            Stage::Retire => "retire",
        }
    }

    pub fn can_roll_back(self) -> bool {
        match self {
            Stage::Accept | Stage::Switch | Stage::Soak => true,
            Stage::Drop | Stage::Retire => false,
        }
    }
}

impl Rotation {
    /// The same the other way round; from before the switch only the drop is left.
    pub fn reversed(&self) -> Option<Rotation> {
        let back = self.other.clone()?;
        let stage = match self.stage {
            Stage::Accept => Stage::Drop,
            Stage::Switch | Stage::Soak => Stage::Switch,
            Stage::Drop | Stage::Retire => return None,
        };
        Some(Rotation {
            target: back,
            other: Some(self.target.clone()),
            stage,
            rolling_back: !self.rolling_back,
            hurry: false,
            soak_ms: self.soak_ms.min(SOAK_BACK_MS),
            external: self.other_external,
            other_external: self.external,
            ..self.clone()
        })
    }
}

/// Certificates issued before `since` are to be replaced on these nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    pub since_unix: i64,
    pub nodes: BTreeSet<NodeName>,
}

impl EndpointIntent {
    /// Names that every member's serving certificate has to cover now.
    pub fn wanted_names(&self) -> BTreeSet<String> {
        let mut names = self.extra_names.clone();
        names.insert(self.address.host.clone());
        if let Some(rotation) = &self.rotation {
            names.insert(rotation.target.host.clone());
            if let Some(other) = &rotation.other
                && rotation.stage < Stage::Drop
            {
                names.insert(other.host.clone());
            }
        }
        names.retain(|name| !name.is_empty());
        names
    }

    /// Names that no member's certificate may cover now, except those of its own machine.
    pub fn unwanted_names(&self) -> BTreeSet<String> {
        let Some(rotation) = self.rotation.as_ref().filter(|r| r.stage >= Stage::Drop) else {
            return BTreeSet::new();
        };
        let other = rotation.other.iter().map(|other| other.host.clone());
        let wanted = self.wanted_names();
        let unwanted = rotation.drop.iter().cloned().chain(other);
        unwanted.filter(|name| !wanted.contains(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn addresses_are_written_as_files_hold_them() {
        for (host, text) in [
            ("10.0.0.1", "10.0.0.1:6443"),
            ("fd00::1", "[fd00::1]:6443"),
            ("api.example", "api.example:6443"),
        ] {
            assert_eq!(address(host, 6443).to_string(), text);
        }
    }

    #[test]
    fn the_old_name_is_covered_until_the_drop_and_not_after() {
        let set = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        for (stage, now, wanted, unwanted) in [
            (Stage::Accept, "a", vec!["a", "b", "x"], vec![]),
            (Stage::Switch, "b", vec!["a", "b", "x"], vec![]),
            (Stage::Soak, "b", vec!["a", "b", "x"], vec![]),
            (Stage::Drop, "b", vec!["b", "x"], vec!["a", "y"]),
            (Stage::Retire, "b", vec!["b", "x"], vec!["a", "y"]),
        ] {
            let intent = EndpointIntent {
                address: address(now, 1),
                extra_names: set(&["x"]),
                rotation: Some(Rotation {
                    target: address("b", 1),
                    other: Some(address("a", 1)),
                    stage,
                    drop: set(&["y"]),
                    soak_ms: 0,
                    without_absent: false,
                    hurry: false,
                    rolling_back: false,
                    external: false,
                    other_external: false,
                }),
                renewal: None,
            };
            assert_eq!(intent.wanted_names(), set(&wanted), "{stage:?}");
            assert_eq!(intent.unwanted_names(), set(&unwanted), "{stage:?}");
        }
    }

    #[test]
    fn a_host_that_only_changes_its_port_is_never_unwanted() {
        let intent = EndpointIntent {
            address: address("a", 2),
            extra_names: BTreeSet::new(),
            rotation: Some(Rotation {
                target: address("a", 2),
                other: Some(address("a", 1)),
                stage: Stage::Drop,
                drop: BTreeSet::new(),
                soak_ms: 0,
                without_absent: false,
                hurry: false,
                rolling_back: false,
                external: false,
                other_external: false,
            }),
            renewal: None,
        };
        assert!(intent.unwanted_names().is_empty());
    }
}
