//! Snapshots of etcd: taken when the newest is too old, on two members of the cluster, and when an operator asks. What there is
//! stands in the members' reports, so that nothing of it has to be remembered here.

use super::handle::unknown_cluster;
use super::lower::Ground;
use super::records::ClusterRecord;
use super::shared::Shared;
use super::wants;
use quorate_planner::intent::Intent;
use quorate_proto::v1::order::Action;
use quorate_proto::v1::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Members that hold a snapshot of each time: one may be lost with its machine.
const COPIES: usize = 2;
/// How often it is looked whether one is due; the shortest interval between two is ten minutes.
const LOOK: Duration = Duration::from_secs(30);
/// Before the same node is asked again by the schedule: what failed once fails for longer than a moment, and what succeeded is in
/// the next report.
const AGAIN_MS: u64 = 5 * 60 * 1_000;
/// The largest database, 8 GiB, at 20 MiB/s.
const TAKE_SECONDS: u32 = 420;
/// The same over 20 Mbit/s.
const SEND_SECONDS: u32 = 3_600;
/// Clusters whose snapshots are taken at the same time.
const CLUSTERS_AT_ONCE: usize = 16;

/// One member, as its last report shows it.
#[derive(Clone, Debug, PartialEq)]
struct MemberView {
    node: String,
    /// A voter that answers now, with a quorum behind it.
    able: bool,
    leader: bool,
    newest_ms: Option<u64>,
}

/// The schedule of all clusters; runs until the engine stops.
pub async fn run(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asked: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut taking: JoinSet<()> = JoinSet::new();
    loop {
        tick.tick().await;
        while taking.try_join_next().is_some() {}
        let now = shared.now_ms();
        asked.retain(|_, at| now.saturating_sub(*at) < AGAIN_MS);
        for record in shared.clusters().unwrap_or_default() {
            let Some(every) = record.spec.snapshots.every_seconds else {
                continue;
            };
            if taking.len() >= CLUSTERS_AT_ONCE || at_work(&shared, &record) {
                continue;
            }
            let due = due(&members(&shared, &record), u64::from(every) * 1_000, now);
            let nodes: Vec<String> = due
                .into_iter()
                .filter(|node| !asked.contains_key(&(record.name.clone(), node.clone())))
                .collect();
            if nodes.is_empty() {
                continue;
            }
            for node in &nodes {
                asked.insert((record.name.clone(), node.clone()), now);
            }
            let shared = Arc::clone(&shared);
            taking.spawn(async move {
                for (node, result) in take(&shared, &record, nodes).await {
                    if let Err(problem) = result {
                        tracing::warn!(cluster = record.name, node, %problem, "no snapshot");
                    }
                }
            });
        }
    }
}

/// Members change meanwhile, and their machines have other work.
fn at_work(shared: &Shared, record: &ClusterRecord) -> bool {
    let slot = shared.slot(&record.name).ok().flatten();
    record.operation.is_some() || slot.is_some() || record.shutdown.is_some()
}

fn members(shared: &Shared, record: &ClusterRecord) -> Vec<MemberView> {
    let agents = shared.agents_of(record);
    let view = |node: &str| {
        let agent = agents.get(node)?;
        let report = agent.report.as_deref()?;
        let etcd = report.etcd.as_ref().filter(|etcd| etcd.running);
        Some(MemberView {
            node: node.to_owned(),
            able: agent.connected && etcd.is_some_and(|etcd| !etcd.learner && etcd.linearizable),
            leader: etcd.is_some_and(|etcd| etcd.leader != 0 && etcd.leader == etcd.member_id),
            newest_ms: report
                .snapshots
                .iter()
                .filter_map(|it| u64::try_from(it.taken_unix_ms).ok())
                .max(),
        })
    };
    record
        .spec
        .members()
        .filter_map(|member| view(&member.config.name))
        .collect()
}

