//! The audit trail.

use crate::server::Parts;
use quorate_proto::v1::*;

const DEFAULT_LINES: u32 = 100;
/// Fits into one message.
const MAX_LINES: u32 = 5000;

/// Newest first.
pub fn list(parts: &Parts, request: &ListAuditRequest) -> Result<ListAuditResponse, Problem> {
    let limit = match request.limit {
        0 => DEFAULT_LINES,
        limit => limit.min(MAX_LINES),
    };
    let lines = parts.store.audit(limit as usize)?;
    let entries = lines.into_iter().map(|(sequence, line)| AuditEntry {
        sequence,
        unix_ms: line.unix_ms,
        who: line.who,
        what: line.what,
        detail: line.detail,
    });
    Ok(ListAuditResponse {
        entries: entries.collect(),
    })
}
