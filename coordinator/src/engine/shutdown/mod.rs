//! A cluster that stands still, and its way back: `quorate cluster stop`, `quorate cluster start`.
//!
//! - [`ask`]: what operators may ask for, and what is refused;
//! - [`turn`]: the end of a stop, after which the word stays in the record, and of a start, with which it goes.

pub mod ask;
#[cfg(test)]
mod tests;
mod turn;

use super::records::ClusterRecord;
use quorate_planner::shutdown::Wanted;
use quorate_proto::v1::Problem;

/// Why everything else has to wait.
pub fn in_the_way(record: &ClusterRecord) -> Option<Problem> {
    let shutdown = record.shutdown.as_ref()?;
    let name = &record.name;
    let (what, next) = match shutdown.wanted {
        Wanted::Stopped => (
            "the cluster is stopped",
            format!("start it first: quorate cluster start {name}"),
        ),
        Wanted::Running => (
            "the cluster is being started",
            format!("quorate status {name} shows what it waits for"),
        ),
    };
    let since = crate::clock::rfc3339(i64::try_from(shutdown.since.0).unwrap_or_default());
    Some(
        Problem::new("refused-stopped", format!("{what} since {since}"))
            .at(name.clone())
            .next(next),
    )
}
