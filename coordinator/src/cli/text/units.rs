//! Sizes, durations and points in time for people.

pub use crate::clock::rfc3339;
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `512 B`, `20.5 MiB`, `3 GiB`.
pub fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let number = format!("{value:.1}");
    format!("{} {unit}", number.strip_suffix(".0").unwrap_or(&number))
}

/// The two largest units: `350ms`, `45s`, `3m12s`, `2h5m`, `3d4h`.
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let pair = |big: u64, big_unit, small: u64, small_unit| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds {
        0 if length.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", length.as_millis()),
        1..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => pair(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        HOUR..DAY => pair(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        DAY.. => pair(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    }
}

/// `3m12s ago`, `in 23h59m`, `now`; `never` for 0, which the wire uses for unset.
pub fn relative(now_ms: i64, then_ms: i64) -> String {
    if then_ms == 0 {
        return "never".to_owned();
    }
    let seconds = Duration::from_secs(now_ms.abs_diff(then_ms) / 1000);
    if seconds.is_zero() {
        "now".to_owned()
    } else if then_ms < now_ms {
        format!("{} ago", duration(seconds))
    } else {
        format!("in {}", duration(seconds))
    }
}

/// Seconds of the wire as milliseconds, without overflow for hostile values.
pub fn ms(unix_seconds: i64) -> i64 {
    unix_seconds.saturating_mul(1000)
}

/// `1h`, `90m`, `7d`, `1h30m`. Whole units, each at most once, at least one second.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration such as 30m, 1h30m or 7d");
    let mut total: u64 = 0;
    let mut rest = text;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let mut characters = tail.chars();
        let unit = match characters.next() {
            Some('d') => DAY,
            Some('h') => HOUR,
            Some('m') => MINUTE,
            Some('s') => 1,
            Some(_) | None => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        if unit >= smallest {
            return Err(wrong());
        }
        smallest = unit;
        let part = number.checked_mul(unit).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = characters.as_str();
    }
    if total == 0 || u32::try_from(total).is_err() {
        return Err(wrong());
    }
    Ok(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (21_495_808, "20.5 MiB"),
            (1_073_741_823, "1 GiB"),
            (3 << 30, "3 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(count), want);
        }
    }

    #[test]
    fn durations() {
        for (ms, want) in [
            (0, "0s"),
            (350, "350ms"),
            (45_900, "45s"),
            (192_000, "3m12s"),
            (180_000, "3m"),
            (7_500_000, "2h5m"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), want);
        }
    }

    #[test]
    fn moments() {
        let now = 1_795_225_380_000;
        assert_eq!(relative(now, now - 192_000), "3m12s ago");
        assert_eq!(relative(now, now + 86_399_000), "in 23h59m");
        assert_eq!(relative(now, now - 999), "now");
        assert_eq!(relative(now, 0), "never");
        assert_eq!(rfc3339(now), "2026-11-21T01:43:00Z");
        assert_eq!(rfc3339(0), "-");
        assert_eq!(rfc3339(i64::MAX), "-");
        assert_eq!(relative(i64::MIN, i64::MAX), "in 213503982334d14h");
        assert_eq!(ms(i64::MAX), i64::MAX);
    }

    #[test]
    fn written_durations() {
        for (text, want) in [
            ("1h", Some(3600)),
            ("90m", Some(5400)),
            ("1h30m", Some(5400)),
            ("7d", Some(604_800)),
            ("15s", Some(15)),
            ("", None),
            ("0s", None),
            ("1", None),
            ("h", None),
            ("1m1h", None),
            ("1h1h", None),
            ("-1h", None),
            ("1ü", None),
            ("99999999999999999999d", None),
            ("99999d", None),
        ] {
            let got = parse_duration(text).ok().map(|d| d.as_secs());
            assert_eq!(got, want, "{text}");
        }
    }
}
