//! What there is to say, from what is in memory. Labels of certificates are what agents report, so they are bounded.

use super::render::{Gauge, Labels};
use crate::serve::VERSION;
use crate::server::Parts;
use quorate_proto::v1::{CertificateInfo, Problem, StatusRequest};
use std::collections::BTreeMap;

/// A control plane has about twenty certificates, with kubeconfigs of its users some more.
const CERTIFICATES_A_NODE: usize = 200;
/// Characters of a label's value; paths are shorter.
const LABEL: usize = 256;

/// The node of what belongs to the coordinator.
const COORDINATOR: &str = "coordinator";
/// The place of an agent's certificate as it was issued: what its node holds is reported beside it.
const ISSUED: &str = "issued";

pub async fn collect(parts: &Parts) -> Result<Vec<Gauge>, Problem> {
    let views = parts.sessions.snapshot();
    let nodes = parts.authority.nodes()?;
    let enrolled: Vec<_> = nodes
        .iter()
        .filter(|node| node.revoked_unix.is_none())
        .collect();
    let clusters = clusters(parts).await;
    let cluster = |node: &str| clusters.get(node).cloned().unwrap_or_default();
    let mut certificates = Certificates::new();
    for own in parts.authority.own_certificates()? {
        certificates.end("", COORDINATOR, own.kind, &own.place, own.ends_unix);
    }
    for node in &enrolled {
        let ends = node.certificate_expires_unix;
        certificates.end(&cluster(&node.name), &node.name, "agent", ISSUED, ends);
    }
    for view in views.values() {
        if let Some(report) = &view.report {
            let of = cluster(&view.name);
            let all = report.certificates.iter().take(CERTIFICATES_A_NODE);
            all.for_each(|one| certificates.reported(&of, &view.name, one));
        }
    }
    let connected = views.values().filter(|view| view.connected).count();
    let mut build = Gauge::new(
        "quorate_build_info",
        "Version of the running coordinator; the value is 1.",
    );
    build.lower(vec![("version", VERSION.to_owned())], 1);
    Ok(vec![
        build,
        Gauge::single(
            "quorate_agents_connected",
            "Nodes whose agent has a session now.",
            number(connected),
        ),
        Gauge::single(
            "quorate_agents_enrolled",
            "Nodes that are enrolled and not revoked.",
            number(enrolled.len()),
        ),
        certificates.ends,
        certificates.unreadable,
    ])
}

/// Node -> cluster. Without the engine's answer the rest is still of use.
async fn clusters(parts: &Parts) -> BTreeMap<String, String> {
    let status = parts.engine.status("metrics", StatusRequest::default());
    let clusters = status
        .await
        .map(|status| status.clusters)
        .unwrap_or_default();
    let mut found = BTreeMap::new();
    for cluster in clusters {
        for node in cluster.nodes {
            found.insert(node.name, cluster.name.clone());
        }
    }
    found
}

struct Certificates {
    ends: Gauge,
    unreadable: Gauge,
}

impl Certificates {
    fn new() -> Self {
        Certificates {
            ends: Gauge::new(
                "quorate_certificate_expiry_timestamp_seconds",
                "When a certificate ends, in seconds since 1970.",
            ),
            unreadable: Gauge::new(
                "quorate_certificate_unreadable",
                "1 for a certificate that a node could not read or that does not fit its key or authority.",
            ),
        }
    }

    fn reported(&mut self, cluster: &str, node: &str, one: &CertificateInfo) {
        // 0: not known, and never a certificate's end in 1970.
        if one.not_after_unix != 0 {
            self.end(cluster, node, &one.kind, &one.place, one.not_after_unix);
        }
        if one.problem.is_some() {
            let labels = labels(cluster, node, &one.kind, &one.place);
            self.unreadable.lower(labels, 1);
        }
    }

    fn end(&mut self, cluster: &str, node: &str, kind: &str, place: &str, unix: i64) {
        self.ends.lower(labels(cluster, node, kind, place), unix);
    }
}

fn labels(cluster: &str, node: &str, kind: &str, place: &str) -> Labels {
    let short = |text: &str| text.chars().take(LABEL).collect();
    vec![
        ("cluster", short(cluster)),
        ("node", short(node)),
        ("kind", short(kind)),
        ("place", short(place)),
    ]
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
