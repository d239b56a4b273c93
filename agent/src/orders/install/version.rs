//! Debian's order of versions, and which version of a package is the one asked for.

use quorate_proto::v1::{ClusterConfig, Distribution};
use std::cmp::Ordering;

/// As `dpkg --compare-versions`: epoch, then upstream version, then revision.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left_upstream, left_revision) = split(left);
    let (right_epoch, right_upstream, right_revision) = split(right);
    number(left_epoch, right_epoch)
        .then_with(|| part(left_upstream, right_upstream))
        .then_with(|| part(left_revision, right_revision))
}

fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Alternates between runs of other characters and runs of digits, as dpkg does.
fn part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = run(left, |c| !c.is_ascii_digit());
        let (right_text, right_rest) = run(right, |c| !c.is_ascii_digit());
        let (left_digits, left_next) = run(left_rest, |c| c.is_ascii_digit());
        let (right_digits, right_next) = run(right_rest, |c| c.is_ascii_digit());
        let order = text(left_text, right_text).then_with(|| number(left_digits, right_digits));
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_next, right_next);
    }
    Ordering::Equal
}

fn run(from: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = from.find(|c| !belongs(c)).unwrap_or(from.len());
    from.split_at(end)
}

/// `~` sorts before the end, the end before letters, letters before the rest.
fn text(left: &str, right: &str) -> Ordering {
    let weight = |c: Option<char>| match c {
        Some('~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => c as i64,
        Some(c) => c as i64 + 0x100,
    };
    let (mut left, mut right) = (left.chars(), right.chars());
    loop {
        let (one, other) = (left.next(), right.next());
        let order = weight(one).cmp(&weight(other));
        if order != Ordering::Equal || one.is_none() {
            return order;
        }
    }
}

/// Digits of any length.
fn number(left: &str, right: &str) -> Ordering {
    let left = left.trim_start_matches('0');
    let right = right.trim_start_matches('0');
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// The upstream version that a package must have, if the cluster's version says so.
pub fn asked<'a>(package: &str, cluster: &'a ClusterConfig) -> Option<&'a str> {
    let follows = match cluster.distribution() {
        Distribution::Kubeadm => matches!(package, "kubeadm" | "kubelet" | "kubectl"),
        Distribution::Etcd => matches!(package, "etcd-server" | "etcd-client" | "etcd"),
        Distribution::Unspecified => false,
    };
    let version = cluster.version.trim_start_matches('v');
    (follows && !version.is_empty()).then_some(version)
}

/// Whether a package's version is the asked one: the same text, or the same upstream version.
pub fn is_asked(version: &str, asked: &str) -> bool {
    version == asked || split(version).1 == asked
}

/// `v1.33.13` as numbers, of a Kubernetes component.
pub fn numbers(version: &str) -> Option<(u32, u32, u32)> {
    let plain = version.trim().trim_start_matches('v');
    let core = plain.split(['-', '+', '~']).next()?;
    let mut parts = core.split('.').map(str::parse);
    let major = parts.next()?.ok()?;
    let minor = parts.next()?.ok()?;
    let patch = parts.next().and_then(Result::ok).unwrap_or(0);
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<'a>(ascending: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        let mut pairs = Vec::new();
        for (index, low) in ascending.iter().enumerate() {
            for high in &ascending[index + 1..] {
                pairs.push((*low, *high));
            }
        }
        pairs
    }

    #[test]
    fn versions_ascend_as_dpkg_says() {
        let lines: [&[&str]; 6] = [
            &["1.0~rc1", "1.0", "1.0a", "1.0+b1", "1.0.1"],
            &["9", "10", "1:0.1", "2:0"],
            &[
                "1.6.20~ds1-1+b1",
                "1.6.20~ds1-1+deb12u1",
                "1.6.20~ds1-1+deb12u3",
                "1.6.21",
            ],
            &[
                "1.33.2-1.1",
                "1.33.13-1.1",
                "1.33.13-1.2",
                "1.34.0~beta1-1",
                "1.34.0-1",
            ],
            &["3.4.23+dfsg-4", "3.4.23+dfsg-4+b6", "3.5.16-4"],
            &["1.0~~", "1.0~~a", "1.0~", "1.0"],
        ];
        for line in lines {
            for (low, high) in pairs(line) {
                assert_eq!(compare(low, high), Ordering::Less, "{low} < {high}");
                assert_eq!(compare(high, low), Ordering::Greater, "{high} > {low}");
            }
        }
    }

    #[test]
    fn equal_versions() {
        for (left, right) in [("1.0", "1.0-0"), ("0:1", "1"), ("1.02", "1.2"), ("", "")] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} = {right}");
        }
    }

    #[test]
    fn only_the_clusters_own_packages_follow_its_version() {
        let mut cluster = ClusterConfig {
            distribution: Distribution::Kubeadm as i32,
            version: "v1.33.13".into(),
            ..ClusterConfig::default()
        };
        assert_eq!(asked("kubeadm", &cluster), Some("1.33.13"));
        assert_eq!(asked("containerd", &cluster), None);
        cluster.distribution = Distribution::Etcd as i32;
        cluster.version = String::new();
        assert_eq!(asked("etcd-server", &cluster), None);
        for (version, asked, same) in [
            ("1.33.13-1.1", "1.33.13", true),
            ("1.33.1-1.1", "1.33.13", false),
            ("3.4.23+dfsg-4+b6", "3.4.23+dfsg-4+b6", true),
            ("3.4.23+dfsg-4+b6", "3.4.23+dfsg", true),
        ] {
            assert_eq!(is_asked(version, asked), same, "{version} for {asked}");
        }
    }

    #[test]
    fn numbers_of_a_component() {
        assert_eq!(numbers("v1.33.13\n"), Some((1, 33, 13)));
        assert_eq!(numbers("1.6.20~ds1"), Some((1, 6, 20)));
        assert_eq!(numbers("v2.1.0-rc.1"), Some((2, 1, 0)));
        assert_eq!(numbers("unknown"), None);
    }
}
