//! Since when things have been as they are. Lives in memory: after a restart stability is observed anew.

use super::endpoint::observe::Dialers;
use quorate_planner::facts::{Member, MemberList};
use quorate_planner::intent::NodeName;
use quorate_planner::safety;
use quorate_planner::time::Time;
use std::collections::BTreeMap;

/// A report that is late, or left out because an order has just ended, is no sign of trouble: at work they come twice a second.
/// Nothing is ever begun in such a gap, as all must be known at that moment; etcd asks for five connected seconds itself.
const GAP_MS: u64 = 2_000;

#[derive(Default)]
pub struct Tracker {
    seen: BTreeMap<String, Time>,
    /// Members that answer, learners too: since when, and when last.
    answering: BTreeMap<u64, (Time, Time)>,
    /// Leader and term that all voters agree on while all are healthy: since when, and when last.
    stable: Option<Stable>,
    voters: Vec<u64>,
    /// Nodes whose agents see no etcd: since when.
    down: BTreeMap<NodeName, Time>,
    /// Since when nobody has been seen dialing the address that goes.
    quiet: Option<Time>,
    dialed: Option<u64>,
    /// Since when the load balancers have been without the node that leaves.
    out: Option<Time>,
    pub(super) lives: super::dead::Witnesses,
}

struct Stable {
    leader: u64,
    term: u64,
    since: Time,
    last: Time,
}

enum Seen {
    /// All voters are healthy and agree.
    Good {
        leader: u64,
        term: u64,
    },
    Unknown,
    Bad,
}

impl Tracker {
    /// Fills in since when each member has been seen, and follows how long all voters have been healthy under one leader.
    pub fn observe(&mut self, list: MemberList, now: Time) -> MemberList {
        let mut members = match list {
            MemberList::Known(members) => members,
            MemberList::Unknown => {
                self.follow(&Seen::Unknown, now);
                return MemberList::Unknown;
            }
            MemberList::Conflict(detail) => {
                self.follow(&Seen::Bad, now);
                return MemberList::Conflict(detail);
            }
        };
        self.seen
            .retain(|url, _| members.iter().any(|m| &m.peer_url == url));
        for member in &mut members {
            member.seen_since = *self.seen.entry(member.peer_url.clone()).or_insert(now);
            if member.health.known().is_some() {
                self.answering.entry(member.id).or_insert((now, now)).1 = now;
            }
        }
        self.answering.retain(|id, (_, last)| {
            now.since(*last) <= GAP_MS && members.iter().any(|m| m.id == *id)
        });
        self.voters = members
            .iter()
            .filter(|m| !m.learner)
            .map(|m| m.id)
            .collect();
        self.follow(&judge(&members), now);
        MemberList::Known(members)
    }

    fn follow(&mut self, seen: &Seen, now: Time) {
        self.stable = match (seen, self.stable.take()) {
            (Seen::Bad, _) | (Seen::Unknown, None) => None,
            (Seen::Unknown, Some(stable)) => (now.since(stable.last) <= GAP_MS).then_some(stable),
            (Seen::Good { leader, term }, Some(stable))
                if (stable.leader, stable.term) == (*leader, *term) =>
            {
                Some(Stable {
                    last: now,
                    ..stable
                })
            }
            (Seen::Good { leader, term }, _) => Some(Stable {
                leader: *leader,
                term: *term,
                since: now,
                last: now,
            }),
        };
    }

    /// A learner that is promoted has been connected since it started, which is what etcd asks for.
    pub fn stable_since(&self) -> Option<Time> {
        let mut since = self.stable.as_ref()?.since;
        for voter in &self.voters {
            since = since.max(self.answering.get(voter)?.0);
        }
        Some(since)
    }