/// Who is to take one now, so that enough members hold one that is not too old.
fn due(members: &[MemberView], every_ms: u64, now_ms: u64) -> Vec<String> {
    let recent = |member: &MemberView| {
        // A clock that was set back does not make a snapshot last for ever.
        member
            .newest_ms
            .is_some_and(|at| now_ms.abs_diff(at) < every_ms)
    };
    let held = members.iter().filter(|member| recent(member)).count();
    let free = members.iter().filter(|it| it.able && !recent(it));
    choose(free.collect(), COPIES.saturating_sub(held))
}

/// Followers before the leader, and who has waited longest first.
fn choose(mut members: Vec<&MemberView>, count: usize) -> Vec<String> {
    members.sort_by_key(|member| (member.leader, member.newest_ms, member.node.clone()));
    let chosen = members.into_iter().take(count);
    chosen.map(|member| member.node.clone()).collect()
}

/// All under one id.
async fn take(
    shared: &Arc<Shared>,
    record: &ClusterRecord,
    nodes: Vec<String>,
) -> Vec<(String, Result<SnapshotInfo, Problem>)> {
    let snapshot = ulid::Ulid::new().to_string();
    let mut asking = JoinSet::new();
    let intent = wants::intent(record);
    for node in nodes {
        let action = Action::TakeSnapshot(TakeSnapshot {
            snapshot: snapshot.clone(),
            keep: record.spec.snapshots.keep,
        });
        let order = ground(shared, record, &intent).order(&node, TAKE_SECONDS, action);
        let shared = Arc::clone(shared);
        asking.spawn(async move {
            let patience = Duration::from_secs(u64::from(TAKE_SECONDS) + 5);
            let answer = shared.ask(&node, order, patience).await;
            (node, answer.and_then(taken))
        });
    }
    asking.join_all().await
}

fn ground<'a>(shared: &'a Shared, record: &'a ClusterRecord, intent: &'a Intent) -> Ground<'a> {
    Ground {
        record,
        intent,
        epoch: shared.epoch,
        ids: &shared.ids,
        now_ms: shared.now_ms(),
        operation: "",
        artifacts: &|_, _| Vec::new(),
        servers: Vec::new(),
        leases: Default::default(),
    }
}

fn taken(done: OrderDone) -> Result<SnapshotInfo, Problem> {
    let result = done.result.unwrap_or_default();
    match (result.status(), result.snapshot) {
        (OrderStatus::Succeeded, Some(info)) => Ok(info),
        (
            OrderStatus::Succeeded
            | OrderStatus::Unspecified
            | OrderStatus::Failed
            | OrderStatus::Refused
            | OrderStatus::Interrupted,
            _,
        ) => Err(result.problem.unwrap_or_default()),
    }
}

// ---- what operators ask

/// Whether anybody could save something now.
pub fn possible(shared: &Shared, record: &ClusterRecord) -> bool {
    members(shared, record).iter().any(|it| it.able)
}

pub async fn create(
    shared: &Arc<Shared>,
    caller: &str,
    request: &CreateSnapshotRequest,
) -> Result<CreateSnapshotResponse, Problem> {
    let name = &request.cluster;
    let record = shared.cluster(name)?.ok_or_else(|| unknown_cluster(name))?;
    let members = members(shared, &record);
    let nodes = choose(members.iter().filter(|it| it.able).collect(), COPIES);
    if nodes.is_empty() {
        return Err(Problem::new(
            "refused-no-quorum",
            "no member answers with a quorum behind it, so that nothing can be saved",
        )
        .at(name)
        .next(format!(
            "quorate status {name}; quorate snapshot list --cluster {name} shows what there is"
        )));
    }
    let audit = crate::store::Transaction::new().audit(caller, "create-snapshot", name);
    let stored = shared.store.commit(audit).await;
    stored.map_err(super::shared::stored)?;
    let mut answer = CreateSnapshotResponse::default();
    for (node, result) in take(shared, &record, nodes).await {
        match result {
            Ok(info) => answer.snapshots.push(line(&record, &node, info, true)),
            Err(problem) => answer.problems.push(problem.at(node)),
        }
    }
    match (answer.snapshots.as_slice(), answer.problems.pop()) {
        ([], Some(problem)) => Err(problem),
        (_, problem) => {
            answer.problems.extend(problem);
            Ok(answer)
        }
    }
}

