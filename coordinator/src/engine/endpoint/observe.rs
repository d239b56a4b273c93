//! From reports to what the planner knows of the endpoint. Wire types meet planner types here and in the engine's `observe.rs`.

use crate::engine::balancer;
use crate::engine::observe::{Sources, fresh_report};
use crate::engine::records::ClusterRecord;
use crate::engine::wants;
use quorate_planner::facts::*;
use quorate_planner::intent::NodeName;
use quorate_proto::v1::{CarrierKind, ClusterObjects, Endpoint, NodeReport, ServingMember};
use std::collections::BTreeSet;

/// Requests that were not approved do not match their nodes; a kubelet makes a new one after about this long.
const LOOK_AGAIN_MS: u64 = 60_000;

pub fn endpoint(report: &NodeReport) -> Observed<EndpointFacts> {
    let Some(view) = &report.endpoint else {
        return Observed::Unknown;
    };
    Observed::Known(EndpointFacts {
        serving: view.serving.as_ref().map(|serving| ServingFacts {
            names: serving.names.iter().cloned().collect(),
            fingerprint: serving.fingerprint.clone(),
        }),
        carriers: view
            .carriers
            .iter()
            .map(|carrier| CarrierFacts {
                place: carrier.place.clone(),
                value: carrier.value.clone(),
                follows: carrier.kind() == CarrierKind::Follows,
            })
            .collect(),
    })
}

/// Unknown until the agent has reported certificates at all.
pub fn oldest_issue(report: &NodeReport) -> Observed<Option<i64>> {
    if report.certificates.is_empty() {
        return Observed::Unknown;
    }
    let renewable = report.certificates.iter().filter(|it| it.renewable);
    // Dated back when they were issued; whoever renews counts the same way.
    let back = i64::try_from(quorate_pki::SKEW.as_secs()).unwrap_or_default();
    Observed::Known(renewable.map(|it| it.not_before_unix + back).min())
}

/// As they were read last by any member, unless that was before we wrote them.
pub fn objects(sources: &Sources<'_>) -> Observed<ObjectFacts> {
    match newest_objects(sources) {
        None => Observed::Unknown,
        Some(objects) => Observed::Known(ObjectFacts {
            kubeadm: objects.kubeadm_endpoint,
            names: objects.kubeadm_names.into_iter().collect(),
            info: objects.info_endpoint,
            info_signed: objects.info_signed,
            proxy: objects.proxy_endpoint,
            proxies: objects
                .proxies
                .into_iter()
                .map(|(node, address)| (NodeName(node), address))
                .collect(),
            serving_requests: if sources.now.0.saturating_sub(sources.approved_ms) < LOOK_AGAIN_MS {
                BTreeSet::new()
            } else {
                objects.serving_requests.into_iter().map(NodeName).collect()
            },
        }),
    }
}

pub fn newest_objects(sources: &Sources<'_>) -> Option<ClusterObjects> {
    let reports = sources.intent.members().filter_map(|node| {
        let agent = sources.agents.get(&node.name.0)?;
        let objects = fresh_report(sources, agent)?
            .endpoint
            .as_ref()?
            .objects
            .as_ref()?;
        let read_ms = agent.reported_ms.saturating_sub(objects.age_ms.into());
        (read_ms >= sources.objects_ended_ms).then_some((read_ms, objects))
    });
    reports
        .max_by_key(|(at, _)| *at)
        .map(|(_, objects)| objects.clone())
}

/// Members that answer now, with what they present.
pub fn servers(facts: &Facts) -> Vec<ServingMember> {
    let answering = facts.nodes.iter().filter_map(|(name, node)| {
        let serving = node.endpoint.known()?.serving.as_ref()?;
        (node.connected && !facts.behind.contains(name)).then(|| ServingMember {
            name: name.0.clone(),
            fingerprint: serving.fingerprint.clone(),
        })
    });
    answering.collect()
}

/// Endpoints whose connections the agents count.
pub fn watched(record: &ClusterRecord) -> Vec<Endpoint> {
    let Some(rotation) = &record.rotation else {
        return Vec::new();
    };
    let other = rotation.other.iter();
    other
        .chain([&rotation.target])
        .map(wants::endpoint)
        .collect()
}

/// Who dials the address that goes.
#[derive(Default)]
pub struct Dialers {
    /// Whether everybody who can be reached was asked.
    pub known: bool,
    pub by: Vec<String>,
    /// Connections that came through load balancers that serve nothing else, so far.
    pub so_far: u64,
}

pub fn dialers(sources: &Sources<'_>) -> Dialers {
    let record = sources.record;
    let other = record.rotation.as_ref().and_then(|it| it.other.clone());
    let Some(other) = other else {
        return Dialers::default();
    };
    let mut dialers = Dialers {
        known: true,
        ..Dialers::default()
    };
    let watched = wants::endpoint(&other);
    for node in &sources.intent.nodes {
        let Some(agent) = sources.agents.get(&node.name.0).filter(|it| it.connected) else {
            continue; // waited for elsewhere
        };
        let Some(report) = fresh_report(sources, agent) else {
            dialers.known = false;
            continue;
        };
        if node.balancer {
            count_clients(record, &node.name.0, report, &mut dialers);
        }
        // A member goes on calling its own address, whatever the endpoint is.
        if !(node.member || node.worker) || node.address == other.host {
            continue;
        }
        let dials = report.endpoint.iter().flat_map(|view| &view.dials);
        match dials
            .into_iter()
            .find(|it| it.endpoint.as_ref() == Some(&watched))
        {
            None => dialers.known = false,
            Some(count) if count.established == 0 => {}
            Some(count) => dialers.by.push(format!(
                "{} ({} connections{})",
                node.name,
                count.established,
                programs(&count.programs)
            )),
        }
    }
    dialers
}

fn programs(programs: &[String]) -> String {
    let distinct: BTreeSet<&str> = programs.iter().map(String::as_str).collect();
    if distinct.is_empty() {
        return String::new();
    }
    let list: Vec<&str> = distinct.into_iter().collect();
    format!(": {}", list.join(", "))
}

fn count_clients(record: &ClusterRecord, node: &str, report: &NodeReport, dialers: &mut Dialers) {
    let leaving = balancer::leaving_frontends(record, node);
    let view = report.load_balancer.iter().flat_map(|view| &view.frontends);
    for frontend in view.filter(|it| leaving.contains(&it.name)) {
        dialers.so_far += frontend.total;
        if frontend.current > 0 {
            dialers.by.push(format!(
                "{} clients of the front end {} on {node}",
                frontend.current, frontend.name
            ));
        }
    }
}
