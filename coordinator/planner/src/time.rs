//! A point in time of the coordinator's clock, in milliseconds. Always an argument, never read here.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// Milliseconds from `earlier` to here; none if the clock went back.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn plus(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }
}