pub async fn send(
    shared: &Arc<Shared>,
    caller: &str,
    request: ExportSnapshotRequest,
    transfer: &str,
) -> Result<(), Problem> {
    let name = &request.cluster;
    let record = shared.cluster(name)?.ok_or_else(|| unknown_cluster(name))?;
    if record.spec.node(&request.node).is_none() {
        return Err(Problem::new("missing-node", "the cluster has no such node")
            .at(request.node)
            .next("quorate snapshot list"));
    }
    let detail = format!("{name}: {} of {}", request.snapshot, request.node);
    let audit = crate::store::Transaction::new().audit(caller, "export-snapshot", detail);
    let stored = shared.store.commit(audit).await;
    stored.map_err(super::shared::stored)?;
    let action = Action::SendSnapshot(SendSnapshot {
        snapshot: request.snapshot,
        transfer: transfer.to_owned(),
    });
    let order =
        ground(shared, &record, &wants::intent(&record)).order(&request.node, SEND_SECONDS, action);
    let patience = Duration::from_secs(u64::from(SEND_SECONDS) + 5);
    let result = shared.ask(&request.node, order, patience).await?.result;
    let result = result.unwrap_or_default();
    match result.status() {
        OrderStatus::Succeeded => Ok(()),
        OrderStatus::Unspecified
        | OrderStatus::Failed
        | OrderStatus::Refused
        | OrderStatus::Interrupted => Err(result.problem.unwrap_or_default().at(request.node)),
    }
}

/// Also of members that are away: as they reported last since this coordinator started.
pub fn list(shared: &Shared, name: &str) -> Result<ListSnapshotsResponse, Problem> {
    let records = match name {
        "" => shared.clusters()?,
        name => vec![shared.cluster(name)?.ok_or_else(|| unknown_cluster(name))?],
    };
    let mut snapshots = Vec::new();
    for record in &records {
        for (node, agent) in shared.agents_of(record) {
            let held = agent.report.iter().flat_map(|report| &report.snapshots);
            snapshots.extend(held.map(|info| line(record, &node, info.clone(), agent.connected)));
        }
    }
    // Newest first, and those of one time together.
    let id = |line: &SnapshotLine| line.snapshot.as_ref().map(|it| it.id.clone());
    snapshots.sort_by(|a, b| (&a.cluster, id(b), &a.node).cmp(&(&b.cluster, id(a), &b.node)));
    Ok(ListSnapshotsResponse { snapshots })
}

fn line(record: &ClusterRecord, node: &str, info: SnapshotInfo, connected: bool) -> SnapshotLine {
    SnapshotLine {
        cluster: record.name.clone(),
        node: node.to_owned(),
        snapshot: Some(info),
        connected,
    }
}

/// For `quorate check`: whether the schedule keeps up.
pub fn overdue(shared: &Shared, record: &ClusterRecord) -> Option<Problem> {
    let every_ms = u64::from(record.spec.snapshots.every_seconds?) * 1_000;
    let members = members(shared, record);
    let newest = members.iter().filter_map(|member| member.newest_ms).max();
    // A cluster's id says when it was made.
    let made = ulid::Ulid::from_string(&record.id.to_ascii_uppercase()).map(|id| id.timestamp_ms());
    let since = newest.or(made.ok())?;
    let now = shared.now_ms();
    let age = now.saturating_sub(since);
    if age <= 2 * every_ms {
        return single(&members, 2 * every_ms, now);
    }
    Some({
        let what = match newest {
            Some(_) => format!(
                "the newest snapshot of etcd is {} minutes old",
                age / 60_000
            ),
            None => "there is no snapshot of etcd".to_owned(),
        };
        Problem::new("snapshot-overdue", what)
            .because("no voter answers, or its disk is full")
            .next(format!(
                "quorate snapshot create --cluster {} says why",
                record.name
            ))
    })
}

