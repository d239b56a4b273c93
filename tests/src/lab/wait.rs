//! Waiting for something to be seen, never for time to pass.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Looks again and again until `observe` returns `Some`, and hands that back.
///
/// An `Err` from `observe` counts as "not yet": what a cluster answers while it changes is often an
/// error. The last one is part of the failure message, so a broken observation shows itself.
pub fn eventually<T>(
    timeout: Duration,
    what: &str,
    mut observe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut looks = 0_u32;
    loop {
        looks += 1;
        let last = match observe() {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) => "not seen".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let waited = start.elapsed();
        if waited >= timeout {
            bail!(
                "gave up after {:.1} s waiting for {what} (looked {looks} times; last look: {last})",
                waited.as_secs_f64()
            );
        }
        thread::sleep(pause.min(timeout - waited));
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn hands_back_what_was_seen_in_the_end() {
        let mut looks = 0;
        let seen = eventually(Duration::from_secs(5), "the third look", || {
            looks += 1;
            match looks {
                1 => Ok(None),
                2 => Err(anyhow!("not ready")),
                _ => Ok(Some(looks)),
            }
        });
        assert_eq!(seen.unwrap(), 3);
    }

    #[test]
    fn a_failure_names_what_was_awaited_and_the_last_answer() {
        let error = eventually::<()>(Duration::from_millis(50), "a leader", || {
            Err(anyhow!("connection refused"))
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("a leader"), "{error}");
        assert!(error.contains("connection refused"), "{error}");
    }
}
