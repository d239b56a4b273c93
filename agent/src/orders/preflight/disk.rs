//! Disks: how long etcd would wait for one, and how much is free.

use super::finding::{fatal, ok, warning};
use nix::sys::statvfs::statvfs;
use quorate_proto::v1::{Finding, Problem};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What one entry of etcd's log takes.
const WRITE_BYTES: usize = 2048;
const WRITES: usize = 100;
/// A slow disk is known to be slow before all writes are done.
const MEASURE: Duration = Duration::from_secs(5);
/// etcd's own advice for the 99th percentile; at the second figure its heartbeats begin to fail.
const SLOW: Duration = Duration::from_millis(10);
const TOO_SLOW: Duration = Duration::from_millis(100);
const GIB: u64 = 1024 * 1024 * 1024;
/// The kubelet removes images and evicts pods below this share of free space.
const EVICTION_PERCENT: u64 = 15;

/// What the disk is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Images,
    Etcd,
}

impl Holds {
    /// Images of a control plane unpacked, and again while they are imported; a database with its snapshots.
    fn least(self) -> u64 {
        match self {
            Holds::Images => 2 * GIB,
            Holds::Etcd => GIB,
        }
    }

    fn good(self) -> u64 {
        match self {
            Holds::Images => 10 * GIB,
            Holds::Etcd => 4 * GIB,
        }
    }

    fn good_percent(self) -> u64 {
        match self {
            Holds::Images => EVICTION_PERCENT,
            Holds::Etcd => 0,
        }
    }

