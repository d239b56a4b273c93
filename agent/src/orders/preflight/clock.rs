//! This node's clock against the coordinator's.

use super::finding::{fatal, ok, warning};
use quorate_proto::v1::{Finding, Problem};
use std::time::{SystemTime, UNIX_EPOCH};

/// Above this, logs and leases begin to mislead.
const NOTABLE_MS: i64 = 500;
/// Above this, certificates made elsewhere may not be valid here yet.
const TOO_FAR_MS: i64 = 5_000;
/// From writing the coordinator's time into the order until this check runs: the link, the journal, a unit's start, and
/// other orders before it. A clock ahead cannot be told from a late order.
const DELIVERY_MS: i64 = 5_000;

const NAME: &str = "ClockOffset";

/// `arrived` is this clock's time when the order began: other checks wait for silent machines, which is no offset.
pub fn check(coordinator_unix_ms: i64, arrived: SystemTime) -> Finding {
    if coordinator_unix_ms <= 0 {
        return ok(NAME, "not measured: the order carries no time");
    }
    let since = arrived.duration_since(UNIX_EPOCH);
    let arrived = since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    });
    judge(arrived.saturating_sub(coordinator_unix_ms))
}

/// `apparent` is this clock minus the coordinator's at sending: the true offset and the delivery's delay together.
fn judge(apparent: i64) -> Finding {
    let (offset, direction) = if apparent < 0 {
        // No delay makes it look behind: it is at least that far.
        (-apparent, "behind")
    } else {
        ((apparent - DELIVERY_MS).max(0), "ahead of")
    };
    if offset <= NOTABLE_MS {
        return ok(
            NAME,
            format!("the clock fits the coordinator's ({apparent} ms with delivery)"),
        );
    }
    let problem = Problem::new(
        "clock-offset",
        format!("this clock is at least {offset} ms {direction} the coordinator's"),
    )
    .because("one of the two machines does not synchronize its time")
    .next("install and start chrony or systemd-timesyncd on both");
    if offset > TOO_FAR_MS {
        fatal(NAME, problem)
    } else {
        warning(NAME, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};
    use std::time::Duration;

    #[test]
    fn delay_counts_for_the_clock_that_is_ahead_only() {
        for (apparent, expected) in [
            (0, Good),
            (-500, Good),
            (-501, Warning),
            (-5_001, Fatal),
            (-3_600_000, Fatal),
            (5_500, Good),
            (5_501, Warning),
            (10_001, Fatal),
            (i64::MAX, Fatal),
        ] {
            assert_eq!(judge(apparent).severity(), expected, "{apparent}");
        }
        let arrived = UNIX_EPOCH + Duration::from_secs(100);
        for (sent, expected) in [(0, Good), (99_000, Good), (101_000, Warning), (1, Fatal)] {
            assert_eq!(check(sent, arrived).severity(), expected, "{sent}");
        }
    }
}
