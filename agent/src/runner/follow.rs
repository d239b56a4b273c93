//! Tells when something in a few folders changed, so that nobody has to look again and again.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use quorate_proto::v1::Problem;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::net::unix::pipe::Receiver;

/// Bytes of events taken at once.
const EVENTS: usize = 4096;

pub struct Watch {
    /// Not a pipe, but a descriptor that is read like one: events come as bytes.
    events: Receiver,
}

impl Watch {
    /// The folders must exist.
    pub fn new(folders: &[&Path]) -> Result<Self, Problem> {
        let fail = |error: std::io::Error| {
            Problem::new("watch", format!("cannot watch files: {error}"))
                .because("the limit fs.inotify.max_user_instances or max_user_watches is reached")
        };
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .map_err(|errno| fail(errno.into()))?;
        let flags =
            AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
        for folder in folders {
            inotify
                .add_watch(*folder, flags)
                .map_err(|errno| fail(errno.into()))?;
        }
        let events = Receiver::from_owned_fd_unchecked(OwnedFd::from(inotify)).map_err(fail)?;
        Ok(Watch { events })
    }

    /// Returns at once if something changed since the last call.
    pub async fn changed(&self) {
        let mut taken = [0; EVENTS];
        loop {
            if self.events.readable().await.is_err() {
                return std::future::pending().await;
            }
            let mut some = false;
            // Which file it was does not matter; the events are only taken out of the queue.
            while matches!(self.events.try_read(&mut taken), Ok(1..)) {
                some = true;
            }
            // Readiness may be a false alarm.
            if some {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;
    use std::time::Duration;

    #[tokio::test]
    async fn a_replaced_file_is_noticed() {
        let folder = tempfile::tempdir().expect("folder");
        let watch = Watch::new(&[folder.path()]).expect("watch");
        let soon = Duration::from_secs(5);
        for round in 0..3 {
            let text = format!("{round}");
            files::write_atomic(&folder.path().join("f"), text.as_bytes(), 0o600).expect("written");
            tokio::time::timeout(soon, watch.changed())
                .await
                .expect("noticed");
        }
        let quiet = tokio::time::timeout(Duration::from_millis(20), watch.changed()).await;
        assert!(quiet.is_err());
    }
}
