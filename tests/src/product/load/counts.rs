//! What became of the requests.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The first ones tell what went wrong; a cluster that is down has thousands.
const KEPT: usize = 10;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    pub ok: u64,
    pub failed: u64,
    /// Of the failed: the handshake failed, or the certificate was not good for the name.
    pub tls_errors: u64,
    /// Handshakes that were made.
    pub handshakes: u64,
    /// Not sent at all, as too many were not answered yet.
    pub skipped: u64,
    /// Told to come again later, which they did: the machine is too small for the rate.
    pub put_off: u64,
    /// Ended though nobody asked for it.
    pub watches_ended: u64,
    pub first_errors: Vec<String>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} handshakes, {} failed ({} in TLS), {} skipped, {} put off, {} watches ended {:?}",
            self.sent,
            self.handshakes,
            self.failed,
            self.tls_errors,
            self.skipped,
            self.put_off,
            self.watches_ended,
            self.first_errors
        )
    }
}

#[derive(Clone, Debug)]
pub enum Failure {
    Tls(String),
    /// Not now.
    Busy,
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Tls(what) => write!(f, "TLS: {what}"),
            Failure::Busy => f.write_str("too many requests"),
            Failure::Other(what) => f.write_str(what),
        }
    }
}

#[derive(Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    pub fn counts(&self) -> Counts {
        self.all().clone()
    }

    pub fn handshake(&self) {
        self.all().handshakes += 1;
    }

    pub fn skipped(&self) {
        self.all().skipped += 1;
    }

    pub fn put_off(&self) {
        self.all().put_off += 1;
    }

    pub fn answered(&self, through: &str, result: Result<(), Failure>) {
        let mut all = self.all();
        all.sent += 1;
        match result {
            Ok(()) => all.ok += 1,
            Err(failure) => {
                all.failed += 1;
                all.tls_errors += u64::from(matches!(failure, Failure::Tls(_)));
                keep(&mut all, format!("request through {through}: {failure}"));
            }
        }
    }

    pub fn watch_ended(&self, through: &str, why: &str) {
        let mut all = self.all();
        all.watches_ended += 1;
        keep(&mut all, format!("watch through {through}: {why}"));
    }

    fn all(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(counts: &mut Counts, error: String) {
    if counts.first_errors.len() < KEPT {
        counts.first_errors.push(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_once_and_keeps_the_first_errors() {
        let tally = Tally::default();
        tally.answered("a", Ok(()));
        for number in 0..20 {
            tally.answered("a", Err(Failure::Tls(format!("number {number}"))));
        }
        tally.answered("a", Err(Failure::Other("late".into())));
        let counts = tally.counts();
        assert_eq!((counts.sent, counts.ok), (22, 1));
        assert_eq!((counts.failed, counts.tls_errors), (21, 20));
        assert_eq!(counts.first_errors.len(), KEPT);
        assert_eq!(counts.first_errors[0], "request through a: TLS: number 0");
    }
}
