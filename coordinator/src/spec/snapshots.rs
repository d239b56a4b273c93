//! How often snapshots of etcd are taken, and how many are kept.

use super::file;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;
/// More often costs the members more than it can save; more seldom is no protection.
const EVERY: RangeInclusive<u32> = 10 * MINUTE..=30 * DAY;
/// Each may have the database's size, up to 8 GiB.
const KEEP: RangeInclusive<u32> = 1..=100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    /// None: only when somebody asks for one.
    pub every_seconds: Option<u32>,
    /// On each node that holds some.
    pub keep: u32,
}

impl Default for Snapshots {
    /// Two days back on each of two members.
    fn default() -> Self {
        Snapshots {
            every_seconds: Some(6 * HOUR),
            keep: 8,
        }
    }
}

/// What the file means, or the field and what is wrong with it.
pub fn resolve(wish: &file::Snapshots) -> Result<Snapshots, (&'static str, String)> {
    let mut snapshots = Snapshots::default();
    match wish.every.as_deref() {
        None => {}
        Some("never") => snapshots.every_seconds = None,
        Some(text) => {
            let every = seconds(text).filter(|every| EVERY.contains(every));
            let wrong = || {
                format!("{text:?} is not `never` or a time from 10m to 30d, such as 30m, 6h or 1d")
            };
            snapshots.every_seconds = Some(every.ok_or_else(|| ("snapshots.every", wrong()))?);
        }
    }
    if let Some(keep) = wish.keep {
        if !KEEP.contains(&keep) {
            let wrong = format!("{keep} is not a number from 1 to 100");
            return Err(("snapshots.keep", wrong));
        }
        snapshots.keep = keep;
    }
    Ok(snapshots)
}

/// One whole number with its unit.
pub(super) fn seconds(text: &str) -> Option<u32> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return None,
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    number
        .parse::<u32>()
        .ok()
        .filter(|_| plain)?
        .checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers() {
        let every = |text: &str| {
            let wish = file::Snapshots {
                every: Some(text.to_owned()),
                keep: None,
            };
            resolve(&wish).ok().map(|found| found.every_seconds)
        };
        for (text, expected) in [
            ("10m", Some(Some(600))),
            ("6h", Some(Some(21_600))),
            ("30d", Some(Some(2_592_000))),
            ("never", Some(None)),
            ("9m", None),
            ("31d", None),
            ("0h", None),
            ("600s", Some(Some(600))),
            ("6", None),
            ("h", None),
            ("", None),
            ("+6h", None),
            ("6h30m", None),
            ("6\u{e4}", None),
            ("99999999999d", None),
            ("4294967295d", None),
        ] {
            assert_eq!(every(text), expected, "{text:?}");
        }
        let keep = |keep| {
            resolve(&file::Snapshots {
                every: None,
                keep: Some(keep),
            })
            .is_ok()
        };
        assert!(keep(1) && keep(100) && !keep(0) && !keep(101));
        assert_eq!(
            resolve(&file::Snapshots::default()),
            Ok(Snapshots::default())
        );
    }
}
