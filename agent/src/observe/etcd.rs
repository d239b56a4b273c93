//! What the local etcd member says of itself and of its cluster, for both distributions. Bounded in time, and read only.

use crate::etcd::{EtcdAccess, EtcdClient, EtcdFailure};
use crate::paths::Paths;
use quorate_proto::etcd::{AlarmMember, AlarmType, Member, StatusResponse};
use quorate_proto::v1::{EtcdAlarm, EtcdMember, EtcdView, Marks, Problem};
use std::time::Duration;

/// Of all calls together, which run side by side: a view older than that helps no decision.
const WITHIN: Duration = Duration::from_millis(1500);

/// `None` never: a node without a member is known not to run one.
pub async fn view(paths: &Paths, marks: &Marks) -> Option<EtcdView> {
    let view = match EtcdAccess::locate(paths) {
        Ok(Some(access)) => view_of(&access).await,
        Ok(None) => EtcdView {
            problem: expects_member(marks).then(credentials_missing),
            ..EtcdView::default()
        },
        Err(problem) => EtcdView {
            problem: Some(problem),
            ..EtcdView::default()
        },
    };
    Some(view)
}

async fn view_of(access: &EtcdAccess) -> EtcdView {
    let client = EtcdClient::new(access, WITHIN);
    let (status, read, members, alarms) = tokio::join!(
        client.status(),
        client.linearizable_read(),
        client.member_list(false),
        client.alarms(),
    );
    assemble(status, read.is_ok(), members.ok(), alarms.ok())
}

/// A learner answers nothing but its status: what is missing then is unknown, and no problem.
fn assemble(
    status: Result<StatusResponse, EtcdFailure>,
    linearizable: bool,
    members: Option<Vec<Member>>,
    alarms: Option<Vec<AlarmMember>>,
) -> EtcdView {
    let status = match status {
        Ok(status) => status,
        Err(failure) => {
            return EtcdView {
                problem: Some(failure.problem()),
                ..EtcdView::default()
            };
        }
    };
    let header = status.header.unwrap_or_default();
    EtcdView {
        running: true,
        problem: (status.leader == 0).then(no_leader),
        cluster_id: header.cluster_id,
        member_id: header.member_id,
        leader: status.leader,
        term: status.raft_term,
        raft_index: status.raft_index,
        applied_index: status.raft_applied_index,
        revision: u64::try_from(header.revision).unwrap_or_default(),
        db_size: u64::try_from(status.db_size).unwrap_or_default(),
        db_size_in_use: u64::try_from(status.db_size_in_use).unwrap_or_default(),
        learner: status.is_learner,
        version: status.version,
        linearizable,
        members: members
            .unwrap_or_default()
            .into_iter()
            .map(member)
            .collect(),
        alarms_known: alarms.is_some(),
        alarms: alarms.unwrap_or_default().into_iter().map(alarm).collect(),
        // Looked at elsewhere, and seldom.
        peers_away: Vec::new(),
        peers_known: false,
    }
}

fn member(member: Member) -> EtcdMember {
    EtcdMember {
        id: member.id,
        name: member.name,
        peer_urls: member.peer_ur_ls,
        client_urls: member.client_ur_ls,
        learner: member.is_learner,
    }
}

fn alarm(alarm: AlarmMember) -> EtcdAlarm {
    let kind = match AlarmType::try_from(alarm.alarm) {
        Ok(AlarmType::Nospace) => "NOSPACE".to_owned(),
        Ok(AlarmType::Corrupt) => "CORRUPT".to_owned(),
        Ok(AlarmType::None) => "NONE".to_owned(),
        Err(_) => format!("alarm {}", alarm.alarm),
    };
    EtcdAlarm {
        member_id: alarm.member_id,
        kind,
    }
}

fn expects_member(marks: &Marks) -> bool {
    [&marks.init, &marks.prepared, &marks.finished]
        .iter()
        .any(|mark| !mark.is_empty())
}

fn credentials_missing() -> Problem {
    Problem::new(
        "etcd-credentials-missing",
        "the node was made a member, but its client certificate for etcd is gone",
    )
    .because("files were removed by hand")
    .next("reset the node and join it again")
}

fn no_leader() -> Problem {
    Problem::new("etcd-no-leader", "etcd runs but knows no leader")
        .because("a majority of the members is down or cut off, or an election is under way")
        .next("check that a majority of the members run and reach each other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::testing::TestCluster;
    use std::time::Instant;

    #[tokio::test]
    async fn a_member_a_learner_and_a_dead_one() {
        let mut cluster = TestCluster::start().await;
        let first = view_of(&cluster.access(1)).await;
        assert!(first.running && first.linearizable && first.alarms_known);
        assert_eq!(first.problem, None);
        assert_eq!(first.leader, first.member_id);
        assert_eq!(first.members.len(), 1);
        assert_eq!(first.members[0].name, "n1");
        assert!(first.version.starts_with("3."), "{}", first.version);
        assert!(first.db_size > 0 && first.applied_index > 0 && first.term > 0);

        let client = EtcdClient::new(&cluster.access(1), WITHIN);
        let url = cluster.address(2).peer_url;
        client.add_learner(&url).await.unwrap();
        let initial = [cluster.address(1), cluster.address(2)];
        cluster.launch(2, &initial);
        cluster.wait_for(2).await;
        let learner = view_of(&cluster.access(2)).await;
        assert!(learner.running && learner.learner, "{learner:?}");
        assert!(!learner.linearizable && !learner.alarms_known);
        assert_eq!(learner.problem, None);
        assert_eq!(learner.cluster_id, first.cluster_id);

        cluster.kill(1);
        let since = Instant::now();
        let dead = view_of(&cluster.access(1)).await;
        assert!(!dead.running && !dead.linearizable);
        let problem = dead.problem.unwrap();
        assert_eq!(problem.code, "etcd-unreachable");
        assert_eq!(problem.cause, "etcd does not run there", "{problem}");
        assert!(since.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_node_without_a_member() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::under(root.path());
        let view_with = async |marks: Marks| view(&paths, &marks).await.unwrap();
        assert_eq!(view_with(Marks::default()).await, EtcdView::default());
        let joined = Marks {
            finished: "sha256:0".into(),
            ..Marks::default()
        };
        let problem = view_with(joined).await.problem.unwrap();
        assert_eq!(problem.code, "etcd-credentials-missing");
    }

    #[test]
    fn alarms_by_name() {
        for (number, kind) in [(1, "NOSPACE"), (2, "CORRUPT"), (9, "alarm 9")] {
            let seen = alarm(AlarmMember {
                member_id: 7,
                alarm: number,
            });
            assert_eq!((seen.member_id, seen.kind.as_str()), (7, kind));
        }
    }
}
