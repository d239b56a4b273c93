//! What operators may ask for. Everything is refused or taken as an operation; nothing waits here.

use super::{precheck, refuse};
use crate::engine::operation::{self, Asked};
use crate::engine::plan::{current_facts, wire_stage};
use crate::engine::records::ClusterRecord;
use crate::engine::shared::{Shared, stored};
use crate::engine::{apply, wants};
use crate::store::{Entry, Key, Transaction};
use quorate_pki::Name;
use quorate_planner::endpoint::{Renewal, Rotation, Stage};
use quorate_planner::intent::NodeName;
use quorate_planner::predict;
use quorate_planner::time::Time;
use quorate_proto::v1::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The longest soak: beyond it somebody has mixed up units.
const MAX_SOAK_SECONDS: u32 = 7 * 24 * 3600;

pub async fn plan_rotation(
    shared: &Arc<Shared>,
    request: &RotateEndpointRequest,
) -> Result<PlanRotationResponse, Problem> {
    let record = refuse::known(shared, &request.cluster)?.value;
    let target = refuse::target(&record, request.to.as_ref())?;
    let from = record.spec.cluster.endpoint.clone();
    let mut answer = PlanRotationResponse {
        cluster: record.name.clone(),
        from,
        to: Some(wants::endpoint(&target)),
        revision: record.revision,
        ..PlanRotationResponse::default()
    };
    if is_there_already(&record, request)? {
        answer.nothing_to_do = true;
        return Ok(answer);
    }
    let rotation = match wanted_rotation(shared, request) {
        Ok((_, rotation)) => rotation,
        Err(problem) => {
            answer.refusals.push(problem);
            return Ok(answer);
        }
    };
    answer.refusals = precheck::refusals(shared, &record, &rotation).await?;
    let planned = ClusterRecord {
        rotation: Some(rotation),
        ..record
    };
    let intent = wants::intent(&planned);
    let now = Time(shared.now_ms());
    let facts = current_facts(shared, &planned, &intent, now)?;
    answer.warnings = precheck::warnings(&planned, &facts, &intent);
    let stages = predict::unroll_rotation(&facts, &intent, now);
    answer.stages = stages.iter().map(|it| wire_stage(it, &planned)).collect();
    Ok(answer)
}

fn is_there_already(
    record: &ClusterRecord,
    request: &RotateEndpointRequest,
) -> Result<bool, Problem> {
    let target = refuse::target(record, request.to.as_ref())?;
    let present = wants::address(record.spec.cluster.endpoint.as_ref());
    Ok(record.rotation.is_none() && present == target)
}

/// The rotation that is asked for: a new one, or the one under way if it has the same target.
fn wanted_rotation(
    shared: &Shared,
    request: &RotateEndpointRequest,
) -> Result<(Entry<ClusterRecord>, Rotation), Problem> {
    let entry = refuse::known(shared, &request.cluster)?;
    let target = refuse::target(&entry.value, request.to.as_ref())?;
    if let Some(under_way) = &entry.value.rotation
        && under_way.target == target
        && under_way.other.is_some()
    {
        let rotation = under_way.clone();
        return Ok((entry, rotation));
    }
    let entry = refuse::free(shared, &request.cluster)?;
    let record = &entry.value;
    if request.soak_seconds > MAX_SOAK_SECONDS {
        return Err(Problem::new(
            "invalid-soak",
            format!("a soak of {} s is more than a week", request.soak_seconds),
        ));
    }
    let members = || record.spec.members();
    let to_member = members().any(|node| node.config.address == target.host);
    let balancers = record
        .spec
        .nodes
        .iter()
        .any(|node| node.config.load_balancer);
    let external = request.external || !(to_member || balancers);
    if !external && let Some(problem) = refuse::port_taken(record, &target) {
        return Err(problem);
    }
    let rotation = Rotation {
        target,
        other: Some(wants::address(record.spec.cluster.endpoint.as_ref())),
        stage: Stage::Accept,
        drop: BTreeSet::new(),
        soak_ms: u64::from(request.soak_seconds) * 1_000,
        without_absent: false,
        hurry: false,
        rolling_back: false,
        external,
        other_external: record.external,
    };
    Ok((entry, rotation))
}

