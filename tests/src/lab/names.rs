//! How hosts find each other by name: lines of the lab's in each host's /etc/hosts.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use super::network;
use super::place::Place;
use super::record::Record;

/// Ends every line of ours; what else is in the file is the host's and stays.
const MARK: &str = " # lab";

/// Writes the names of all hosts into all hosts. `n1` is the IPv4 address and `n1-v6` the IPv6 one, so
/// that a test says which of the two it is about.
pub(super) fn write_all(place: &Place, record: &Record) -> Result<()> {
    let mut lines = vec!["127.0.0.1 localhost".to_owned(), "::1 localhost".to_owned()];
    for (name, ip) in &record.hosts {
        lines.push(format!("{ip} {name}"));
        lines.push(format!("{} {name}-v6", network::ipv6_of(*ip)));
    }
    for (alias, addresses) in &record.aliases {
        lines.extend(addresses.iter().map(|ip| format!("{ip} {alias}")));
    }
    for name in record.hosts.keys() {
        let etc = place.root(name).join("etc");
        if etc.is_dir() {
            let file = etc.join("hosts");
            write(&file, &lines).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}

fn write(file: &Path, lines: &[String]) -> Result<()> {
    let before = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read?,
    };
    // Renamed into place: a program never reads half a file.
    let unfinished = file.with_extension("lab");
    fs::write(&unfinished, merged(&before, lines))?;
    Ok(fs::rename(&unfinished, file)?)
}

fn merged(before: &str, lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&format!("{line}{MARK}\n"));
    }
    for line in before.lines().filter(|line| !line.ends_with(MARK)) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_host_itself_stay() {
        let first = merged("", &["10.77.0.11 n1".to_owned()]);
        let edited = format!("{first}10.77.0.100 added-by-product\n");
        let second = merged(&edited, &["10.77.0.12 n2".to_owned()]);
        assert_eq!(
            second,
            "10.77.0.12 n2 # lab\n10.77.0.100 added-by-product\n"
        );
    }
}
