//! The machine under the cluster: clock, disks and swap.

use crate::context::Context;
use crate::host::tool::Tool;
use crate::orders::install::documents::Documents;
use crate::orders::install::swap;
use crate::orders::preflight::disk::{self, Holds};
use crate::orders::preflight::finding::{ok, warning};
use crate::orders::preflight::machine;
use quorate_proto::v1::{Finding, Problem};
use std::time::Duration;

/// The bus answers at once, or its daemon has to be started first.
const ANSWER: Duration = Duration::from_secs(10);

pub async fn clock() -> Finding {
    let asked = Tool::new("timedatectl")
        .args(["show", "--property", "NTPSynchronized", "--value"])
        .timeout(ANSWER)
        .ok()
        .await;
    judge_clock(asked.map(|output| output.stdout.trim().to_owned()))
}

fn judge_clock(answer: Result<String, Problem>) -> Finding {
    const NAME: &str = "ClockSync";
    let next = "install and start chrony or systemd-timesyncd";
    match answer.as_deref() {
        Ok("yes") => ok(NAME, "the clock is synchronized"),
        Ok(_) => warning(
            NAME,
            Problem::new("clock-unsynchronized", "the clock is not synchronized")
                .because("no time service runs, or it reaches no server")
                .next(next),
        ),
        Err(problem) => warning(
            NAME,
            Problem::new(
                "clock-unknown",
                "systemd does not tell whether the clock is synchronized",
            )
            .because(problem.what.clone())
            .next(next),
        ),
    }
}

/// etcd's disk, measured by writing; where images lie, by its free space.
pub async fn disks(
    context: &Context,
    documents: &Documents,
    etcd: bool,
    containers: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let data = disk::existing(context.paths.at(documents.etcd_data()));
    if etcd {
        findings.push(disk::check_latency(data.clone()).await);
    }
    findings.push(match containers {
        true => disk::check_space(context.paths.at("/var/lib/containerd"), Holds::Images),
        false => disk::check_space(data, Holds::Etcd),
    });
    findings
}

pub fn swap(context: &Context, documents: &Documents) -> Finding {
    match swap::active(&context.paths) {
        Ok(devices) => machine::judge_swap(&devices, documents.allow_swap(), true),
        Err(problem) => warning("Swap", problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Ok as Good, Warning};

    #[test]
    fn only_a_yes_is_synchronized() {
        for (answer, expected) in [
            (Ok("yes"), Good),
            (Ok("no"), Warning),
            (Ok(""), Warning),
            (Err(Problem::new("tool-missing", "x")), Warning),
        ] {
            let finding = judge_clock(answer.clone().map(str::to_owned));
            assert_eq!(finding.severity(), expected, "{answer:?}");
        }
    }
}