pub async fn rotate(
    shared: &Arc<Shared>,
    caller: &str,
    request: &RotateEndpointRequest,
) -> Result<ApplyResponse, Problem> {
    let record = refuse::known(shared, &request.cluster)?.value;
    if is_there_already(&record, request)? {
        return Ok(ApplyResponse {
            operation: String::new(),
            nothing_to_do: true,
        });
    }
    let (entry, rotation) = wanted_rotation(shared, request)?;
    if entry.value.rotation.is_some()
        && let Some(operation) = &entry.value.operation
    {
        return Ok(running(operation));
    }
    as_shown(&entry.value, request.expected_revision)?;
    let refusals = precheck::refusals(shared, &entry.value, &rotation).await?;
    if !refusals.is_empty() {
        return Err(apply::first_of(refusals));
    }
    begin(shared, caller, "endpoint-rotate", entry, |record| {
        record.rotation = Some(rotation);
    })
    .await
}

/// What the operator said yes to is what begins.
fn as_shown(record: &ClusterRecord, expected: u64) -> Result<(), Problem> {
    if expected == 0 || expected == record.revision {
        return Ok(());
    }
    Err(Problem::new(
        "refused-conflict",
        format!(
            "the cluster is at revision {}, the plan was made at {expected}",
            record.revision
        ),
    )
    .at(&record.name)
    .because("somebody else changed the cluster meanwhile")
    .next("the same command again: it shows the plan as it is now"))
}

pub async fn roll_back(
    shared: &Arc<Shared>,
    caller: &str,
    cluster: &str,
) -> Result<ApplyResponse, Problem> {
    let entry = refuse::known(shared, cluster)?;
    let Some(rotation) = &entry.value.rotation else {
        return Err(Problem::new(
            "refused-no-rotation",
            "no rotation is under way that could be rolled back",
        )
        .at(cluster)
        .next(format!(
            "to move the endpoint again: quorate endpoint rotate --cluster {cluster} HOST:PORT"
        )));
    };
    if rotation.rolling_back
        && let Some(operation) = &entry.value.operation
    {
        return Ok(running(operation));
    }
    let back = rotation.reversed().ok_or_else(|| {
        Problem::new(
            "refused-dropped",
            format!(
                "certificates are losing the old name already: {}",
                rotation.stage.word()
            ),
        )
        .at(cluster)
        .next("let it end, then rotate to the old address as to a new one")
    })?;
    begin(shared, caller, "endpoint-rollback", entry, |record| {
        if back.stage >= Stage::Switch && back.stage < Stage::Drop {
            record.spec.cluster.endpoint = Some(wants::endpoint(&back.target));
            record.external = back.external;
        }
        record.rotation = Some(back);
    })
    .await
}

/// The operator's word: the rest of the soak is not waited for, nor nodes that are down if that is said too.
pub async fn drop_old(
    shared: &Arc<Shared>,
    caller: &str,
    request: &DropEndpointRequest,
) -> Result<ApplyResponse, Problem> {
    let entry = refuse::known(shared, &request.cluster)?;
    let ready = entry
        .value
        .rotation
        .as_ref()
        .is_some_and(|rotation| rotation.other.is_some() && rotation.stage >= Stage::Switch);
    if !ready {
        return Err(Problem::new(
            "refused-no-rotation",
            "there is no address that could be dropped now",
        )
        .at(request.cluster.clone())
        .because("no rotation is under way, or not everything has moved to the new address yet")
        .next(format!(
            "quorate endpoint show --cluster {}",
            request.cluster
        )));
    }
    let word = |record: &mut ClusterRecord| {
        if let Some(rotation) = &mut record.rotation {
            rotation.hurry = true;
            rotation.without_absent |= request.without_absent;
        }
    };
    let Some(operation) = entry.value.operation.clone() else {
        return begin(shared, caller, "endpoint-drop", entry, word).await;
    };
    // The rotation under way goes on with it.
    let mut record = entry.value;
    word(&mut record);
    let key = Key::cluster(&record.name);
    let transaction = Transaction::new()
        .unchanged(key.clone(), entry.revision)
        .put(key, &record)
        .audit(caller, "endpoint-drop", record.name.clone());
    shared.store.commit(transaction).await.map_err(stored)?;
    shared.wake(&record.name);
    Ok(running(&operation))
}

