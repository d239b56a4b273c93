//! Swap off, now and after the next boot: the kubelet refuses to start beside it.

use crate::context::Context;
use crate::host::files;
use crate::host::tool::Tool;
use crate::paths::Paths;
use quorate_proto::v1::Problem;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const FSTAB: &str = "/etc/fstab";
const BACKUP: &str = "/etc/fstab.quorate-backup";
const MARK: &str = "# no swap beside the kubelet (quorate): ";
/// What is swapped out comes back into memory first, from a disk that may be slow.
const SWAPOFF: Duration = Duration::from_secs(300);

pub async fn off(context: &Context) -> Result<(), Problem> {
    out_of_fstab(context)?;
    let active = active(&context.paths)?;
    if active.is_empty() {
        return Ok(());
    }
    context.say(format!("swap off: {}", active.join(", ")));
    Tool::new("swapoff")
        .arg("-a")
        .timeout(SWAPOFF)
        .ok()
        .await
        .map_err(|problem| still_on(problem, &active))?;
    // A unit or program other than fstab's may hold some of it.
    let left = self::active(&context.paths)?;
    if left.is_empty() {
        return Ok(());
    }
    let what = format!("swap is still on: {}", left.join(", "));
    Err(still_on(Problem::new("swap-on", what), &left))
}

fn still_on(problem: Problem, devices: &[String]) -> Problem {
    Problem { code: "swap-on".into(), ..problem }
        .at(devices.join(", "))
        .because("too little memory is free to take back what is swapped out, or another service turns swap on")
        .next("turn it off on the node, or set failSwapOn: false in a KubeletConfiguration of the cluster file")
}

/// Devices and files that the kernel swaps to now.
pub fn active(paths: &Paths) -> Result<Vec<String>, Problem> {
    let text = files::read_optional(&paths.at("/proc/swaps"))?.unwrap_or_default();
    Ok(devices(&String::from_utf8_lossy(&text)))
}

fn devices(swaps: &str) -> Vec<String> {
    swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn out_of_fstab(context: &Context) -> Result<(), Problem> {
    let file = context.paths.at(FSTAB);
    let Some(bytes) = files::read_optional(&file)? else {
        return Ok(());
    };
    let before = String::from_utf8_lossy(&bytes);
    let Some(after) = without_swap(&before) else {
        return Ok(());
    };
    let backup = context.paths.at(BACKUP);
    if files::read_optional(&backup)?.is_none() {
        files::write_atomic(&backup, &bytes, 0o644)?;
    }
    let mode = std::fs::metadata(&file).map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
    files::write_atomic(&file, after.as_bytes(), mode)?;
    context.say(format!(
        "{FSTAB}: swap commented out, former file in {BACKUP}"
    ));
    Ok(())
}

/// The table with its swap lines commented out; nothing if there are none.
fn without_swap(fstab: &str) -> Option<String> {
    let is_swap = |line: &str| {
        let mut fields = line.split_whitespace();
        let comment = fields.next().is_none_or(|first| first.starts_with('#'));
        !comment && fields.nth(1) == Some("swap")
    };
    if !fstab.lines().any(is_swap) {
        return None;
    }
    let line = |line: &str| match is_swap(line) {
        true => format!("{MARK}{line}\n"),
        false => format!("{line}\n"),
    };
    Some(fstab.lines().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::install::testing::{Folder, context_under};

    #[test]
    fn only_swap_lines_are_commented_out() {
        let table = [
            ("", None),
            ("UUID=1 / ext4 defaults 0 1\n", None),
            ("#/dev/sda2 none swap sw 0 0\n", None),
            ("/dev/sda1 /swap ext4 defaults 0 0\n", None),
            (
                "UUID=1 / ext4 defaults 0 1\n/dev/sda2\tnone\tswap\tsw\t0\t0",
                Some(format!(
                    "UUID=1 / ext4 defaults 0 1\n{MARK}/dev/sda2\tnone\tswap\tsw\t0\t0\n"
                )),
            ),
        ];
        for (before, after) in table {
            assert_eq!(without_swap(before), after, "{before:?}");
        }
    }

    #[test]
    fn reads_what_the_kernel_swaps_to() {
        let header = "Filename\t\tType\t\tSize\tUsed\tPriority\n";
        assert_eq!(devices(header), Vec::<String>::new());
        let on = format!("{header}/dev/sda2  partition\t1\t0\t-2\n/swapfile file 1 0 -3\n");
        assert_eq!(devices(&on), ["/dev/sda2", "/swapfile"]);
    }

    #[tokio::test]
    async fn the_first_table_is_kept_and_the_second_run_changes_nothing() {
        let root = tempfile::tempdir().expect("folder");
        let etc = root.path().join("etc");
        std::fs::create_dir(&etc).expect("etc");
        let table = "/dev/sda2 none swap sw 0 0\n";
        std::fs::write(etc.join("fstab"), table).expect("write");
        let (context, said) = context_under(Paths::under(root.path()), Folder::of(&[]));
        off(&context).await.expect("first");
        off(&context).await.expect("second");
        assert_eq!(said.lines().len(), 1);
        let backup = std::fs::read_to_string(etc.join("fstab.quorate-backup"));
        assert_eq!(backup.expect("backup"), table);
    }
}
