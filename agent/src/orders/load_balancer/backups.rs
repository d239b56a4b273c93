//! Earlier configurations, beside the current one: haproxy.cfg.quorate-<n>.

use crate::host::files;
use quorate_proto::v1::Problem;
use std::path::Path;

/// Enough to find what a person had written before the first change was made here today.
const KEPT: usize = 5;
const MARK: &str = ".quorate-";

/// Keeps a copy of the file that is about to be replaced, and drops the oldest ones.
pub fn keep(file: &Path, content: &[u8]) -> Result<(), Problem> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(());
    };
    let prefix = format!("{name}{MARK}");
    let mut numbers: Vec<u64> = std::fs::read_dir(folder)
        .map_err(|error| {
            Problem::new("file", format!("cannot list a folder: {error}"))
                .at(folder.display().to_string())
        })?
        .flatten()
        .filter_map(|entry| number(&prefix, entry.file_name().to_str()?))
        .collect();
    numbers.sort_unstable();
    let (next, dropped) = turn(&numbers);
    files::write_atomic(&folder.join(format!("{prefix}{next}")), content, 0o644)?;
    for number in dropped {
        files::remove(&folder.join(format!("{prefix}{number}")))?;
    }
    Ok(())
}

fn number(prefix: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    digits
        .parse()
        .ok()
        .filter(|n: &u64| n.to_string() == digits)
}

/// The number of the next copy, and those that go for it.
fn turn(numbers: &[u64]) -> (u64, &[u64]) {
    let next = numbers.last().map_or(1, |last| last.saturating_add(1));
    let dropped = (numbers.len() + 1).saturating_sub(KEPT);
    (next, &numbers[..dropped])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(folder.path().join("haproxy.cfg.quorate-draft"), "").unwrap();
        for change in 1..=9 {
            keep(&file, format!("old {change}").as_bytes()).unwrap();
        }
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected =
            ["5", "6", "7", "8", "9", "draft"].map(|n| format!("haproxy.cfg.quorate-{n}"));
        assert_eq!(names, expected);
        let newest = std::fs::read_to_string(folder.path().join("haproxy.cfg.quorate-9"));
        assert_eq!(newest.unwrap(), "old 9");
    }
}