/// Nothing moves; whoever holds something else is brought back in line. Nodes that are away are left for their return.
pub fn repair_of(record: &ClusterRecord) -> Rotation {
    Rotation {
        target: wants::address(record.spec.cluster.endpoint.as_ref()),
        other: None,
        stage: Stage::Accept,
        drop: record.gone.clone(),
        soak_ms: 0,
        without_absent: true,
        hurry: true,
        rolling_back: false,
        external: record.external,
        other_external: record.external,
    }
}

pub async fn repair(
    shared: &Arc<Shared>,
    caller: &str,
    cluster: &str,
) -> Result<ApplyResponse, Problem> {
    let entry = refuse::free(shared, cluster)?;
    begin(shared, caller, "endpoint-repair", entry, |record| {
        record.rotation = Some(repair_of(record));
    })
    .await
}

pub async fn set_names(
    shared: &Arc<Shared>,
    caller: &str,
    request: &SetNamesRequest,
) -> Result<ApplyResponse, Problem> {
    let entry = refuse::free(shared, &request.cluster)?;
    let normal = |names: &[String]| -> Result<BTreeSet<String>, Problem> {
        names.iter().map(|name| normalized(name)).collect()
    };
    let (add, drop) = (normal(&request.add)?, normal(&request.drop)?);
    let endpoint = wants::address(entry.value.spec.cluster.endpoint.as_ref());
    if let Some(name) = drop.iter().find(|name| **name == endpoint.host) {
        return Err(
            Problem::new("refused-name", format!("{name} is the cluster's endpoint"))
                .next("move the endpoint first: quorate endpoint rotate"),
        );
    }
    let present: BTreeSet<String> = entry
        .value
        .spec
        .cluster
        .extra_names
        .iter()
        .cloned()
        .collect();
    let wanted: BTreeSet<String> = present
        .union(&add)
        .filter(|it| !drop.contains(*it))
        .cloned()
        .collect();
    if wanted == present && drop.is_empty() {
        return Ok(ApplyResponse {
            operation: String::new(),
            nothing_to_do: true,
        });
    }
    begin(shared, caller, "certificates-set-names", entry, |record| {
        record.spec.cluster.extra_names = wanted.into_iter().collect();
        let rotation = repair_of(record);
        let drop = drop.union(&rotation.drop).cloned().collect();
        record.rotation = Some(Rotation { drop, ..rotation });
    })
    .await
}

fn normalized(name: &str) -> Result<String, Problem> {
    match Name::parse(name) {
        Ok(Name::Ip(ip)) => Ok(ip.to_string()),
        Ok(Name::Dns(host)) => Ok(host),
        Err(error) => Err(Problem::new("invalid-name", error.to_string())
            .at(name)
            .next("name IPv4 or IPv6 addresses or DNS names")),
    }
}

pub async fn renew(
    shared: &Arc<Shared>,
    caller: &str,
    request: &RenewClusterCertificatesRequest,
) -> Result<ApplyResponse, Problem> {
    let entry = refuse::free(shared, &request.cluster)?;
    let members: BTreeSet<String> = entry
        .value
        .spec
        .members()
        .map(|it| it.config.name.clone())
        .collect();
    if let Some(other) = request.nodes.iter().find(|name| !members.contains(*name)) {
        return Err(Problem::new(
            "invalid-node",
            format!("{other} has no certificates that are renewed here"),
        )
        .because("only members have; a kubelet renews its own certificate by itself")
        .next(format!("quorate certificates {}", request.cluster)));
    }
    let nodes = if request.nodes.is_empty() {
        members
    } else {
        request.nodes.iter().cloned().collect()
    };
    let renewal = Renewal {
        since_unix: i64::try_from(shared.now_ms() / 1_000).unwrap_or(i64::MAX),
        nodes: nodes.into_iter().map(NodeName).collect(),
    };
    begin(shared, caller, "certificates-renew", entry, |record| {
        record.renewal = Some(renewal);
    })
    .await
}

fn running(operation: &str) -> ApplyResponse {
    ApplyResponse {
        operation: operation.to_owned(),
        nothing_to_do: false,
    }
}

async fn begin(
    shared: &Arc<Shared>,
    caller: &str,
    kind: &str,
    entry: Entry<ClusterRecord>,
    change: impl FnOnce(&mut ClusterRecord),
) -> Result<ApplyResponse, Problem> {
    let mut record = entry.value;
    change(&mut record);
    let asked = Asked { caller, kind };
    let known = Some(entry.revision);
    operation::begin(shared, &asked, record, known, Transaction::new()).await
}
