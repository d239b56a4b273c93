//! How often, and for how long, etcd turned a plain `kubeadm join` away, from what that printed.

use serde_json::Value;
use std::time::Duration;

/// How etcd refuses a membership change for now.
const REFUSALS: [&str; 4] = [
    "too many learner members",
    "unhealthy cluster",
    "not enough started members",
    "can only promote a learner member which is in sync",
];
/// kubeadm tries again after it: the last rejected call held the joiner up for that long too.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    pub calls: u64,
    pub held_up: Duration,
}

/// etcd's client writes one JSON line a rejected call, with its time. kubeadm itself repeats some of them in words of its own, which
/// are counted only if there are no such lines.
pub fn read(printed: &str) -> Rejections {
    let refused = |line: &&str| REFUSALS.iter().any(|refusal| line.contains(refusal));
    let lines: Vec<&str> = printed.lines().filter(refused).collect();
    let times: Vec<f64> = lines.iter().filter_map(|line| time_of(line)).collect();
    if times.is_empty() {
        return Rejections {
            calls: lines.len() as u64,
            held_up: RETRY * u32::try_from(lines.len()).unwrap_or(u32::MAX),
        };
    }
    let first = times.iter().copied().fold(f64::INFINITY, f64::min);
    let last = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Rejections {
        calls: times.len() as u64,
        held_up: Duration::from_secs_f64((last - first).max(0.0)) + RETRY,
    }
}

/// Seconds within the hour are enough: a join takes minutes.
fn time_of(line: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok()?;
    let (_, time) = line["ts"].as_str()?.split_once('T')?;
    let digits = |c: char| c.is_ascii_digit() || c == ':' || c == '.';
    let end = time.find(|c| !digits(c)).unwrap_or(time.len());
    let mut parts = time[..end].split(':');
    let mut next = || parts.next()?.parse::<f64>().ok();
    let (hours, minutes, seconds) = (next()?, next()?, next()?);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"[kubelet-start] Starting the kubelet
{"level":"warn","ts":"2026-11-20T23:51:54.602754Z","msg":"retrying of unary invoker failed","error":"rpc error: code = FailedPrecondition desc = etcdserver: too many learner members in cluster"}
I1120 23:51:54.602 1 etcd.go:340] Failed to add etcd member: etcdserver: too many learner members in cluster
{"level":"warn","ts":"2026-11-20T23:52:00.602754Z","msg":"retrying of unary invoker failed","error":"rpc error: code = Unavailable desc = etcdserver: unhealthy cluster"}
{"level":"warn","ts":"2026-11-20T23:53:00.602754Z","msg":"retrying of unary invoker failed","error":"rpc error: code = Unavailable desc = connection refused"}
"#;

    #[test]
    fn each_rejected_call_once() {
        let expected = Rejections {
            calls: 2,
            held_up: Duration::from_millis(6500),
        };
        assert_eq!(read(LINES), expected);
        assert_eq!(
            read("[etcd] Announced new etcd member\n"),
            Rejections::default()
        );
    }

    #[test]
    fn without_etcds_own_lines_kubeadms_count() {
        let line = "I1120 1 etcd.go] Failed: etcdserver: unhealthy cluster\n";
        assert_eq!(read(&line.repeat(3)).calls, 3);
    }
}