    /// A report that is late says nothing new.
    pub fn observe_etcd(
        &mut self,
        node: &NodeName,
        running: Option<&bool>,
        ended: Time,
        now: Time,
    ) -> Option<Time> {
        let since = match running {
            Some(true) => {
                self.down.remove(node);
                None
            }
            Some(false) => Some(*self.down.entry(node.clone()).or_insert(now)),
            None => self.down.get(node).copied(),
        };
        // What was last ordered there may have started it.
        since.map(|since| since.max(ended))
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

    /// A report that is due is no sign of its return.
    pub fn observe_pools(&mut self, out: Option<bool>, now: Time) {
        self.out = match out {
            Some(true) => self.out.or(Some(now)),
            Some(false) => None,
            None => self.out,
        };
    }

    pub fn out_since(&self) -> Option<Time> {
        self.out
    }

    pub fn quiet_since(&self) -> Option<Time> {
        self.quiet
    }
}

/// Who leads, in which term, if all voters are known to be healthy and agree.
fn judge(members: &[Member]) -> Seen {
    let voters: Vec<&Member> = members.iter().filter(|m| !m.learner).collect();
    let known: Vec<_> = voters.iter().filter_map(|m| m.health.known()).collect();
    let healthy = safety::healthy_voters(members);
    let Some(first) = known.first() else {
        return Seen::Unknown;
    };
    let agree = known
        .iter()
        .all(|h| h.leader == first.leader && h.term == first.term);
    if !agree || healthy < known.len() {
        return Seen::Bad;
    }
    if known.len() < voters.len() {
        return Seen::Unknown;
    }
    Seen::Good {
        leader: first.leader,
        term: first.term,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_planner::facts::{MemberHealth, Observed};

    fn member(id: u64, term: u64, serving: bool, learner: bool) -> Member {
        Member {
            id,
            name: Some(format!("n{id}")),
            peer_url: format!("https://n{id}:2380"),
            learner,
            seen_since: Time(0),
            health: Observed::Known(MemberHealth {
                serving,
                leader: 1,
                term,
                applied: 1,
                db_size: 1,
                alarms: vec![],
            }),
        }
    }

    fn list(term: u64, serving: bool) -> MemberList {
        MemberList::Known(vec![member(1, term, serving, false)])
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
        tracker.observe(MemberList::Conflict(String::new()), Time(60));
        assert_eq!(tracker.stable_since(), None, "two clusters");
    }

    #[test]
    fn a_late_report_is_no_change_and_silence_is() {
        let mut tracker = Tracker::default();
        tracker.observe(list(1, true), Time(10));
        tracker.observe(MemberList::Unknown, Time(10 + GAP_MS));
        tracker.observe(list(1, true), Time(10 + GAP_MS));
        assert_eq!(tracker.stable_since(), Some(Time(10)));
        tracker.observe(MemberList::Unknown, Time(11 + 2 * GAP_MS));
        assert_eq!(tracker.stable_since(), None);
        let mut silent = member(1, 1, true, false);
        silent.health = Observed::Unknown;
        let mut tracker = Tracker::default();
        tracker.observe(list(1, true), Time(10));
        tracker.observe(MemberList::Known(vec![silent]), Time(11 + GAP_MS));
        assert_eq!(tracker.stable_since(), None);
    }

    #[test]
    fn etcd_is_down_since_it_was_first_seen_so() {
        let mut tracker = Tracker::default();
        let node = NodeName("n1".into());
        for (at, running, since) in [
            (10, Some(true), None),
            (20, Some(false), Some(20)),
            (30, None, Some(20)),
            (40, Some(false), Some(20)),
            (50, Some(true), None),
            (60, None, None),
            (70, Some(false), Some(70)),
        ] {
            let seen = tracker.observe_etcd(&node, running.as_ref(), Time(0), Time(at));
            assert_eq!(seen, since.map(Time), "at {at}");
        }
        // Its start was ordered, and nothing has been heard of what came of it.
        let seen = tracker.observe_etcd(&node, None, Time(80), Time(90));
        assert_eq!(seen, Some(Time(80)));
    }

    #[test]
    fn a_promoted_learner_counts_from_its_start() {
        let mut tracker = Tracker::default();
        let both = |learner: bool| {
            MemberList::Known(vec![
                member(1, 1, true, false),
                member(2, 1, !learner, learner),
            ])
        };
        tracker.observe(list(1, true), Time(10));
        tracker.observe(both(true), Time(500));
        assert_eq!(
            tracker.stable_since(),
            Some(Time(10)),
            "a learner counts for nothing"
        );
        tracker.observe(both(false), Time(1_000));
        assert_eq!(tracker.stable_since(), Some(Time(500)));
        tracker.observe(
            MemberList::Known(vec![member(1, 1, true, false), member(3, 1, true, false)]),
            Time(1_500),
        );
        assert_eq!(
            tracker.stable_since(),
            Some(Time(1_500)),
            "one that was not seen before"
        );
    }
}
