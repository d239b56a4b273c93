//! Bounds of what crosses the wire. Both sides use the same numbers.

/// Largest message of the control stream and of an operator's call: a cluster file with its add-on manifests fits.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// An epoch's upper bits are the tenure: when the coordinator was last restored from a backup, 0 if never. The lower bits grow with
/// each start. So what was restored later outranks what was not, however often that is started again.
pub const EPOCH_TENURE_SHIFT: u32 = 32;
/// Largest enrolment message: a token and one certificate request.
pub const MAX_ENROLL_BYTES: usize = 16 * 1024;
/// Bytes of one artifact chunk: large enough to fill a link, small enough to share a connection with orders.
pub const ARTIFACT_CHUNK_BYTES: usize = 256 * 1024;
/// An agent says that it is alive this often.
pub const HEARTBEAT_SECONDS: u32 = 15;
/// Silence after which an agent counts as lost: three heartbeats.
pub const LOST_AFTER_SECONDS: u64 = 45;
/// How often an agent observes and reports at rest.
pub const REPORT_AT_REST_MS: u32 = 15_000;
/// And while an operation runs on its cluster: decisions wait for observations, so these bound the pace of a join.
pub const REPORT_AT_WORK_MS: u32 = 500;
/// HTTP/2 keep-alive: a silent partition is noticed after interval plus timeout.
pub const KEEPALIVE_INTERVAL_SECONDS: u64 = 20;
pub const KEEPALIVE_TIMEOUT_SECONDS: u64 = 10;
/// Last lines of a failed tool that travel with its result.
pub const LOG_TAIL_LINES: usize = 40;
/// Lines of progress that wait for a slow link; older ones are dropped.
pub const PROGRESS_QUEUE: usize = 256;
