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

/// As above, against removing the third member of a healthy cluster of three; the rules look at the second.
#[test]
fn each_rule_speaks_against_removing() {
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
            "another is not started",
            |f| nth(f, 1).name = None,
            |w| matches!(w, WaitingOn::MemberNotStarted { .. }),
        ),
        (
            "another is a learner",
            |f| nth(f, 1).learner = true,
            |w| matches!(w, WaitingOn::LearnerPresent { .. }),
        ),
        (
            "another's health is unknown",
            |f| nth(f, 1).health = Observed::Unknown,
            |w| matches!(w, WaitingOn::MemberHealthUnknown { .. }),
        ),
        (
            "another does not serve",
            |f| nth_health(f, 1).serving = false,
            |w| matches!(w, WaitingOn::MemberNotServing { .. }),
        ),
        (
            "one of the two that stay is dead",
            |f| nth_health(f, 1).serving = false,
            |w| {
                matches!(
                    w,
                    WaitingOn::WouldLoseQuorum {
                        voters: 2,
                        healthy: 1,
                        needed: 2
                    }
                )
            },
        ),
        (
            "the same with a target that is dead too",
            |f| {
                nth_health(f, 1).serving = false;
                nth(f, 2).health = Observed::Unknown;
            },
            |w| matches!(w, WaitingOn::WouldLoseQuorum { .. }),
        ),
        (
            "those that stay see different leaders",
            |f| nth_health(f, 1).leader = 2,
            |w| matches!(w, WaitingOn::LeadersDisagree),
        ),
        (
            "or terms",
            |f| nth_health(f, 1).term = 99,
            |w| matches!(w, WaitingOn::TermsDisagree),
        ),
        (
            "one of them lags",
            |f| nth_health(f, 1).applied = 0,
            |w| matches!(w, WaitingOn::Lagging { .. }),
        ),
        (
            "they follow the one that is dead",
            |f| {
                nth(f, 2).health = Observed::Unknown;
                nth_health(f, 0).leader = 3;
                nth_health(f, 1).leader = 3;
            },
            |w| matches!(w, WaitingOn::LeaderGone),
        ),
        (
            "not stable yet",
            |f| f.etcd.stable_since = Some(Time(NOW.0 - STABLE_FOR_MS + 1)),
            |w| matches!(w, WaitingOn::NotStableYet { remaining_ms: 1 }),
        ),
        (
            "the last voter",
            |f| {
                if let MemberList::Known(members) = &mut f.etcd.list {
                    members.drain(..2);
                }
            },
            |w| matches!(w, WaitingOn::LastVoter),
        ),
    ];
    for (what, break_it, expected) in rows {
        let mut facts = three_healthy();
        let target = nth(&mut facts, 2).clone();
        break_it(&mut facts);
        let target = match &facts.etcd.list {
            MemberList::Known(members) => members.last().cloned().unwrap_or(target),
            MemberList::Unknown | MemberList::Conflict(_) => target,
        };
        let against = against_removing(&facts, &target, NOW);
        assert!(against.iter().any(expected), "{what}: {against:?}");
    }
}

#[test]
fn a_member_may_go_if_the_others_can_do_without_it() {
    let mut facts = three_healthy();
    let third = nth(&mut facts, 2).clone();
    assert_eq!(against_removing(&facts, &third, NOW), vec![]);
    // A dead one while the others are well, without the stability that it has ended itself.
    nth(&mut facts, 2).health = Observed::Unknown;
    facts.etcd.stable_since = None;
    let dead = nth(&mut facts, 2).clone();
    assert_eq!(against_removing(&facts, &dead, NOW), vec![]);
    assert!(can_stop(facts.members(), &dead));
    // Two of five are dead: one after the other.
    let mut facts = crate::fixtures::healthy(5);
    nth(&mut facts, 3).health = Observed::Unknown;
    nth(&mut facts, 4).health = Observed::Unknown;
    let dead = nth(&mut facts, 4).clone();
    assert_eq!(against_removing(&facts, &dead, NOW), vec![]);
    let living = nth(&mut facts, 1).clone();
    assert!(!against_removing(&facts, &living, NOW).is_empty());
    // Of two, the one that stays cannot decide alone before the other is off the list.
    let mut facts = crate::fixtures::healthy(2);
    let second = nth(&mut facts, 1).clone();
    assert_eq!(against_removing(&facts, &second, NOW), vec![]);
    assert!(!can_stop(facts.members(), &second));
}

fn nth(facts: &mut Facts, at: usize) -> &mut Member {
    match &mut facts.etcd.list {
        MemberList::Known(members) => &mut members[at],
        MemberList::Unknown | MemberList::Conflict(_) => panic!("fixture has a list"),
    }
}

fn nth_health(facts: &mut Facts, at: usize) -> &mut MemberHealth {
    match &mut nth(facts, at).health {
        Observed::Known(health) => health,
        Observed::Unknown => panic!("fixture has health"),
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
