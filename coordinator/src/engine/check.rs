//! `quorate check`: asks every node to examine itself, and adds what only the coordinator sees. Also signs users' certificates
//! through a member, because the cluster's authorities never leave its members.

use super::handle::unknown_cluster;
use super::lower::Ground;
use super::plan::current_facts;
use super::records::ClusterRecord;
use super::shared::Shared;
use super::{status, wants};
use quorate_planner::intent::{Intent, NodeName};
use quorate_planner::side;
use quorate_planner::time::Time;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::sync::Arc;
use std::time::Duration;

/// A node's own checks are bounded to less than this; slower means that it is in trouble.
const CHECK_SECONDS: u32 = 20;
/// Largest validity that is signed for a user: longer ones belong to a renewal.
const MAX_USER_SECONDS: u32 = 365 * 24 * 3600;

pub async fn check(shared: &Arc<Shared>, name: &str) -> Result<CheckResponse, Problem> {
    let records = if name.is_empty() {
        shared.clusters()?
    } else {
        vec![shared.cluster(name)?.ok_or_else(|| unknown_cluster(name))?]
    };
    let mut lines = Vec::new();
    for record in &records {
        // Nothing of it is to run, or to be well yet.
        if let Some(problem) = super::shutdown::in_the_way(record) {
            lines.push(CheckLine {
                category: "cluster".into(),
                node: record.name.clone(),
                finding: Some(finding("Stopped", Severity::Warning, Some(problem))),
            });
            continue;
        }
        let asked: Vec<_> = record
            .spec
            .nodes
            .iter()
            .map(|node| {
                tokio::spawn(ask_node(
                    Arc::clone(shared),
                    record.clone(),
                    node.config.name.clone(),
                ))
            })
            .collect();
        lines.extend(cluster_lines(shared, record)?);
        for task in asked {
            lines.extend(task.await.unwrap_or_default());
        }
    }
    Ok(CheckResponse { lines })
}

async fn ask_node(shared: Arc<Shared>, record: ClusterRecord, node: String) -> Vec<CheckLine> {
    let order = ground(&shared, &record, &wants::intent(&record)).order(
        &node,
        CHECK_SECONDS,
        Action::Check(Check {}),
    );
    let answer = shared
        .ask(
            &node,
            order,
            Duration::from_secs(u64::from(CHECK_SECONDS) + 5),
        )
        .await;
    let line = |finding| CheckLine {
        category: "node".into(),
        node: node.clone(),
        finding: Some(finding),
    };
    match answer {
        Err(problem) => vec![line(finding("Agent", Severity::Fatal, Some(problem)))],
        Ok(done) => {
            let result = done.result.unwrap_or_default();
            let mut lines = vec![line(finding("Agent", Severity::Ok, None))];
            lines.extend(result.findings.into_iter().map(line));
            if let Some(problem) = result.problem {
                lines.push(line(finding("Check", Severity::Fatal, Some(problem))));
            }
            lines
        }
    }
}

fn cluster_lines(shared: &Shared, record: &ClusterRecord) -> Result<Vec<CheckLine>, Problem> {
    let answer = status::status(shared, &record.name)?;
    let status = answer.clusters.into_iter().next().unwrap_or_default();
    let etcd = status.etcd.unwrap_or_default();
    let line = |finding| CheckLine {
        category: "cluster".into(),
        node: record.name.clone(),
        finding: Some(finding),
    };
    let mut lines = Vec::new();
    let members = if !etcd.known {
        Some(
            Problem::new("etcd-unknown", "no member gives a linearizable member list")
                .because("quorum is lost, or no member's agent is connected")
                .next("quorate nodes; journalctl -u quorate-agent on a member"),
        )
    } else if etcd.healthy_voters < etcd.voters {
        Some(
            Problem::new(
                "etcd-degraded",
                format!(
                    "{} of {} voters are healthy; {} more may fail",
                    etcd.healthy_voters,
                    etcd.voters,
                    etcd.failure_tolerance.max(0)
                ),
            )
            .next(format!("quorate status {} names the member", record.name)),
        )
    } else {
        None
    };
    let severity = match (&members, etcd.known && etcd.failure_tolerance >= 0) {
        (None, _) => Severity::Ok,
        (Some(_), true) => Severity::Warning,
        (Some(_), false) => Severity::Fatal,
    };
    lines.push(line(finding("EtcdQuorum", severity, members)));
    for balancer in &status.load_balancers {
        let problem = (!balancer.running).then(|| {
            Problem::new(
                "load-balancer-down",
                format!("the load balancer on {} does not run", balancer.node),
            )
            .at(balancer.node.clone())
            .because(balancer.detail.clone())
            .next(format!("on {}: systemctl status haproxy", balancer.node))
        });
        let severity = if problem.is_some() {
            Severity::Fatal
        } else {
            Severity::Ok
        };
        lines.push(line(finding("LoadBalancer", severity, problem)));
    }
    let agents = shared.agents_of(record);
    for problem in super::dead::shown::findings(record, &agents) {
        lines.push(line(finding("DeadNodes", Severity::Warning, Some(problem))));
    }
    let overdue = super::snapshots::overdue(shared, record);
    let severity = match &overdue {
        Some(_) => Severity::Warning,
        None => Severity::Ok,
    };
    lines.push(line(finding("Snapshots", severity, overdue)));
    lines.extend(endpoint_lines(shared, record)?.into_iter().map(line));
    for notice in answer.notices {
        let problem = Problem::new("store-notice", notice).at("the coordinator's state");
        lines.push(line(finding("Store", Severity::Warning, Some(problem))));
    }
    Ok(lines)
}

