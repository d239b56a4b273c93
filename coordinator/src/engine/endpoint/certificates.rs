//! Every certificate of every node, and when those are due that do not renew themselves.

use crate::authority::NodeRecord;
use crate::engine::agents::AgentState;
use crate::engine::handle::unknown_cluster;
use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use crate::store::Key;
use quorate_planner::endpoint::Renewal;
use quorate_planner::intent::NodeName;
use quorate_proto::v1::*;
use std::collections::{BTreeMap, BTreeSet};

const DAY: i64 = 24 * 3600;
/// Warned of this long ahead; what is renewed by itself is renewed before.
const SOON: i64 = 30 * DAY;
/// Renewed by themselves once less than this part of the lifetime is left, a third as cert-manager and the kubelet do.
const DUE_PART: i64 = 3;
/// And up to this part of the lifetime earlier, by the cluster's name, so that many clusters of one day do not renew at one hour.
const SPREAD_PART: i64 = 20;

pub fn show(shared: &Shared, cluster: &str) -> Result<ShowCertificatesResponse, Problem> {
    let records = if cluster.is_empty() {
        shared.clusters()?
    } else {
        vec![
            shared
                .cluster(cluster)?
                .ok_or_else(|| unknown_cluster(cluster))?,
        ]
    };
    let now = i64::try_from(shared.now_ms() / 1_000).unwrap_or(i64::MAX);
    let mut certificates = Vec::new();
    for record in &records {
        for (name, agent) in shared.agents_of(record) {
            let reported = agent.report.iter().flat_map(|report| &report.certificates);
            certificates.extend(reported.map(|it| judge(&record.name, &name, it.clone(), now)));
            if agent
                .report
                .as_ref()
                .is_none_or(|it| it.certificates.is_empty())
            {
                certificates.extend(agents_own(shared, record, &agent, now));
            }
        }
    }
    Ok(ShowCertificatesResponse { certificates })
}

/// Of a node that does not report: what the coordinator issued to its agent.
fn agents_own(
    shared: &Shared,
    record: &ClusterRecord,
    agent: &AgentState,
    now: i64,
) -> Option<NodeCertificate> {
    let node: Option<NodeRecord> = shared.store.read(&Key::node(&agent.node_id)).ok().flatten();
    let certificate = CertificateInfo {
        place: "as issued by the coordinator".into(),
        kind: "agent".into(),
        subject: agent.name.clone(),
        not_after_unix: node?.certificate_expires_unix,
        ..CertificateInfo::default()
    };
    Some(judge(&record.name, &agent.name, certificate, now))
}

fn judge(cluster: &str, node: &str, certificate: CertificateInfo, now: i64) -> NodeCertificate {
    let left = certificate.not_after_unix - now;
    let (state, next) = if certificate.problem.is_some() {
        (
            "unreadable",
            format!("on {node}: look at {}", certificate.place),
        )
    } else if left <= 0 {
        ("ended", next_step(cluster, node, &certificate))
    } else if left < SOON && left < lifetime(&certificate) / DUE_PART {
        ("ends-soon", next_step(cluster, node, &certificate))
    } else {
        ("ok", String::new())
    };
    NodeCertificate {
        cluster: cluster.to_owned(),
        node: node.to_owned(),
        certificate: Some(certificate),
        state: state.to_owned(),
        next,
    }
}

fn next_step(cluster: &str, node: &str, certificate: &CertificateInfo) -> String {
    if certificate.renewable {
        format!("quorate certificates renew --cluster {cluster} --node {node}")
    } else if certificate.authority {
        "an authority is not renewed by itself: plan its replacement".to_owned()
    } else {
        format!("on {node}: it renews itself; systemctl status kubelet quorate-agent")
    }
}

fn lifetime(certificate: &CertificateInfo) -> i64 {
    certificate.not_after_unix - certificate.not_before_unix
}

/// A renewal of the nodes whose certificates are due now.
pub fn due(
    record: &ClusterRecord,
    agents: &BTreeMap<String, AgentState>,
    now_ms: u64,
) -> Option<Renewal> {
    let now = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
    let is_due = |certificate: &CertificateInfo| {
        let lifetime = lifetime(certificate);
        let early = spread(&record.id) * (lifetime / SPREAD_PART) / 1_000;
        certificate.renewable
            && certificate.problem.is_none()
            && certificate.not_after_unix - now < lifetime / DUE_PART + early
    };
    let nodes: BTreeSet<NodeName> = record
        .spec
        .members()
        .filter(|node| {
            let agent = agents.get(&node.config.name).filter(|it| it.connected);
            let report = agent.and_then(|it| it.report.as_ref());
            report.is_some_and(|it| it.certificates.iter().any(is_due))
        })
        .map(|node| NodeName(node.config.name.clone()))
        .collect();
    (!nodes.is_empty()).then_some(Renewal {
        since_unix: now,
        nodes,
    })
}

/// 0 to 999, the same for the same cluster.
fn spread(id: &str) -> i64 {
    let sum = id.bytes().fold(7_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    i64::try_from(sum % 1_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(from_day: i64, to_day: i64) -> CertificateInfo {
        CertificateInfo {
            not_before_unix: from_day * DAY,
            not_after_unix: to_day * DAY,
            renewable: true,
            ..CertificateInfo::default()
        }
    }

    #[test]
    fn states_by_what_is_left() {
        for (from, to, at, state) in [
            (0, 365, 100, "ok"),
            (0, 365, 336, "ends-soon"),
            (0, 365, 365, "ended"),
            // A short-lived one that renews itself daily is not always about to end.
            (0, 2, 1, "ok"),
        ] {
            let judged = judge("c", "n", certificate(from, to), at * DAY);
            assert_eq!(judged.state, state, "{from}-{to} at {at}");
            assert_eq!(judged.next.is_empty(), state == "ok");
        }
    }

    #[test]
    fn the_spread_is_bounded_and_steady() {
        for id in ["", "a", "01j0000000000000000000000"] {
            assert!((0..1_000).contains(&spread(id)));
            assert_eq!(spread(id), spread(id));
        }
        assert_ne!(spread("a"), spread("b"));
    }
}
