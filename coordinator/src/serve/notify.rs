//! What systemd is told: ready, alive, stopping. Without systemd nothing happens.

use crate::sessions::Sessions;
use sd_notify::NotifyState;
use std::sync::Arc;
use tokio::time::{MissedTickBehavior, interval};

pub fn ready() {
    tell(&[NotifyState::Ready]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that we are alive twice in each period that systemd grants. Looks through the sessions before, so that a
/// daemon whose tasks wait for each other for ever is restarted.
pub async fn watchdog(sessions: Arc<Sessions>) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sessions.view("");
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}
