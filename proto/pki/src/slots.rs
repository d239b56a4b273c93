//! When to renew: pure arithmetic, so that callers bring the clock and the randomness.

use std::time::{Duration, SystemTime};

/// When a certificate is to be renewed: after two thirds of its life, moved by up to a tenth of
/// that wait.
///
/// `jitter` in 0..1 picks the point between -10 % and +10 %, so that machines enrolled in the
/// same minute do not come back in the same minute. Values outside are clamped and a NaN counts
/// as the earliest point, because renewing early is the harmless error.
pub fn renew_at(not_before: SystemTime, not_after: SystemTime, jitter: f64) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let jitter = if jitter.is_nan() {
        0.0
    } else {
        jitter.clamp(0.0, 1.0)
    };
    let wait = life.as_secs_f64() * (2.0 / 3.0) * (0.9 + 0.2 * jitter);
    not_before
        .checked_add(Duration::try_from_secs_f64(wait).unwrap_or(life))
        .unwrap_or(not_after)
}

/// Whether `now` is at or past [`renew_at`].
pub fn is_due(not_before: SystemTime, not_after: SystemTime, jitter: f64, now: SystemTime) -> bool {
    now >= renew_at(not_before, not_after, jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn two_thirds_of_life_with_a_tenth_of_jitter() {
        let cases = [
            (0.0, 54_000),
            (0.5, 60_000),
            (1.0, 66_000),
            (-3.0, 54_000),
            (7.0, 66_000),
            (f64::NAN, 54_000),
        ];
        for (jitter, expected) in cases {
            let got = renew_at(at(1000), at(91_000), jitter)
                .duration_since(at(1000))
                .unwrap()
                .as_secs_f64();
            assert!((got - f64::from(expected)).abs() < 0.01, "{jitter}: {got}");
        }
    }

    #[test]
    fn due_from_the_point_on() {
        let due = |now| is_due(at(0), at(90_000), 0.5, at(now));
        assert!(!due(59_999));
        assert!(due(60_001));
        assert!(due(100_000));
    }

    #[test]
    fn a_certificate_without_life_is_due_at_once() {
        assert!(is_due(at(10), at(10), 1.0, at(10)));
        assert!(is_due(at(10), at(5), 1.0, at(10)));
    }
}
