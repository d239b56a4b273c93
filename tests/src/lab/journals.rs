//! What the hosts of a failed test had to say.

use std::fs;
use std::thread;

use anyhow::Result;

use super::host::Host;
use super::machine;
use super::place::Place;

/// Keeps each host's journal when its disk goes, in a folder named after the test.
pub(super) fn save(place: &Place, hosts: &[Host]) -> Result<()> {
    if hosts.is_empty() {
        return Ok(());
    }
    let thread = thread::current();
    // cargo names the thread of a test after the test.
    let dir = place.journals_dir(thread.name().unwrap_or("main"));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    for host in hosts {
        let logs = format!(
            "--directory={}",
            host.disk().join("var/log/journal").display()
        );
        let text = machine::run("journalctl", [&logs, "--no-pager", "--lines=5000"]);
        // A host that never came up has none; its console was part of the error then.
        let text = text.unwrap_or_else(|error| format!("{error:#}"));
        fs::write(dir.join(format!("{host}.journal")), text)?;
    }
    // Shown by cargo for a failed test only.
    println!(
        "lab: the hosts' journals are in {}; QUORATE_LAB_KEEP=1 keeps the hosts",
        dir.display()
    );
    Ok(())
}
