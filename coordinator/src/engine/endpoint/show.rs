//! Where the endpoint stands: every place that carries it, and what each holds.

use super::refuse;
use crate::engine::agents::AgentState;
use crate::engine::plan::current_facts;
use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use crate::engine::wants;
use crate::spec::file::Mode;
use quorate_planner::facts::{Facts, Observed};
use quorate_planner::intent::{Intent, NodeName};
use quorate_planner::rotation::{self, names};
use quorate_planner::time::Time;
use quorate_proto::v1::*;
use std::collections::BTreeMap;

pub fn show(shared: &Shared, cluster: &str) -> Result<ShowEndpointResponse, Problem> {
    let record = refuse::known(shared, cluster)?.value;
    let intent = wants::intent(&record);
    let now = Time(shared.now_ms());
    let facts = current_facts(shared, &record, &intent, now)?;
    let agents = shared.agents_of(&record);
    let turn = rotation::next(&facts, &intent, now);
    let rotation = record.rotation.as_ref().map(|rotation| {
        let (from, to) = (rotation.other.as_ref(), &rotation.target);
        RotationInfo {
            operation: record.operation.clone().unwrap_or_default(),
            from: from.map(wants::endpoint),
            to: Some(wants::endpoint(to)),
            stage: rotation.stage.word().to_owned(),
            rolling_back: rotation.rolling_back,
            waiting_on: turn.waits.iter().map(ToString::to_string).collect(),
            behind: turn.behind.iter().map(|node| node.0.clone()).collect(),
            soak_ends_unix_ms: facts.quiet_since.map_or(0, |since| {
                i64::try_from(since.plus(rotation.soak_ms).0).unwrap_or(i64::MAX)
            }),
        }
    });
    Ok(ShowEndpointResponse {
        cluster: record.name.clone(),
        endpoint: record.spec.cluster.endpoint.clone(),
        served_by: served_by(&record).to_owned(),
        rotation,
        carriers: carriers(&record, &intent, &facts, &agents),
        members: members(&intent, &facts),
    })
}

fn served_by(record: &ClusterRecord) -> &'static str {
    let host = record.spec.cluster.endpoint.as_ref().map(|it| &it.host);
    let member = record
        .spec
        .members()
        .any(|node| Some(&node.config.address) == host);
    if member {
        return "first-member";
    }
    match record.spec.mode {
        Mode::None | Mode::External | Mode::Managed if record.external => "external",
        Mode::None => "first-member",
        Mode::External => "external",
        Mode::Managed => "managed",
    }
}

fn members(intent: &Intent, facts: &Facts) -> Vec<MemberNames> {
    let one = |node: &quorate_planner::intent::NodeIntent| {
        let known = facts.node(&node.name);
        let serving = known.endpoint.known().and_then(|it| it.serving.as_ref());
        let served = serving.map(|it| it.names.clone()).unwrap_or_default();
        let (missing, _) = names::difference(&served, intent, node);
        MemberNames {
            node: node.name.0.clone(),
            names: served.into_iter().collect(),
            missing: missing.into_iter().collect(),
            known: serving.is_some(),
        }
    };
    intent.members().map(one).collect()
}

struct Judge {
    wanted: String,
    other: Option<String>,
}

impl Judge {
    fn state(&self, kind: CarrierKind, value: &str) -> &'static str {
        match kind {
            CarrierKind::Local => "local",
            CarrierKind::Outside | CarrierKind::User | CarrierKind::Unspecified
                if value == self.wanted =>
            {
                "in-line"
            }
            CarrierKind::Outside | CarrierKind::Unspecified => "outside",
            CarrierKind::User | CarrierKind::Follows if value == self.wanted => "in-line",
            CarrierKind::User | CarrierKind::Follows if Some(value) == self.other.as_deref() => {
                "earlier"
            }
            CarrierKind::User => "outside",
            CarrierKind::Follows => "stray",
        }
    }

    fn carrier(&self, node: &str, place: &str, value: &str, kind: CarrierKind) -> EndpointCarrier {
        let state = self.state(kind, value);
        let next = match state {
            "stray" => "quorate endpoint repair",
            "outside" => "quorate does not change it: set it to the endpoint by hand",
            _ => "",
        };
        EndpointCarrier {
            node: node.to_owned(),
            place: place.to_owned(),
            value: value.to_owned(),
            state: state.to_owned(),
            next: next.to_owned(),
        }
    }
}

fn carriers(
    record: &ClusterRecord,
    intent: &Intent,
    facts: &Facts,
    agents: &BTreeMap<String, AgentState>,
) -> Vec<EndpointCarrier> {
    let other = record.rotation.as_ref().and_then(|it| {
        let other = it.other.as_ref()?;
        let present = &intent.endpoint.address;
        Some(if present == other { &it.target } else { other }.to_string())
    });
    let judge = Judge {
        wanted: intent.endpoint.address.to_string(),
        other,
    };
    let mut carriers = objects(&judge, facts, agents);
    for node in intent
        .nodes
        .iter()
        .filter(|node| node.member || node.worker)
    {
        let reported = facts.node(&node.name).connected;
        let report = agents.get(&node.name.0).and_then(|it| it.report.as_ref());
        match report
            .and_then(|it| it.endpoint.as_ref())
            .filter(|_| reported)
        {
            None => carriers.push(EndpointCarrier {
                node: node.name.0.clone(),
                state: "unknown".into(),
                next: format!("on {}: systemctl status quorate-agent", node.name),
                ..EndpointCarrier::default()
            }),
            Some(view) => carriers.extend(
                view.carriers
                    .iter()
                    .map(|it| judge.carrier(&node.name.0, &it.place, &it.value, it.kind())),
            ),
        }
    }
    carriers
}

/// The cluster's own objects. Nothing for a cluster without an API server.
fn objects(
    judge: &Judge,
    facts: &Facts,
    agents: &BTreeMap<String, AgentState>,
) -> Vec<EndpointCarrier> {
    let Observed::Known(objects) = &facts.objects else {
        return Vec::new();
    };
    let follows = CarrierKind::Follows;
    let mut carriers = vec![
        judge.carrier(
            "",
            "ConfigMap kube-system/kubeadm-config",
            &objects.kubeadm,
            follows,
        ),
        judge.carrier(
            "",
            "ConfigMap kube-public/cluster-info",
            &objects.info,
            follows,
        ),
    ];
    if !objects.info_signed {
        carriers.push(EndpointCarrier {
            place: "signatures of kube-public/cluster-info".into(),
            state: "stray".into(),
            next: "look at kube-controller-manager: it signs for each bootstrap token".into(),
            ..EndpointCarrier::default()
        });
    }
    if !objects.proxy.is_empty() {
        carriers.push(judge.carrier(
            "",
            "ConfigMap kube-system/kube-proxy",
            &objects.proxy,
            follows,
        ));
    }
    for (NodeName(node), value) in &objects.proxies {
        // A pod from before the first rotation says nothing of what it was started for: as kubeadm made it.
        let value = if value.is_empty() {
            &objects.proxy
        } else {
            value
        };
        carriers.push(judge.carrier(node, "kube-proxy's pod", value, follows));
    }
    let outside = agents
        .values()
        .filter_map(|agent| agent.report.as_ref()?.endpoint.as_ref()?.objects.as_ref())
        .flat_map(|objects| &objects.outside);
    let mut seen = std::collections::BTreeSet::new();
    for carrier in outside {
        if seen.insert(&carrier.place) {
            carriers.push(judge.carrier("", &carrier.place, &carrier.value, CarrierKind::Outside));
        }
    }
    carriers
}
