//! systemd units of this host, by name. Reads properties, never the text of `systemctl status`.

use super::tool::Tool;
use quorate_proto::v1::Problem;
use std::time::Duration;

/// systemd itself gives a unit 90 s to start or stop; a little more, so that its own error is what is seen.
const UNIT_TIMEOUT: Duration = Duration::from_secs(100);

pub async fn daemon_reload() -> Result<(), Problem> {
    systemctl(&["daemon-reload"]).await
}

/// Asks first: for a unit that has an init script too, enabling anew takes a second or more.
pub async fn enable(unit: &str) -> Result<(), Problem> {
    if property(unit, "UnitFileState").await? == "enabled" {
        return Ok(());
    }
    systemctl(&["enable", unit]).await
}

pub async fn disable(unit: &str) -> Result<(), Problem> {
    systemctl(&["disable", unit]).await
}

pub async fn start(unit: &str) -> Result<(), Problem> {
    systemctl(&["start", unit]).await
}

/// Queues the start; for units that report ready only after others have joined them.
pub async fn start_no_wait(unit: &str) -> Result<(), Problem> {
    systemctl(&["start", "--no-block", unit]).await
}

pub async fn restart(unit: &str) -> Result<(), Problem> {
    systemctl(&["restart", unit]).await
}

pub async fn reload(unit: &str) -> Result<(), Problem> {
    systemctl(&["reload", unit]).await
}

/// Stopping what is not there is done already.
pub async fn stop(unit: &str) -> Result<(), Problem> {
    if property(unit, "LoadState").await? == "not-found" {
        return Ok(());
    }
    systemctl(&["stop", unit]).await
}

pub async fn reset_failed(unit: &str) -> Result<(), Problem> {
    Tool::new("systemctl")
        .args(["reset-failed", unit])
        .run()
        .await?;
    Ok(())
}

/// "active", "inactive", "activating", "failed"...
pub async fn active_state(unit: &str) -> Result<String, Problem> {
    property(unit, "ActiveState").await
}

pub async fn property(unit: &str, name: &str) -> Result<String, Problem> {
    let output = Tool::new("systemctl")
        .args(["show", "--value", "--property", name, "--", unit])
        .ok()
        .await?;
    Ok(output.stdout.trim().to_owned())
}

async fn systemctl(arguments: &[&str]) -> Result<(), Problem> {
    Tool::new("systemctl")
        .args(arguments.iter().copied())
        .timeout(UNIT_TIMEOUT)
        .ok()
        .await
        .map(|_| ())
}