    fn harm(self) -> String {
        let good = self.good() / GIB;
        match self {
            Holds::Images => format!(
                "images and logs need {good} GiB; below {EVICTION_PERCENT} % the kubelet removes images and evicts pods"
            ),
            Holds::Etcd => format!("etcd stops on a full disk; {good} GiB leave time to act"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    pub p99: Duration,
    pub writes: usize,
}

/// The nearest folder that is there: what will be made below it lies on the same file system.
pub fn existing(path: PathBuf) -> PathBuf {
    path.ancestors()
        .find(|folder| folder.is_dir())
        .map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

pub async fn check_latency(folder: PathBuf) -> Finding {
    let place = folder.display().to_string();
    let measured = tokio::task::spawn_blocking(move || measure(&folder)).await;
    match measured {
        Ok(Ok(latency)) => judge_latency(latency, &place),
        Ok(Err(error)) => unmeasured(&place, error.to_string()),
        Err(error) => unmeasured(&place, error.to_string()),
    }
}

/// A file without a name: it is gone whatever happens.
fn measure(folder: &Path) -> io::Result<Latency> {
    let mut file = tempfile::tempfile_in(folder)?;
    let entry = [0x5a; WRITE_BYTES];
    let mut taken = Vec::with_capacity(WRITES);
    let begin = Instant::now();
    while taken.len() < WRITES && begin.elapsed() < MEASURE {
        let start = Instant::now();
        file.write_all(&entry)?;
        file.sync_data()?;
        taken.push(start.elapsed());
    }
    Ok(Latency {
        p99: p99(&mut taken),
        writes: taken.len(),
    })
}

fn p99(taken: &mut [Duration]) -> Duration {
    taken.sort_unstable();
    let rank = (taken.len() * 99).div_ceil(100);
    taken
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

const LATENCY: &str = "EtcdDiskLatency";

fn unmeasured(place: &str, reason: String) -> Finding {
    warning(
        LATENCY,
        Problem::new(
            "disk-unmeasured",
            format!("cannot measure the disk's latency: {reason}"),
        )
        .at(place),
    )
}

fn judge_latency(latency: Latency, place: &str) -> Finding {
    let milliseconds = latency.p99.as_secs_f64() * 1000.0;
    let seen = format!(
        "fdatasync takes {milliseconds:.1} ms at the 99th percentile of {} writes",
        latency.writes
    );
    if latency.p99 <= SLOW {
        return ok(LATENCY, seen);
    }
    let problem = Problem::new("slow-disk", seen)
        .at(place)
        .because(format!(
            "etcd wants at most {} ms; a slow or busy disk makes it lose its leader",
            SLOW.as_millis()
        ))
        .next("give etcd's data a faster disk, away from other writers");
    if latency.p99 > TOO_SLOW {
        fatal(LATENCY, problem)
    } else {
        warning(LATENCY, problem)
    }
}

pub fn check_space(folder: PathBuf, holds: Holds) -> Finding {
    let folder = existing(folder);
    let place = folder.display().to_string();
    match statvfs(&folder) {
        Ok(stat) => {
            let free = stat.blocks_available().saturating_mul(stat.fragment_size());
            let size = stat.blocks().saturating_mul(stat.fragment_size());
            judge_space(holds, &place, free, size)
        }
        Err(error) => warning(
            SPACE,
            Problem::new(
                "disk-unknown",
                format!("cannot read the free space: {error}"),
            )
            .at(place),
        ),
    }
}

const SPACE: &str = "DiskSpace";

fn judge_space(holds: Holds, place: &str, free: u64, size: u64) -> Finding {
    let percent = free.saturating_mul(100).checked_div(size).unwrap_or(0);
    let tenths = free.saturating_mul(10) / GIB;
    let seen = format!(
        "{}.{} GiB free at {place}, {percent} %",
        tenths / 10,
        tenths % 10
    );
    if free >= holds.good() && percent >= holds.good_percent() {
        return ok(SPACE, seen);
    }
    let problem = Problem::new("little-space", seen)
        .at(place)
        .because(holds.harm())
        .next("free space or enlarge the disk");
    if free < holds.least() {
        fatal(SPACE, problem)
    } else {
        warning(SPACE, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    #[test]
    fn latency_has_two_limits_and_shows_the_number() {
        for (micros, expected) in [
            (80, Good),
            (10_000, Good),
            (10_001, Warning),
            (100_000, Warning),
            (100_001, Fatal),
        ] {
            let latency = Latency {
                p99: Duration::from_micros(micros),
                writes: 100,
            };
            let finding = judge_latency(latency, "/var/lib/etcd");
            assert_eq!(finding.severity(), expected, "{micros}");
            let what = finding.problem.expect("problem").what;
            assert!(
                what.contains(&format!("{:.1} ms", micros as f64 / 1000.0)),
                "{what}"
            );
        }
    }

    #[test]
    fn the_percentile_is_of_what_was_measured() {
        let mut hundred: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(p99(&mut hundred), Duration::from_millis(99));
        assert_eq!(
            p99(&mut [Duration::from_millis(3)]),
            Duration::from_millis(3)
        );
        assert_eq!(p99(&mut []), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_real_disk_is_measured_and_left_clean() {
        let folder = tempfile::tempdir().expect("folder");
        let measured = measure(folder.path()).expect("measured");
        assert!(measured.writes > 0 && measured.p99 > Duration::ZERO);
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
        let absent = folder.path().join("a/b");
        assert_eq!(existing(absent.clone()), folder.path());
        assert_eq!(check_latency(absent).await.severity(), Warning);
    }

    #[test]
    fn space_is_judged_by_amount_and_share() {
        for (holds, free, size, expected) in [
            (Holds::Images, 50 * GIB, 100 * GIB, Good),
            (Holds::Images, 11 * GIB, 100 * GIB, Warning),
            (Holds::Images, 5 * GIB, 20 * GIB, Warning),
            (Holds::Images, GIB, 20 * GIB, Fatal),
            (Holds::Images, 0, 0, Fatal),
            (Holds::Etcd, 5 * GIB, 100 * GIB, Good),
            (Holds::Etcd, 3 * GIB, 100 * GIB, Warning),
            (Holds::Etcd, GIB - 1, 2 * GIB, Fatal),
        ] {
            let finding = judge_space(holds, "/", free, size);
            assert_eq!(finding.severity(), expected, "{holds:?} {free} of {size}");
        }
        let shown = judge_space(Holds::Images, "/", 33 * GIB + GIB / 2, 100 * GIB);
        assert_eq!(
            shown.problem.expect("problem").what,
            "33.5 GiB free at /, 33 %"
        );
    }
}
