//! `quorate operation list`, and what is said when an operation has ended.

use super::Show;
use super::lists::or_none;
use crate::cli::failure::problem_lines;
use crate::cli::text::units::{duration, relative, rfc3339};
use crate::cli::text::{Column, Grid, Item, Look, Tone, clean};
use quorate_proto::v1::{ListOperationsResponse, OperationInfo};
use std::time::Duration;

const COLUMNS: &[Column] = &[
    Column::new("ID"),
    Column::new("CLUSTER"),
    Column::new("KIND"),
    Column::new("STATE"),
    Column::new("STARTED"),
    Column::new("TOOK"),
    Column::new("BY"),
    Column::text("PROBLEM"),
    Column::wide("STARTED AT"),
    Column::wide("MEMBERSHIP HELD"),
    Column::wide("REJECTED BY ETCD"),
];

impl Show for ListOperationsResponse {
    fn table(&self, look: &Look) -> String {
        let mut grid = Grid::new(COLUMNS);
        for one in &self.operations {
            let problem = one.problem.as_ref().map(|problem| problem.what.as_str());
            grid.row([
                (&one.id).into(),
                (&one.cluster).into(),
                (&one.kind).into(),
                Item::state(&one.state),
                relative(look.now_ms, one.started_unix_ms).into(),
                took(one, look.now_ms).into(),
                (&one.ordered_by).into(),
                problem.unwrap_or_default().into(),
                rfc3339(one.started_unix_ms).into(),
                duration(Duration::from_millis(one.membership_held_ms)).into(),
                one.rejected_etcd_calls.to_string().into(),
            ]);
        }
        or_none(
            &grid,
            look,
            "No operations. Start one: quorate apply -f FILE",
        )
    }

    fn names(&self) -> Vec<String> {
        self.operations.iter().map(|one| one.id.clone()).collect()
    }
}

/// How long it ran, or runs by now.
pub fn took(operation: &OperationInfo, now_ms: i64) -> String {
    let end = match operation.finished_unix_ms {
        0 => now_ms,
        end => end,
    };
    let length = end.saturating_sub(operation.started_unix_ms);
    duration(Duration::from_millis(
        u64::try_from(length).unwrap_or_default(),
    ))
}

pub fn is_over(operation: &OperationInfo) -> bool {
    operation.state != "running"
}

pub fn succeeded(operation: &OperationInfo) -> bool {
    operation.state == "done"
}

/// One line and, when it failed, why.
pub fn ending(operation: &OperationInfo, look: &Look) -> String {
    let cluster = clean(&operation.cluster);
    let took = took(operation, look.now_ms);
    if succeeded(operation) {
        let mark = look.paint(Tone::Good, "✓");
        if operation.kind != "apply" {
            let kind = clean(&operation.kind);
            return format!("{mark} {cluster}: {kind} is done, after {took}\n");
        }
        let held = duration(Duration::from_millis(operation.membership_held_ms));
        return format!(
            "{mark} {cluster} is as its file says, after {took} (membership changes: {held})\n"
        );
    }
    let mark = look.paint(Tone::Bad, "×");
    let mut out = format!(
        "{mark} {cluster}: {} after {took}\n",
        clean(&operation.state)
    );
    if let Some(problem) = &operation.problem {
        out.push_str("  ");
        out.push_str(&problem_lines(problem, "    ", look));
    }
    out
}
