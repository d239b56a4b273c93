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

/// Everything that speaks against removing the member `target` now. Empty: safe. A learner counts for no quorum. While the target
/// serves, all others have to be well, as there is no hurry; one that does not may go while the others keep their quorum.
pub fn against_removing(facts: &Facts, target: &Member, now: Time) -> Vec<WaitingOn> {
    let members = match &facts.etcd.list {
        MemberList::Unknown => return vec![WaitingOn::MemberListUnknown],
        MemberList::Conflict(detail) => return vec![WaitingOn::MemberListConflict(detail.clone())],
        MemberList::Known(members) => members,
    };
    if target.learner {
        return Vec::new();
    }
    let voters = members.iter().filter(|m| !m.learner).count();
    if voters <= 1 {
        return vec![WaitingOn::LastVoter];
    }
    let others: Vec<Member> = members
        .iter()
        .filter(|m| m.id != target.id)
        .cloned()
        .collect();
    let mut against: Vec<WaitingOn> = others
        .iter()
        .filter(|m| m.learner || able(target))
        .flat_map(against_member)
        .collect();
    let healthy = able_others(members, target.id);
    if !quorum::can_remove(voters, healthy) {
        against.push(WaitingOn::WouldLoseQuorum {
            voters: voters - 1,
            healthy,
            needed: quorum::quorum(voters - 1),
        });
    }
    let able: Vec<Member> = others.iter().filter(|m| able(m)).cloned().collect();
    against.extend(disagreement(&able));
    if !self::able(target) {
        let follows_it = |h: &MemberHealth| h.leader == target.id;
        let gone = able.iter().filter_map(|m| m.health.known()).any(follows_it);
        against.extend(gone.then_some(WaitingOn::LeaderGone));
    } else if against.is_empty() {
        against.extend(not_stable(facts, now));
    }
    against
}

/// A voter that can decide with others now; an alarm does not keep it from that.
pub fn able(member: &Member) -> bool {
    let health = member.health.known();
    !member.learner && member.started() && health.is_some_and(|h| h.serving && h.leader != 0)
}

pub fn able_others(members: &[Member], id: u64) -> usize {
    let others = members.iter().filter(|m| m.id != id);
    others.filter(|m| able(m)).count()
}

/// Whether the others decide without it while it is still on the list, so that it may end before it is removed.
pub fn can_stop(members: &[Member], target: &Member) -> bool {
    let voters = members.iter().filter(|m| !m.learner).count();
    quorum::tolerance(voters, able_others(members, target.id)) >= 0
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
mod tests;
