//! Since when things have been as they are. Lives in memory: after a restart stability is observed anew.

use super::endpoint::observe::Dialers;
use quorate_planner::facts::{Member, MemberList};
use quorate_planner::safety;
use quorate_planner::time::Time;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Tracker {
    seen: BTreeMap<String, Time>,
    /// Voters, leader and term of the healthy state, and since when.
    stable: Option<(Vec<u64>, u64, u64, Time)>,
    /// Since when nobody has been seen dialing the address that goes.
    quiet: Option<Time>,
    dialed: Option<u64>,
}

impl Tracker {
    /// Fills in since when each member has been seen, and follows how long all voters have been healthy under one leader.
    pub fn observe(&mut self, list: MemberList, now: Time) -> MemberList {
        let mut members = match list {
            MemberList::Known(members) => members,
            other @ (MemberList::Unknown | MemberList::Conflict(_)) => {
                self.stable = None;
                return other;
            }
        };
        self.seen
            .retain(|url, _| members.iter().any(|m| &m.peer_url == url));
        for member in &mut members {
            member.seen_since = *self.seen.entry(member.peer_url.clone()).or_insert(now);
        }
        self.stable = match (signature(&members), self.stable.take()) {
            (None, _) => None,
            (Some((ids, leader, term)), Some((old, l, t, since)))
                if ids == old && leader == l && term == t =>
            {
                Some((ids, leader, term, since))
            }
            (Some((ids, leader, term)), _) => Some((ids, leader, term, now)),
        };
        MemberList::Known(members)
    }

    /// A connection that came and went between two observations shows in the load balancers' count of them.
    pub fn observe_dialers(&mut self, dialers: &Dialers, now: Time) {
        let more = self.dialed.replace(dialers.so_far) != Some(dialers.so_far);
        self.quiet = if dialers.known && dialers.by.is_empty() && !more {
            self.quiet.or(Some(now))
        } else {
            None
        };
    }

    pub fn quiet_since(&self) -> Option<Time> {
        self.quiet
    }

    pub fn stable_since(&self) -> Option<Time> {
        self.stable.as_ref().map(|(_, _, _, since)| *since)
    }
}

/// Who votes, who leads, in which term; none unless all voters are healthy and agree.
fn signature(members: &[Member]) -> Option<(Vec<u64>, u64, u64)> {
    let voters: Vec<&Member> = members.iter().filter(|m| !m.learner).collect();
    if voters.is_empty() || safety::healthy_voters(members) != voters.len() {
        return None;
    }
    let healths: Vec<_> = voters.iter().filter_map(|m| m.health.known()).collect();
    let first = healths.first()?;
    let agree = healths
        .iter()
        .all(|h| h.leader == first.leader && h.term == first.term);
    agree.then(|| {
        (
            voters.iter().map(|m| m.id).collect(),
            first.leader,
            first.term,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_planner::facts::{MemberHealth, Observed};

    fn list(term: u64, serving: bool) -> MemberList {
        MemberList::Known(vec![Member {
            id: 1,
            name: Some("a".into()),
            peer_url: "https://a:2380".into(),
            learner: false,
            seen_since: Time(0),
            health: Observed::Known(MemberHealth {
                serving,
                leader: 1,
                term,
                applied: 1,
                db_size: 1,
                alarms: vec![],
            }),
        }])
    }

    #[test]
    fn stability_starts_anew_with_each_change() {
        let mut tracker = Tracker::default();
        tracker.observe(list(1, true), Time(10));
        tracker.observe(list(1, true), Time(20));
        assert_eq!(tracker.stable_since(), Some(Time(10)));
        tracker.observe(list(2, true), Time(30));
        assert_eq!(tracker.stable_since(), Some(Time(30)), "a new term");
        tracker.observe(list(2, false), Time(40));
        assert_eq!(tracker.stable_since(), None, "not serving");
        tracker.observe(list(2, true), Time(50));
        assert_eq!(tracker.stable_since(), Some(Time(50)));
        tracker.observe(MemberList::Unknown, Time(60));
        assert_eq!(tracker.stable_since(), None, "unknown is not stable");
    }
}
