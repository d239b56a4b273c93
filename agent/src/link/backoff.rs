//! When to dial again: at once, then full-jitter exponential, so that thousands of agents do not come back in step.

use std::time::Duration;

/// The first wait is a random part of this.
const BASE: Duration = Duration::from_millis(500);
/// No wait is longer: a coordinator that is back is found within half a minute.
const CEILING: Duration = Duration::from_secs(30);
/// A session that lasted this long was a good one; shorter ones are flapping.
const HEALTHY: Duration = Duration::from_secs(60);
/// A server's wish is followed up to this.
const MAX_ASKED: Duration = Duration::from_secs(300);

#[derive(Default, Debug)]
pub struct Backoff {
    attempt: u32,
}

/// How the last attempt ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// How long the session held, if there was one.
    pub lasted: Option<Duration>,
    /// The server's retry-after.
    pub asked: Option<Duration>,
    /// The coordinator said goodbye: dialling at once would only be sent away again.
    pub sent_away: bool,
}

impl Backoff {
    /// `random`: 0..1.
    pub fn next(&mut self, ended: Ended, random: f64) -> Duration {
        if ended.lasted.is_some_and(|lasted| lasted >= HEALTHY) {
            self.attempt = 0;
        }
        if ended.sent_away {
            self.attempt = self.attempt.max(1);
        }
        let random = random.clamp(0.0, 1.0);
        let wait = match self.attempt {
            0 => Duration::ZERO,
            attempt => BASE
                .saturating_mul(1 << (attempt - 1).min(16))
                .min(CEILING)
                .mul_f64(random),
        };
        self.attempt = self.attempt.saturating_add(1);
        // Spread as well: all agents were asked for the same wait.
        let asked = ended.asked.unwrap_or_default().min(MAX_ASKED);
        wait.max(asked.mul_f64(1.0 + random / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn waits(backoff: &mut Backoff, count: usize, random: f64) -> Vec<Duration> {
        (0..count)
            .map(|_| backoff.next(Ended::default(), random))
            .collect()
    }

    #[test]
    fn at_once_then_doubling_up_to_the_ceiling() {
        let upper = waits(&mut Backoff::default(), 9, 1.0);
        let expected = [0, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        assert_eq!(upper, expected.map(MS));
        assert_eq!(waits(&mut Backoff::default(), 5, 0.0), [Duration::ZERO; 5]);
        assert!(
            waits(&mut Backoff::default(), 100, 1.0)
                .iter()
                .all(|wait| *wait <= CEILING)
        );
    }

    #[test]
    fn only_a_healthy_session_resets() {
        let mut backoff = Backoff::default();
        waits(&mut backoff, 4, 1.0);
        let after = |seconds| Ended {
            lasted: Some(Duration::from_secs(seconds)),
            ..Ended::default()
        };
        assert_eq!(backoff.next(after(59), 1.0), MS(4000));
        assert_eq!(backoff.next(after(60), 1.0), MS(0));
        assert_eq!(backoff.next(after(1), 1.0), MS(500));
    }

    #[test]
    fn who_is_sent_away_waits() {
        let mut backoff = Backoff::default();
        let ended = Ended {
            lasted: Some(Duration::from_secs(3600)),
            sent_away: true,
            ..Ended::default()
        };
        assert_eq!(backoff.next(ended, 1.0), MS(500));
    }

    #[test]
    fn a_servers_wish_is_a_lower_bound() {
        let asked = |seconds| Ended {
            asked: Some(Duration::from_secs(seconds)),
            ..Ended::default()
        };
        assert_eq!(Backoff::default().next(asked(10), 0.0), MS(10_000));
        assert_eq!(Backoff::default().next(asked(10), 1.0), MS(15_000));
        assert_eq!(Backoff::default().next(asked(1 << 40), 0.0), MAX_ASKED);
    }
}
