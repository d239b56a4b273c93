//! What is done about nodes that have fallen silent for good.

use super::file::{ClusterFile, DeadPolicy, DistributionField, Role};
use super::snapshots::seconds;
use quorate_planner::dead::{AFTER_FENCED_MS, DeadNodes, Policy};
use std::ops::RangeInclusive;

/// A kubelet renews its lease each 10 s: sooner, one late renewal would pass for a death. Beyond five minutes Kubernetes evicts by
/// itself, and much later is as good as never.
const AFTER: RangeInclusive<u32> = 15..=3_600;

/// A machine that boots slowly, or waits for a check of its disks, is not to be lost for that.
const PURGE_AFTER: RangeInclusive<u32> = 300..=30 * 24 * 3_600;

/// What the file means, or the field and what is wrong with it.
pub fn resolve(file: &ClusterFile) -> Result<DeadNodes, (&'static str, String)> {
    let wish = &file.dead_nodes;
    let mut resolved = DeadNodes {
        policy: match wish.policy {
            DeadPolicy::Off => Policy::Off,
            DeadPolicy::Taint => Policy::Taint,
            DeadPolicy::Fence => Policy::Fence,
            DeadPolicy::Purge => Policy::Purge,
        },
        ..DeadNodes::default()
    };
    let least_after = match resolved.policy {
        Policy::Off | Policy::Taint => *AFTER.start(),
        Policy::Fence | Policy::Purge => {
            resolved.after_ms = AFTER_FENCED_MS;
            u32::try_from(AFTER_FENCED_MS / 1_000).unwrap_or(*AFTER.end())
        }
    };
    if file.distribution == DistributionField::Etcd && resolved.policy != Policy::Off {
        let wrong = "an etcd cluster of its own has no pods to free; only `off` has a meaning here";
        return Err(("deadNodes.policy", wrong.to_owned()));
    }
    if let Some(text) = wish.after.as_deref() {
        let after = seconds(text).filter(|it| (least_after..=*AFTER.end()).contains(it));
        let wrong = || {
            format!(
                "{text:?} is not a time from {least_after}s to 1h, such as {least_after}s or 2m"
            )
        };
        let after = after.ok_or_else(|| ("deadNodes.after", wrong()))?;
        resolved.after_ms = u64::from(after) * 1_000;
    }
    if let Some(text) = wish.purge_after.as_deref() {
        let after = seconds(text).filter(|it| PURGE_AFTER.contains(it));
        let wrong = || format!("{text:?} is not a time from 5m to 30d, such as 1h");
        let after = after.ok_or_else(|| ("deadNodes.purgeAfter", wrong()))?;
        resolved.purge_after_ms = u64::from(after) * 1_000;
    }
    let has = |role: Role| {
        file.nodes
            .iter()
            .filter(|it| it.roles.contains(&role))
            .count()
    };
    resolved.min_healthy_control_planes = least(
        "deadNodes.minHealthyControlPlanes",
        wish.min_healthy_control_planes,
        has(Role::ControlPlane),
        "control planes",
    )?;
    resolved.min_healthy_workers = least(
        "deadNodes.minHealthyWorkers",
        wish.min_healthy_workers,
        has(Role::Worker),
        "workers",
    )?;
    Ok(resolved)
}

/// More than there are would keep everything from being done, which is not what anybody means.
fn least(
    field: &'static str,
    wish: Option<u32>,
    present: usize,
    what: &str,
) -> Result<Option<usize>, (&'static str, String)> {
    let Some(wish) = wish.map(|it| usize::try_from(it).unwrap_or(usize::MAX)) else {
        return Ok(None);
    };
    if wish > present {
        let wrong = format!("{wish} is more than the {present} {what} of the file");
        return Err((field, wrong));
    }
    Ok(Some(wish))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::file;

    fn resolved(distribution: &str, policy: &str) -> Result<DeadNodes, &'static str> {
        let role = match distribution {
            "etcd" => "etcd",
            _ => "control-plane",
        };
        let text = format!(
            "name: c\ndistribution: {distribution}\nnodes:\n- {{name: n1, roles: [{role}]}}\n- {{name: n2, roles: [worker]}}\ndeadNodes: {policy}\n"
        );
        resolve(&file::parse(&text).expect("a file")).map_err(|(field, _)| field)
    }

    #[test]
    fn policies_times_and_numbers() {
        assert_eq!(resolved("kubeadm", "{}"), Ok(DeadNodes::default()));
        let all = "{policy: taint, after: 1m, minHealthyControlPlanes: 1, minHealthyWorkers: 0}";
        let expected = DeadNodes {
            policy: Policy::Taint,
            after_ms: 60_000,
            min_healthy_control_planes: Some(1),
            min_healthy_workers: Some(0),
            ..DeadNodes::default()
        };
        assert_eq!(resolved("kubeadm", all), Ok(expected));
        let purge = resolved("kubeadm", "{policy: purge, purgeAfter: 5m}").expect("a policy");
        let times = (purge.policy, purge.after_ms, purge.purge_after_ms);
        assert_eq!(times, (Policy::Purge, 18_000, 300_000));
        for (distribution, policy, field) in [
            ("etcd", "{policy: taint}", "deadNodes.policy"),
            ("kubeadm", "{after: 14s}", "deadNodes.after"),
            ("kubeadm", "{policy: fence, after: 17s}", "deadNodes.after"),
            ("kubeadm", "{purgeAfter: 1m}", "deadNodes.purgeAfter"),
            ("kubeadm", "{after: 2h}", "deadNodes.after"),
            ("kubeadm", "{after: soon}", "deadNodes.after"),
            (
                "kubeadm",
                "{minHealthyWorkers: 2}",
                "deadNodes.minHealthyWorkers",
            ),
            (
                "kubeadm",
                "{minHealthyControlPlanes: 2}",
                "deadNodes.minHealthyControlPlanes",
            ),
        ] {
            assert_eq!(resolved(distribution, policy), Err(field), "{policy}");
        }
    }
}
