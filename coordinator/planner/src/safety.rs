//! What must hold before a membership change begins. Every rule is asked; every answer against it is returned.

use crate::facts::{Facts, Member, MemberHealth, MemberList, Observed};
use crate::intent::NodeIntent;
use crate::quorum;
use crate::time::Time;
use crate::waiting::WaitingOn;

/// etcd refuses to add a member unless all voters were connected for 5 s (its HealthInterval); we measure from our first
/// observation of that, which is later than etcd's, so that the call is never refused.
pub const STABLE_FOR_MS: u64 = 5_000;
/// Entries a follower may be behind: consensus tools of the field use 250 to 1000; a busy cluster stays far below.
pub const MAX_LAG_ENTRIES: u64 = 1_000;
/// 80 % of etcd's default quota of 2 GiB: a joiner must receive all of it, and an alarm blocks every change.
pub const MAX_DB_BYTES: u64 = 2 * 1024 * 1024 * 1024 / 10 * 8;

/// Everything that speaks against adding `joiner` now. Empty: safe.
pub fn against_adding(facts: &Facts, joiner: &NodeIntent, now: Time) -> Vec<WaitingOn> {
    let members = match &facts.etcd.list {
        MemberList::Unknown => return vec![WaitingOn::MemberListUnknown],
        MemberList::Conflict(detail) => return vec![WaitingOn::MemberListConflict(detail.clone())],
        MemberList::Known(members) => members,
    };
    let mut against = Vec::new();
    for member in members {
        against.extend(against_member(member));
        if member.peer_url == joiner.peer_url {
            against.push(WaitingOn::AlreadyVoter {
                peer_url: member.peer_url.clone(),
            });
        }
    }
    against.extend(disagreement(members));

    let voters = members.iter().filter(|m| !m.learner).count();
    let healthy = healthy_voters(members);
    if !quorum::can_add(voters, healthy) {
        against.push(WaitingOn::TargetUnsafe {
            voters: voters + 1,
            healthy,
            needed: quorum::quorum(voters + 1),
        });
    }
    if against.is_empty() && voters > 1 {
        against.extend(not_stable(facts, now));
    }
    against
}

/// Voters that started, are observed, serve and raised no alarm.
pub fn healthy_voters(members: &[Member]) -> usize {
    members
        .iter()
        .filter(|m| !m.learner && against_member(m).is_empty())
        .count()
}

fn against_member(member: &Member) -> Vec<WaitingOn> {
    let peer_url = member.peer_url.clone();
    if member.learner {
        return vec![WaitingOn::LearnerPresent { peer_url }];
    }
    if !member.started() {
        return vec![WaitingOn::MemberNotStarted { peer_url }];
    }
    let name = member.name.clone().unwrap_or_default();
    match &member.health {
        Observed::Unknown => vec![WaitingOn::MemberHealthUnknown { name }],
        Observed::Known(health) => against_health(name, health),
    }
}

fn against_health(name: String, health: &MemberHealth) -> Vec<WaitingOn> {
    let mut against = Vec::new();
    if health.leader == 0 {
        against.push(WaitingOn::NoLeader { name: name.clone() });
    }
    if !health.serving {
        against.push(WaitingOn::MemberNotServing { name: name.clone() });
    }
    for alarm in &health.alarms {
        against.push(WaitingOn::Alarm {
            alarm: format!("{alarm} on {name}"),
        });
    }
    if health.db_size > MAX_DB_BYTES {
        against.push(WaitingOn::DatabaseNearQuota {
            name,
            bytes: health.db_size,
        });
    }
    against
}

/// One leader, one term, and nobody far behind.
fn disagreement(members: &[Member]) -> Vec<WaitingOn> {
    let known: Vec<(&Member, &MemberHealth)> = members
        .iter()
        .filter(|m| !m.learner)
        .filter_map(|m| m.health.known().map(|h| (m, h)))
        .collect();
    let mut against = Vec::new();
    let Some((_, first)) = known.first() else {
        return against;
    };
    if known.iter().any(|(_, h)| h.leader != first.leader) {
        against.push(WaitingOn::LeadersDisagree);
    }
    if known.iter().any(|(_, h)| h.term != first.term) {
        against.push(WaitingOn::TermsDisagree);
    }
    let newest = known.iter().map(|(_, h)| h.applied).max().unwrap_or(0);
    for (member, health) in known {
        let entries = newest.saturating_sub(health.applied);
        if entries > MAX_LAG_ENTRIES {
            let name = member.name.clone().unwrap_or_default();
            against.push(WaitingOn::Lagging { name, entries });
        }
    }
    against
}

