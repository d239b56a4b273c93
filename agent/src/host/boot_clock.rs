//! Time since the machine's boot, sleep included: a machine that was suspended has been cut off for all of it.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds. Never set, never back.
pub fn now_ms() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from);
    // Every kernel that runs containers has this clock; the far future would be taken for a long silence, which is safe.
    time.map_or(u64::MAX, |it| {
        u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
    })
}
