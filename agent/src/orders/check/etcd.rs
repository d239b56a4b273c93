//! The local etcd member, by its own view.

use crate::orders::preflight::finding::{fatal, ok, warning};
use quorate_proto::v1::{EtcdView, Finding, Problem};

/// Of the quota, where to act: at the whole of it etcd takes no more writes.
const FULL_PERCENT: u64 = 80;
/// etcd's quota where nothing else is set.
const DEFAULT_QUOTA: u64 = 2 * 1024 * 1024 * 1024;
/// Where more of the file is empty than used, defragmenting gives it back; below this size it is not worth it.
const WORTH_DEFRAGMENTING: u64 = 512 * 1024 * 1024;
/// A healthy member applies what is agreed within milliseconds.
const LAG: u64 = 5000;

/// `quota` in bytes, if this node's etcd was given one of its own.
pub fn judge(view: &EtcdView, quota: Option<u64>) -> Vec<Finding> {
    let mut findings = vec![judge_member(view)];
    if view.running {
        findings.push(judge_alarms(view));
        findings.push(judge_size(view, quota.unwrap_or(DEFAULT_QUOTA)));
    }
    findings
}

fn judge_member(view: &EtcdView) -> Finding {
    const NAME: &str = "EtcdMember";
    if !view.running {
        let problem = view.problem.clone().unwrap_or_else(|| {
            Problem::new("etcd-down", "etcd does not answer on this node")
                .next("look at etcd's log on the node")
        });
        return fatal(NAME, problem);
    }
    if let Some(problem) = &view.problem {
        return fatal(NAME, problem.clone());
    }
    let problem = |what: String| {
        Problem::new("etcd-unhealthy", what).at(format!("member {:x}", view.member_id))
    };
    if view.learner {
        return warning(
            NAME,
            problem("this member is still a learner: it does not count for the quorum".into())
                .because("its join is under way, or was given up halfway")
                .next("quorate status shows what the cluster waits for"),
        );
    }
    if !view.linearizable {
        return fatal(
            NAME,
            problem(
                "etcd cannot confirm its reads: it is cut off from a majority of the members"
                    .into(),
            )
            .because("members are down or a network between them is broken")
            .next("check the other members and TCP port 2380 between them"),
        );
    }
    let lag = view.raft_index.saturating_sub(view.applied_index);
    if lag > LAG {
        return warning(
            NAME,
            problem(format!(
                "etcd is {lag} entries behind in applying what was agreed"
            ))
            .because("its disk or processor is too slow")
            .next("compare EtcdDiskLatency of this node with the others'"),
        );
    }
    let role = match view.leader == view.member_id {
        true => "leader",
        false => "follower",
    };
    ok(
        NAME,
        format!(
            "etcd {} is a {role} of {} members",
            view.version,
            view.members.len()
        ),
    )
}

fn judge_alarms(view: &EtcdView) -> Finding {
    const NAME: &str = "EtcdAlarms";
    if !view.alarms_known && !view.learner {
        return warning(
            NAME,
            Problem::new("etcd-alarms-unknown", "etcd does not tell its alarms")
                .next("look at etcd's log on the node"),
        );
    }
    if view.alarms.is_empty() {
        return ok(NAME, "no alarm");
    }
    let listed: Vec<String> = view
        .alarms
        .iter()
        .map(|alarm| format!("{} of member {:x}", alarm.kind, alarm.member_id))
        .collect();
    let next = match view.alarms.iter().any(|alarm| alarm.kind == "CORRUPT") {
        true => "remove the corrupt member and join it again",
        false => "compact and defragment, then `etcdctl alarm disarm`",
    };
    fatal(
        NAME,
        Problem::new("etcd-alarm", format!("etcd has raised {}", listed.join(", ")))
            .because("NOSPACE: the database reached its quota; CORRUPT: a member's data differs from the others'")
            .next(next),
    )
}

fn judge_size(view: &EtcdView, quota: u64) -> Finding {
    const NAME: &str = "EtcdDatabase";
    let mebibytes = |bytes: u64| bytes / (1024 * 1024);
    let percent = view
        .db_size
        .saturating_mul(100)
        .checked_div(quota)
        .unwrap_or(100);
    let seen = format!(
        "{} MiB of {} MiB, {} MiB in use",
        mebibytes(view.db_size),
        mebibytes(quota),
        mebibytes(view.db_size_in_use)
    );
    let hollow = view.db_size >= WORTH_DEFRAGMENTING && view.db_size_in_use < view.db_size / 2;
    if percent < FULL_PERCENT && !hollow {
        return ok(NAME, seen);
    }
    let problem = Problem::new("etcd-database", format!("etcd's database is large: {seen}"));
    warning(
        NAME,
        match hollow {
            true => problem
                .because("much of the file is left from deleted data")
                .next("`etcdctl defrag` on one member after the other"),
            false => problem
                .because("at its quota etcd takes no more writes")
                .next("find what writes so much, or raise quota-backend-bytes"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::EtcdAlarm;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    fn healthy() -> EtcdView {
        EtcdView {
            running: true,
            linearizable: true,
            alarms_known: true,
            member_id: 1,
            leader: 1,
            raft_index: 100,
            applied_index: 100,
            db_size: 20 * 1024 * 1024,
            db_size_in_use: 10 * 1024 * 1024,
            ..EtcdView::default()
        }
    }

    #[test]
    fn each_view_has_its_findings() {
        let problem = Some(Problem::new("etcd-no-leader", "no leader"));
        let alarm = EtcdAlarm {
            member_id: 2,
            kind: "NOSPACE".into(),
        };
        let large = 1800 * 1024 * 1024;
        type Row = (&'static str, EtcdView, Vec<quorate_proto::v1::Severity>);
        let table: Vec<Row> = vec![
            ("healthy", healthy(), vec![Good, Good, Good]),
            ("down", EtcdView::default(), vec![Fatal]),
            (
                "no leader",
                EtcdView {
                    problem,
                    ..healthy()
                },
                vec![Fatal, Good, Good],
            ),
            (
                "learner",
                EtcdView {
                    learner: true,
                    linearizable: false,
                    alarms_known: false,
                    ..healthy()
                },
                vec![Warning, Good, Good],
            ),
            (
                "cut off",
                EtcdView {
                    linearizable: false,
                    ..healthy()
                },
                vec![Fatal, Good, Good],
            ),
            (
                "lag",
                EtcdView {
                    raft_index: 9_000,
                    ..healthy()
                },
                vec![Warning, Good, Good],
            ),
            (
                "alarm",
                EtcdView {
                    alarms: vec![alarm],
                    ..healthy()
                },
                vec![Good, Fatal, Good],
            ),
            (
                "unknown",
                EtcdView {
                    alarms_known: false,
                    ..healthy()
                },
                vec![Good, Warning, Good],
            ),
            (
                "full",
                EtcdView {
                    db_size: large,
                    db_size_in_use: large,
                    ..healthy()
                },
                vec![Good, Good, Warning],
            ),
            (
                "hollow",
                EtcdView {
                    db_size: 600 * 1024 * 1024,
                    ..healthy()
                },
                vec![Good, Good, Warning],
            ),
        ];
        for (name, view, expected) in table {
            let severities: Vec<_> = judge(&view, None).iter().map(Finding::severity).collect();
            assert_eq!(severities, expected, "{name}");
        }
        let large = EtcdView {
            db_size: large,
            db_size_in_use: large,
            ..healthy()
        };
        assert_eq!(judge(&large, Some(8 << 30))[2].severity(), Good);
    }
}
