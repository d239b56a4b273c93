//! etcd.service as the Debian package has it, with a drop-in of ours.

use super::environment::settled;
use super::{data_folder, environment_file};
use crate::host::tool::Tool;
use crate::host::{files, service};
use crate::paths::Paths;
use quorate_proto::v1::Problem;
use std::time::Duration;

pub const NAME: &str = "etcd.service";
/// Of the log, when the unit fails: etcd's own reason is among its last lines.
const LOG_LINES: &str = "8";

/// Without a member's configuration the unit does nothing, also when the package starts it. A joiner reports ready only once it has
/// caught up, however long that takes. A removed member ends with success and stays down; anything else is started again.
const DROP_IN: &str = "\
[Unit]
ConditionPathExists=/etc/quorate/etcd/etcd.env
StartLimitIntervalSec=0

[Service]
Environment=
EnvironmentFile=
EnvironmentFile=/etc/quorate/etcd/etcd.env
ExecStart=
ExecStart=/usr/bin/etcd
TimeoutStartSec=infinity
Restart=on-failure
RestartSec=1s
";

pub async fn place_drop_in(paths: &Paths) -> Result<(), Problem> {
    let file = paths.at("/etc/systemd/system/etcd.service.d/quorate.conf");
    if files::write_if_changed(&file, DROP_IN.as_bytes(), 0o644)? {
        service::daemon_reload().await?;
    }
    Ok(())
}

/// Starts the unit with these options, and at every boot. Does not wait: see [`super::health`].
pub async fn run(paths: &Paths, options: &str) -> Result<(), Problem> {
    let file = environment_file(paths);
    let present = files::read_optional(&file)?.unwrap_or_default();
    let has_data = data_folder(paths).join("member").exists();
    if !serves(&String::from_utf8_lossy(&present), options, has_data) {
        // A process of an earlier try runs with other options.
        service::stop(NAME).await?;
        files::write_atomic(&file, options.as_bytes(), 0o644)?;
    }
    start(paths).await
}

/// With the options that are there.
pub async fn start(paths: &Paths) -> Result<(), Problem> {
    place_drop_in(paths).await?;
    service::enable(NAME).await?;
    service::reset_failed(NAME).await?;
    service::start_no_wait(NAME).await
}

/// Once the member has its data, it runs with the settled form of the same options.
pub fn settle(paths: &Paths) -> Result<(), Problem> {
    let file = environment_file(paths);
    let text = settled(&files::read_text(&file)?);
    files::write_if_changed(&file, text.as_bytes(), 0o644).map(|_| ())
}

/// Whether the options in the file are the asked ones already.
fn serves(present: &str, asked: &str, has_data: bool) -> bool {
    present == asked || (has_data && settled(present) == settled(asked))
}

/// A problem if the unit has given up or does not get past its start, with the last lines of its log.
pub async fn failure() -> Result<Option<Problem>, Problem> {
    let state = service::active_state(NAME).await?;
    let restarts = service::property(NAME, "NRestarts").await?;
    if !has_failed(&state, &restarts) {
        return Ok(None);
    }
    let log = Tool::new("journalctl")
        .args(["--unit", NAME, "--lines", LOG_LINES, "--no-pager"])
        .args(["--output", "cat", "--quiet"])
        .timeout(Duration::from_secs(10))
        .run()
        .await
        .map(|output| output.stdout)
        .unwrap_or_default();
    Ok(Some(
        Problem::new(
            "etcd-does-not-start",
            format!("etcd.service is {state} after {restarts} restarts"),
        )
        .at(NAME)
        .because(log.trim())
        .next("journalctl -u etcd"),
    ))
}

/// A few restarts are forgiven: an address that is not up yet at boot, a member that is added a moment later.
fn has_failed(state: &str, restarts: &str) -> bool {
    const FORGIVEN: u32 = 3;
    state == "failed" || restarts.parse().is_ok_and(|count: u32| count > FORGIVEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_written_when_they_say_something_new() {
        let text = |members: &str| {
            format!(
                "ETCD_NAME=n1\nETCD_INITIAL_ADVERTISE_PEER_URLS=u\nETCD_INITIAL_CLUSTER={members}\n"
            )
        };
        let (asked, own) = (text("n1=u,n2=v"), text("n1=u"));
        for (present, has_data, same) in [
            (asked.as_str(), false, true),
            (own.as_str(), true, true),
            // Without data the members to join are needed.
            (own.as_str(), false, false),
            ("", true, false),
            ("ETCD_NAME=n2\n", true, false),
        ] {
            assert_eq!(serves(present, &asked, has_data), same, "{present:?}");
        }
    }

    #[test]
    fn failed_or_only_slow() {
        for (state, restarts, failed) in [
            ("activating", "0", false),
            ("active", "3", false),
            ("activating", "4", true),
            ("failed", "0", true),
            ("inactive", "", false),
        ] {
            assert_eq!(has_failed(state, restarts), failed, "{state} {restarts}");
        }
    }
}
