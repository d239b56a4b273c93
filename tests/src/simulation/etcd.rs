//! A model of etcd's membership: what every member would agree on, who leads, and what etcd says no to.
//!
//! Raft itself is taken for granted: the committed list is one, and changes only through a leader with a quorum of started voters.
//! What is modelled in full is what joins stumble over: learners that have not started, the limit on learners, strict
//! reconfiguration, names that appear with the first start, members that were removed or have lost their data.

use quorate_agent::etcd::EtcdRefusal;
use std::collections::BTreeSet;

/// etcd's HealthInterval: a member serves membership changes only when connected to the voters for this long.
const HEALTH_INTERVAL_MS: u64 = 5_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: u64,
    /// Empty: never started.
    pub name: String,
    pub peer_url: String,
    pub learner: bool,
    /// Has had data at some time: without it, it can never start again under this id.
    pub ever_started: bool,
    /// When it was last seen to run, connected to the leader's side.
    pub last_up_ms: u64,
}

pub struct Cluster {
    pub id: u64,
    pub members: Vec<Member>,
    pub removed: BTreeSet<u64>,
    pub index: u64,
    pub term: u64,
    pub leader: Option<u64>,
    /// Since when a quorum without a leader could elect one, and how long it takes for that.
    pub electable_since: Option<u64>,
    pub election_ms: u64,
}

/// How the members of this schedule were set up.
#[derive(Clone, Copy, Debug)]
pub struct Flavour {
    /// 1 before etcd 3.6, an option since.
    pub max_learners: usize,
    /// Before 3.5.30 all voters must be connected for an addition; since then a quorum of the target.
    pub all_connected: bool,
    /// `--strict-reconfig-check`
    pub strict: bool,
}

/// A member's process on a machine that runs now.
#[derive(Clone, Debug)]
pub struct Process {
    pub cluster: u64,
    pub member: u64,
    /// When it started, or its network last changed.
    pub connected_since: u64,
    pub named_at: u64,
    pub synced_at: u64,
}

/// What one member can see of the others at the moment of a call.
pub struct Sight {
    /// The caller's own member.
    pub member: u64,
    /// Members that run and are connected with it, itself included, and since when.
    pub connected: Vec<(u64, u64)>,
    pub in_sync: BTreeSet<u64>,
    pub now: u64,
}

pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

impl Cluster {
    pub fn found(id: u64, first: Member, election_ms: u64) -> Self {
        Cluster {
            id,
            leader: Some(first.id),
            members: vec![first],
            removed: BTreeSet::new(),
            index: 1,
            term: 2,
            electable_since: None,
            election_ms,
        }
    }

    pub fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.learner)
    }

    /// Whether a call through this member reaches a leader that can commit.
    pub fn serves(&self, sight: &Sight) -> Result<(), EtcdRefusal> {
        let own = self
            .member(sight.member)
            .ok_or(EtcdRefusal::OutcomeUnknown)?;
        if own.learner {
            return Err(EtcdRefusal::LearnerCannotServe);
        }
        let leader = self.leader.ok_or(EtcdRefusal::NoLeader)?;
        let sees = |id: u64| sight.connected.iter().any(|(seen, _)| *seen == id);
        let seen = self.voters().filter(|voter| sees(voter.id)).count();
        if !sees(leader) || seen < quorum(self.voters().count()) {
            return Err(EtcdRefusal::OutcomeUnknown);
        }
        Ok(())
    }

    fn connected_voters(&self, sight: &Sight) -> usize {
        let long = |id: u64| {
            sight.connected.iter().any(|(seen, since)| {
                *seen == id && sight.now.saturating_sub(*since) >= HEALTH_INTERVAL_MS
            })
        };
        self.voters()
            .filter(|voter| voter.id == sight.member || long(voter.id))
            .count()
    }

    pub fn may_add(
        &self,
        peer_url: &str,
        sight: &Sight,
        flavour: Flavour,
    ) -> Result<(), EtcdRefusal> {
        self.serves(sight)?;
        let voters = self.voters().count();
        if flavour.strict && voters > 1 {
            let connected = self.connected_voters(sight);
            let needed = match flavour.all_connected {
                true => voters,
                false => quorum(voters + 1),
            };
            if connected < needed {
                return Err(EtcdRefusal::Unhealthy);
            }
        }
        if self
            .members
            .iter()
            .any(|member| member.peer_url == peer_url)
        {
            return Err(EtcdRefusal::PeerUrlExists);
        }
        let learners = self.members.iter().filter(|member| member.learner).count();
        if learners >= flavour.max_learners {
            return Err(EtcdRefusal::TooManyLearners);
        }
        Ok(())
    }

    pub fn add_learner(&mut self, id: u64, peer_url: &str, now: u64) {
        self.index += 1;
        self.members.push(Member {
            id,
            name: String::new(),
            peer_url: peer_url.to_owned(),
            learner: true,
            ever_started: false,
            last_up_ms: now,
        });
    }

    pub fn may_promote(&self, id: u64, sight: &Sight, flavour: Flavour) -> Result<(), EtcdRefusal> {
        self.serves(sight)?;
        let member = self.member(id).ok_or(EtcdRefusal::MemberNotFound)?;
        if !member.learner {
            return Err(EtcdRefusal::NotALearner);
        }
        if !sight.in_sync.contains(&id) {
            return Err(EtcdRefusal::LearnerNotReady);
        }
        let started = self.voters().filter(|v| !v.name.is_empty()).count() + 1;
        if flavour.strict && started < quorum(self.voters().count() + 1) {
            return Err(EtcdRefusal::NotEnoughStarted);
        }
        Ok(())
    }

    pub fn promote(&mut self, id: u64) {
        self.index += 1;
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.learner = false;
        }
    }

    pub fn may_remove(&self, id: u64, sight: &Sight, flavour: Flavour) -> Result<(), EtcdRefusal> {
        self.serves(sight)?;
        let member = self.member(id).ok_or(EtcdRefusal::MemberNotFound)?;
        if member.learner || !flavour.strict {
            return Ok(());
        }
        let rest: Vec<&Member> = self.voters().filter(|voter| voter.id != id).collect();
        let started = rest.iter().filter(|voter| !voter.name.is_empty()).count();
        if started < quorum(rest.len()) {
            return Err(EtcdRefusal::NotEnoughStarted);
        }
        let active = |id: u64| sight.connected.iter().any(|(seen, _)| *seen == id);
        let remaining = rest.iter().filter(|voter| active(voter.id)).count();
        if active(id) && remaining < quorum(rest.len()) {
            return Err(EtcdRefusal::Unhealthy);
        }
        Ok(())
    }

    pub fn remove(&mut self, id: u64) {
        self.index += 1;
        self.members.retain(|member| member.id != id);
        self.removed.insert(id);
        if self.leader == Some(id) {
            self.leader = None;
        }
    }

    /// MoveLeader, asked of the leader.
    pub fn hand_over(&mut self, from: u64, to: u64) {
        if self.leader == Some(from) {
            self.leader = Some(to);
            self.term += 1;
            self.index += 1;
        }
    }

    /// As a linearizable read gives it.
    pub fn list(&self) -> Vec<quorate_proto::etcd::Member> {
        let of = |member: &Member| quorate_proto::etcd::Member {
            id: member.id,
            name: member.name.clone(),
            peer_ur_ls: vec![member.peer_url.clone()],
            is_learner: member.learner,
            ..quorate_proto::etcd::Member::default()
        };
        self.members.iter().map(of).collect()
    }
}