fn not_stable(facts: &Facts, now: Time) -> Option<WaitingOn> {
    let stable_ms = facts.etcd.stable_since.map_or(0, |since| now.since(since));
    (stable_ms < STABLE_FOR_MS).then(|| WaitingOn::NotStableYet {
        remaining_ms: STABLE_FOR_MS - stable_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, joiner, three_healthy};

    /// One row a rule: what is changed in a healthy cluster of three, and what must speak against adding.
    #[test]
    fn each_rule_speaks() {
        type Row = (&'static str, fn(&mut Facts), fn(&WaitingOn) -> bool);
        let rows: Vec<Row> = vec![
            (
                "list unknown",
                |f| f.etcd.list = MemberList::Unknown,
                |w| matches!(w, WaitingOn::MemberListUnknown),
            ),
            (
                "lists differ",
                |f| f.etcd.list = MemberList::Conflict("two".into()),
                |w| matches!(w, WaitingOn::MemberListConflict(_)),
            ),
            (
                "voter not started",
                |f| member(f).name = None,
                |w| matches!(w, WaitingOn::MemberNotStarted { .. }),
            ),
            (
                "voter with an empty name",
                |f| member(f).name = Some(String::new()),
                |w| matches!(w, WaitingOn::MemberNotStarted { .. }),
            ),
            (
                "learner in the list",
                |f| member(f).learner = true,
                |w| matches!(w, WaitingOn::LearnerPresent { .. }),
            ),
            (
                "health unknown",
                |f| member(f).health = Observed::Unknown,
                |w| matches!(w, WaitingOn::MemberHealthUnknown { .. }),
            ),
            (
                "not serving",
                |f| health(f).serving = false,
                |w| matches!(w, WaitingOn::MemberNotServing { .. }),
            ),
            (
                "no leader",
                |f| health(f).leader = 0,
                |w| matches!(w, WaitingOn::NoLeader { .. }),
            ),
            (
                "another leader",
                |f| health(f).leader = 99,
                |w| matches!(w, WaitingOn::LeadersDisagree),
            ),
            (
                "another term",
                |f| health(f).term = 99,
                |w| matches!(w, WaitingOn::TermsDisagree),
            ),
            (
                "alarm",
                |f| health(f).alarms.push("NOSPACE".into()),
                |w| matches!(w, WaitingOn::Alarm { .. }),
            ),
            (
                "lag",
                |f| health(f).applied = 0,
                |w| matches!(w, WaitingOn::Lagging { .. }),
            ),
            (
                "large database",
                |f| health(f).db_size = MAX_DB_BYTES + 1,
                |w| matches!(w, WaitingOn::DatabaseNearQuota { .. }),
            ),
            (
                "one of three dead",
                |f| health(f).serving = false,
                |w| {
                    matches!(
                        w,
                        WaitingOn::TargetUnsafe {
                            voters: 4,
                            healthy: 2,
                            needed: 3
                        }
                    )
                },
            ),
            (
                "never seen stable",
                |f| f.etcd.stable_since = None,
                |w| matches!(w, WaitingOn::NotStableYet { .. }),
            ),
            (
                "stable too short",
                |f| f.etcd.stable_since = Some(Time(NOW.0 - STABLE_FOR_MS + 1)),
                |w| matches!(w, WaitingOn::NotStableYet { remaining_ms: 1 }),
            ),
            (
                "peer URL in use",
                |f| member(f).peer_url = joiner().peer_url,
                |w| matches!(w, WaitingOn::AlreadyVoter { .. }),
            ),
        ];
        for (what, break_it, expected) in rows {
            let mut facts = three_healthy();
            break_it(&mut facts);
            let against = against_adding(&facts, &joiner(), NOW);
            assert!(against.iter().any(expected), "{what}: {against:?}");
        }
    }

    #[test]
    fn nothing_speaks_against_a_healthy_cluster() {
        assert_eq!(against_adding(&three_healthy(), &joiner(), NOW), vec![]);
    }

    #[test]
    fn a_single_voter_need_not_wait() {
        let mut facts = three_healthy();
        if let MemberList::Known(members) = &mut facts.etcd.list {
            members.truncate(1);
        }
        facts.etcd.stable_since = None;
        assert_eq!(against_adding(&facts, &joiner(), NOW), vec![]);
    }

    fn member(facts: &mut Facts) -> &mut Member {
        match &mut facts.etcd.list {
            MemberList::Known(members) => &mut members[2],
            MemberList::Unknown | MemberList::Conflict(_) => panic!("fixture has a list"),
        }
    }

    fn health(facts: &mut Facts) -> &mut MemberHealth {
        match &mut member(facts).health {
            Observed::Known(health) => health,
            Observed::Unknown => panic!("fixture has health"),
        }
    }
}
