//! The time of day, in the forms in which it is stored and sent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub fn now() -> SystemTime {
    SystemTime::now()
}

pub fn unix_ms() -> i64 {
    let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub fn unix() -> i64 {
    unix_ms() / 1000
}

/// Seconds since 1970; 0 for what lies before.
pub fn to_unix(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

pub fn from_unix(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// `2026-11-21T01:43:00Z`; `-` for 0, which stands for unset, and for what no calendar has.
pub fn rfc3339(unix_ms: i64) -> String {
    match jiff::Timestamp::from_second(unix_ms.div_euclid(1000)) {
        Ok(time) if unix_ms != 0 => time.to_string(),
        Ok(_) | Err(_) => "-".to_owned(),
    }
}