/// A copy that is the only one goes with its machine.
fn single(members: &[MemberView], recent_ms: u64, now_ms: u64) -> Option<Problem> {
    let recent = |it: &&MemberView| {
        it.newest_ms
            .is_some_and(|at| now_ms.abs_diff(at) <= recent_ms)
    };
    let holders: Vec<&str> = (members.iter().filter(recent))
        .map(|it| it.node.as_str())
        .collect();
    let [only] = holders.as_slice() else {
        return None;
    };
    (members.len() >= COPIES).then(|| {
        let what = format!("only {only} holds a recent snapshot of etcd");
        Problem::new("snapshot-single", what)
            .because("another member is about to save its own, cannot, or is away")
            .next("quorate snapshot create saves on two members, or says why not")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_copy_is_too_few() {
        let members = |ages: &[Option<u64>]| -> Vec<MemberView> {
            let nodes = ["a", "b", "c"].iter().zip(ages);
            nodes
                .map(|(node, age)| member(node, true, false, *age))
                .collect()
        };
        for (ages, said) in [
            (&[Some(1), Some(5), None][..], false),
            (&[Some(1), None, None], true),
            (&[Some(1), Some(13), None], true),
            // Told as overdue, not as this.
            (&[None, None, None], false),
            (&[Some(1)], false),
        ] {
            let found = single(&members(ages), 12 * HOUR, NOW);
            assert_eq!(found.is_some(), said, "{ages:?}");
        }
    }

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_000 * HOUR;

    fn member(node: &str, able: bool, leader: bool, age_hours: Option<u64>) -> MemberView {
        MemberView {
            node: node.to_owned(),
            able,
            leader,
            newest_ms: age_hours.map(|age| NOW - age * HOUR),
        }
    }

    #[test]
    fn two_members_hold_a_recent_one() {
        type Row<'a> = (&'a str, Vec<MemberView>, &'a [&'a str]);
        let rows: Vec<Row<'_>> = vec![
            (
                "none yet, the leader is spared",
                vec![
                    member("a", true, true, None),
                    member("b", true, false, None),
                    member("c", true, false, None),
                ],
                &["b", "c"],
            ),
            (
                "a single member",
                vec![member("a", true, true, None)],
                &["a"],
            ),
            (
                "two are recent",
                vec![
                    member("a", true, true, None),
                    member("b", true, false, Some(1)),
                    member("c", true, false, Some(5)),
                ],
                &[],
            ),
            (
                "one is too old",
                vec![
                    member("a", true, true, None),
                    member("b", true, false, Some(1)),
                    member("c", true, false, Some(6)),
                ],
                &["c"],
            ),
            (
                "who holds one is away: still a copy",
                vec![
                    member("a", true, true, None),
                    member("b", false, false, Some(1)),
                    member("c", true, false, None),
                ],
                &["c"],
            ),
            (
                "no quorum",
                vec![
                    member("a", false, false, Some(9)),
                    member("b", false, false, None),
                ],
                &[],
            ),
            (
                "only the leader can",
                vec![
                    member("a", true, true, Some(9)),
                    member("b", false, false, Some(9)),
                ],
                &["a"],
            ),
            (
                "a clock from the future",
                vec![MemberView {
                    newest_ms: Some(NOW + 7 * HOUR),
                    ..member("a", true, true, None)
                }],
                &["a"],
            ),
        ];
        for (case, members, expected) in rows {
            assert_eq!(due(&members, 6 * HOUR, NOW), expected, "{case}");
        }
    }
}