/// Carriers of another address than the cluster's, and members whose certificates lack a name.
fn endpoint_lines(shared: &Shared, record: &ClusterRecord) -> Result<Vec<Finding>, Problem> {
    let shown = super::endpoint::show::show(shared, &record.name)?;
    let repair = format!("quorate endpoint repair --cluster {}", record.name);
    let mut findings = Vec::new();
    for carrier in shown.carriers.iter().filter(|it| it.state == "stray") {
        let problem = Problem::new(
            "endpoint-stray",
            format!("{} holds {:?}", carrier.place, carrier.value),
        );
        let at = if carrier.node.is_empty() {
            record.name.clone()
        } else {
            carrier.node.clone()
        };
        let problem = problem
            .at(at)
            .because("it was changed by hand, or restored from an older copy")
            .next(repair.clone());
        findings.push(finding("Endpoint", Severity::Warning, Some(problem)));
    }
    for member in shown
        .members
        .iter()
        .filter(|it| it.known && !it.missing.is_empty())
    {
        let problem = Problem::new(
            "endpoint-name-missing",
            format!(
                "the certificate that it serves lacks {}",
                member.missing.join(", ")
            ),
        );
        let problem = problem.at(member.node.clone()).next(repair.clone());
        findings.push(finding("Endpoint", Severity::Warning, Some(problem)));
    }
    if findings.is_empty() {
        findings.push(finding("Endpoint", Severity::Ok, None));
    }
    Ok(findings)
}

fn finding(name: &str, severity: Severity, problem: Option<Problem>) -> Finding {
    Finding {
        name: name.to_owned(),
        severity: severity as i32,
        problem,
    }
}

pub async fn sign_user(
    shared: &Arc<Shared>,
    caller: &str,
    request: SignUserRequest,
) -> Result<SignUserResponse, Problem> {
    let record = shared
        .cluster(&request.cluster)?
        .ok_or_else(|| unknown_cluster(&request.cluster))?;
    let intent = wants::intent(&record);
    let now = Time(shared.now_ms());
    let facts = current_facts(shared, &record, &intent, now)?;
    let member: NodeName = side::api_member(&facts, &intent).ok_or_else(|| {
        Problem::new(
            "cluster-not-ready",
            "no member serves now, so nothing can be signed",
        )
        .at(record.name.clone())
        .next(format!("quorate status {}", record.name))
    })?;
    let kubeadm = record.spec.is_kubeadm();
    let action = Action::SignClient(SignClient {
        csr_pem: request.csr_pem,
        common_name: request.user.clone(),
        // kubeadm's own group of administrators, bound to cluster-admin by a binding that can be withdrawn.
        organization: if kubeadm {
            vec!["kubeadm:cluster-admins".into()]
        } else {
            Vec::new()
        },
        validity_seconds: request.validity_seconds.min(MAX_USER_SECONDS),
    });
    let audit = crate::store::Transaction::new().audit(
        caller,
        "sign-user",
        format!(
            "{}: {} for {} s",
            record.name, request.user, request.validity_seconds
        ),
    );
    shared
        .store
        .commit(audit)
        .await
        .map_err(super::shared::stored)?;
    let order = ground(shared, &record, &intent).order(&member.0, CHECK_SECONDS, action);
    let done = shared
        .ask(
            &member.0,
            order,
            Duration::from_secs(u64::from(CHECK_SECONDS) + 5),
        )
        .await?;
    let result = done.result.unwrap_or_default();
    if result.status() != OrderStatus::Succeeded {
        return Err(result.problem.unwrap_or_default());
    }
    Ok(SignUserResponse {
        certificate_pem: result.client_certificate_pem,
        authority_pem: result.authority_pem,
        endpoint: record.spec.cluster.endpoint.clone(),
        distribution: record.spec.cluster.distribution,
        cluster: record.name,
    })
}

fn ground<'a>(shared: &'a Shared, record: &'a ClusterRecord, intent: &'a Intent) -> Ground<'a> {
    Ground {
        record,
        intent,
        epoch: shared.epoch,
        now_ms: shared.now_ms(),
        ids: &shared.ids,
        operation: "",
        artifacts: &|_, _| Vec::new(),
        servers: Vec::new(),
        leases: Default::default(),
    }
}
