//! Which names a serving certificate is to cover. Pure.

use quorate_pki::Name;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What belongs to the member itself.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Always there.
    pub required: Vec<Name>,
    /// Stays where it is, whoever wants it gone.
    pub kept: Vec<Name>,
}

impl Own {
    fn keeps(&self, name: &Name) -> bool {
        let loopback = match name {
            Name::Ip(ip) => ip.is_loopback(),
            Name::Dns(host) => host == "localhost" || is_service(host),
        };
        loopback || self.required.contains(name) || self.kept.contains(name)
    }
}

/// Under which pods call the API server, with whatever domain the cluster has.
fn is_service(host: &str) -> bool {
    matches!(
        host,
        "kubernetes" | "kubernetes.default" | "kubernetes.default.svc"
    ) || host.starts_with("kubernetes.default.svc.")
}

/// Present ones in their order, then what is missing.
pub fn wanted(present: &[Name], add: &[Name], drop: &[Name], own: &Own) -> Vec<Name> {
    let mut wanted: Vec<Name> = Vec::new();
    let present = present.iter().map(lower);
    let stays = present.filter(|name| !drop.contains(name) || own.keeps(name));
    let more = own.required.iter().chain(add).cloned();
    for name in stays.chain(more) {
        if !wanted.contains(&name) {
            wanted.push(name);
        }
    }
    wanted
}

/// As the other names are, which were parsed.
fn lower(name: &Name) -> Name {
    match name {
        Name::Dns(host) => Name::Dns(host.to_ascii_lowercase()),
        Name::Ip(ip) => Name::Ip(*ip),
    }
}

pub fn same(present: &[Name], wanted: &[Name]) -> bool {
    let present: BTreeSet<Name> = present.iter().map(lower).collect();
    present == wanted.iter().cloned().collect()
}

/// The first address of a range, which Kubernetes gives to its own service; of several ranges the first counts.
pub fn first_service(ranges: &str) -> Option<IpAddr> {
    let (network, length) = ranges.split(',').next()?.trim().split_once('/')?;
    let length: u32 = length.parse().ok()?;
    match network.parse().ok()? {
        IpAddr::V4(four) => {
            let mask = u32::MAX
                .checked_shl(32_u32.checked_sub(length)?)
                .unwrap_or(0);
            let first = (four.to_bits() & mask).checked_add(1)?;
            Some(IpAddr::V4(first.into()))
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX
                .checked_shl(128_u32.checked_sub(length)?)
                .unwrap_or(0);
            let first = (six.to_bits() & mask).checked_add(1)?;
            Some(IpAddr::V6(first.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|it| Name::parse(it).unwrap()).collect()
    }

    #[test]
    fn present_without_the_dropped_and_with_the_new() {
        let own = Own {
            required: parse(&["n1", "10.0.0.1"]),
            kept: parse(&["10.96.0.1"]),
        };
        let kubeadm = [
            "kubernetes",
            "kubernetes.default.svc.cluster.local",
            "n1",
            "10.96.0.1",
            "10.0.0.1",
        ];
        let with = |more: &[&str]| parse(&[&kubeadm[..], more].concat());
        for (present, add, drop, expected) in [
            (
                with(&["a.example"]),
                vec!["b.example"],
                vec![],
                with(&["a.example", "b.example"]),
            ),
            (
                with(&["a.example", "b.example"]),
                vec![],
                vec!["a.example"],
                with(&["b.example"]),
            ),
            (
                with(&["10.0.0.10"]),
                vec![],
                vec!["10.0.0.1"],
                with(&["10.0.0.10"]),
            ),
            (with(&["10.0.0.10"]), vec![], vec!["10.0.0.10"], with(&[])),
            (
                with(&["127.0.0.1"]),
                vec![],
                vec!["127.0.0.1"],
                with(&["127.0.0.1"]),
            ),
            (with(&[]), vec![], kubeadm.to_vec(), with(&[])),
            (with(&["a"]), vec!["a"], vec!["a"], with(&["a"])),
            (
                vec![],
                vec!["fd00:0::1"],
                vec![],
                parse(&["n1", "10.0.0.1", "fd00::1"]),
            ),
            (
                with(&["fd00::1"]),
                vec!["fd00:0::1"],
                vec![],
                with(&["fd00::1"]),
            ),
        ] {
            let wanted = wanted(&present, &parse(&add), &parse(&drop), &own);
            assert_eq!(wanted, expected, "{add:?} {drop:?}");
        }
    }

    #[test]
    fn compares_as_sets_without_case() {
        let upper = [Name::Dns("N1".into()), Name::Dns("a".into())];
        assert!(same(&upper, &parse(&["a", "n1"])));
        assert!(!same(&upper, &parse(&["a"])));
        assert!(!same(&parse(&["10.0.0.1"]), &parse(&["10.0.0.10"])));
    }

    #[test]
    fn kubernetes_own_service() {
        for (ranges, expected) in [
            ("10.96.0.0/12", Some("10.96.0.1")),
            ("10.97.3.9/12", Some("10.96.0.1")),
            ("fd00:1::/108,10.96.0.0/12", Some("fd00:1::1")),
            ("10.96.0.0/33", None),
            ("10.96.0.0", None),
            ("", None),
        ] {
            let expected = expected.map(|it| it.parse().unwrap());
            assert_eq!(first_service(ranges), expected, "{ranges}");
        }
    }
}
