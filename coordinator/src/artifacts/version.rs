//! Debian versions in their order: [epoch:]upstream[-revision], as deb-version(7) compares them.

use std::cmp::Ordering;

/// Compares two versions as `dpkg --compare-versions` does.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Version::split(a), Version::split(b));
    number(a.epoch, b.epoch)
        .then_with(|| part(a.upstream, b.upstream))
        .then_with(|| part(a.revision, b.revision))
}

struct Version<'a> {
    epoch: &'a str,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Version<'a> {
    fn split(text: &'a str) -> Self {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        // No revision compares like revision 0.
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        Version {
            epoch,
            upstream,
            revision,
        }
    }
}

/// Alternately a part without digits and a number.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (word_a, rest_a) = a.split_at(prefix(a, |c| !c.is_ascii_digit()));
        let (word_b, rest_b) = b.split_at(prefix(b, |c| !c.is_ascii_digit()));
        let (digits_a, next_a) = rest_a.split_at(prefix(rest_a, |c| c.is_ascii_digit()));
        let (digits_b, next_b) = rest_b.split_at(prefix(rest_b, |c| c.is_ascii_digit()));
        let order = word(word_a, word_b).then_with(|| number(digits_a, digits_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

fn prefix(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|c| !of(c)).unwrap_or(text.len())
}

/// '~' before the end, the end before letters, letters before all others.
fn word(a: &str, b: &str) -> Ordering {
    let weigh = |text: &str, at: usize| match text.as_bytes().get(at) {
        None => 0,
        Some(b'~') => -1,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|at| weigh(a, at).cmp(&weigh(b, at)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Of any length.
fn number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERED: [&str; 22] = [
        "0~~",
        "0~~a",
        "0~",
        "0",
        "0.0",
        "1.0~beta1~svn1245",
        "1.0~beta1",
        "1.0",
        "1.0-0+b1",
        "1.0-1",
        "1.0-1.1",
        "1.0-1~",
        "1.0+dfsg-1",
        "1.2",
        "1.10",
        "1.33.9-1.1",
        "1.33.13-1.1",
        "99999999999999999999999",
        "1:0",
        "1:0-a",
        "1:0-+",
        "2:0",
    ];

    /// What dpkg says, when it is there to ask.
    fn dpkg(a: &str, relation: &str, b: &str) -> Option<bool> {
        let status = std::process::Command::new("dpkg")
            .args(["--compare-versions", a, relation, b])
            .stderr(std::process::Stdio::null())
            .status();
        status.ok().map(|status| status.success())
    }

    #[test]
    fn all_pairs_as_dpkg_orders_them() {
        for a in ORDERED {
            for b in ORDERED {
                let Some(less) = dpkg(a, "lt", b) else { return };
                assert_eq!(compare(a, b).is_lt(), less, "{a} lt {b}");
                assert_eq!(Some(compare(a, b).is_eq()), dpkg(a, "eq", b), "{a} eq {b}");
            }
        }
    }

    #[test]
    fn a_table() {
        let cases = [
            ("1.0~rc1", "1.0", Ordering::Less),
            ("1.0", "1.0-0", Ordering::Equal),
            ("1.0-1", "1.0-1.1", Ordering::Less),
            ("1.33.9-1.1", "1.33.13-1.1", Ordering::Less),
            ("0:1", "1", Ordering::Equal),
            ("1:1", "2", Ordering::Greater),
            ("01.002", "1.2", Ordering::Equal),
            ("1.0a", "1.0+", Ordering::Less),
            ("", "0", Ordering::Equal),
        ];
        for (a, b, expected) in cases {
            assert_eq!(compare(a, b), expected, "{a} {b}");
            assert_eq!(compare(b, a), expected.reverse(), "{b} {a}");
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::fuzz::config())]

        #[test]
        fn fuzz_versions(a in "[0-9a-z.+~:-]{0,12}", b in "[0-9a-z.+~:-]{0,12}", c in crate::fuzz::text()) {
            proptest::prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            proptest::prop_assert_eq!(compare(&c, &c), Ordering::Equal);
            // No order without this: the newest of many would depend on where one begins.
            if compare(&a, &b) == Ordering::Less && compare(&b, &c) == Ordering::Less {
                proptest::prop_assert_eq!(compare(&a, &c), Ordering::Less);
            }
        }
    }
}
