//! What must hold, whatever happens: checked on the truth of the world, on the orders that cross the wire and on what they do.
//!
//! Knows nothing of the planner, of facts or of steps, so that no error of theirs can be one of its own.

use quorate_proto::v1::order::Action;
use quorate_proto::v1::{Order, OrderResult};
use std::collections::{BTreeMap, BTreeSet};

/// A voter that stopped this recently may not be known to have stopped: reports are believed for 6 s, sent before that, and an
/// order waits on the wire.
const NOT_YET_KNOWN_MS: u64 = 12_000;
/// Planted in everything that is secret.
pub const SECRET: &str = "s3cr3t-join-material";
/// A violation repeats with every look; the first ones tell it.
const KEPT: usize = 5;

/// One voter as it is, not as somebody knows it.
#[derive(Clone, Copy, Debug)]
pub struct Voter {
    pub member: u64,
    pub up: bool,
    pub down_for_ms: u64,
    /// Something outside of our doing keeps it down.
    pub excused: bool,
}

/// Members that are neither voters nor gone, by peer URL, and voters.
pub struct Membership<'a> {
    pub voters: &'a [Voter],
    pub learners: BTreeSet<String>,
}

#[derive(Default)]
pub struct Checks {
    violations: Vec<String>,
    /// Orders on the wire without a result: id -> whom they are about.
    in_flight: BTreeMap<String, String>,
    /// What each order did to the membership.
    effects: BTreeMap<String, String>,
    /// Operations that were acknowledged to the operator.
    acknowledged: BTreeSet<String>,
    /// Ended operations, and how.
    ended: BTreeMap<String, String>,
}

impl Checks {
    pub fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.violations.len() < KEPT && !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }

    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// At most one member on its way, and no quorum lost but by the environment.
    pub fn truth(&mut self, voters: &[Voter], unsettled: usize) {
        if unsettled > 1 {
            self.violated(format!("{unsettled} members are learners or not started"));
        }
        let needed = voters.len() / 2 + 1;
        let up = voters.iter().filter(|it| it.up).count();
        let not_excused = voters.iter().filter(|it| !it.excused).count();
        if !voters.is_empty() && up < needed && not_excused >= needed {
            self.violated(format!(
                "quorum lost: {up} of {} voters are up, and nothing keeps {not_excused} of them down",
                voters.len()
            ));
        }
    }

    /// An order leaves the coordinator, perhaps once more. `on_record`: the orders on its disk; others were given up.
    pub fn sent(&mut self, order: &Order, truth: &Membership<'_>, on_record: &BTreeSet<String>) {
        let Some(action) = &order.action else {
            return self.violated("an order without an action");
        };
        let Some(subject) = membership_subject(action) else {
            return;
        };
        if !on_record.contains(&order.id) {
            self.violated(format!(
                "the order {} was sent before it was written",
                order.id
            ));
        }
        self.in_flight.retain(|id, _| on_record.contains(id));
        let other = self
            .in_flight
            .iter()
            .find(|(id, about)| **id != order.id && **about != subject);
        if let Some((_, about)) = other {
            let about = about.clone();
            self.violated(format!(
                "two membership changes in flight: {about} and {subject}"
            ));
        }
        let again = self.in_flight.contains_key(&order.id);
        self.in_flight.insert(order.id.clone(), subject);
        if again {
            return;
        }
        if let Action::AddMember(add) = action {
            self.addition(&add.peer_url, truth);
        }
        if let Action::RemoveMember(remove) = action
            && !remove.learner_only
        {
            self.removal(remove.member_id, truth.voters, "is to be removed");
        }
    }

    fn addition(&mut self, peer_url: &str, truth: &Membership<'_>) {
        if let Some(other) = truth.learners.iter().find(|url| *url != peer_url) {
            self.violated(format!("{peer_url} is added while {other} is a learner"));
        }
        let voters = truth.voters;
        let alive = voters.iter().filter(|it| it.down_for_ms < NOT_YET_KNOWN_MS);
        let (alive, target) = (alive.count(), voters.len() + 1);
        // From one voter to two the promotion is the proof.
        if voters.len() > 1 && alive < target / 2 + 1 {
            self.violated(format!(
                "a member is added to {} voters of which {alive} are up",
                voters.len()
            ));
        }
    }

    /// Its result is stored.
    pub fn ended(&mut self, id: &str) {
        self.in_flight.remove(id);
    }

    /// What an order did to etcd: a second run of it does the same or nothing.
    pub fn effect(&mut self, order: &str, what: String) {
        let first = self
            .effects
            .entry(order.to_owned())
            .or_insert_with(|| what.clone());
        if *first != what {
            let line = format!("the order {order} took effect twice: {first}, then {what}");
            self.violated(line);
        }
    }

    /// A node is taken apart.
    pub fn reset(&mut self, node: &str, is_voter: bool) {
        if is_voter {
            self.violated(format!("{node} is reset while it is a voter"));
        }
    }

    /// A voter is removed from etcd, or is ordered to be: those that stay decide without it.
    pub fn removal(&mut self, member: u64, voters: &[Voter], how: &str) {
        let rest = voters.len().saturating_sub(1);
        let alive = others_alive(voters, member);
        if voters.iter().any(|it| it.member == member) && alive < rest / 2 + 1 {
            self.violated(format!(
                "a voter {how}, and {alive} of the {rest} others are up"
            ));
        }
    }

    /// A voter stops ahead of its removal: it is still on the list, so the others are a quorum with it.
    pub fn stop(&mut self, member: u64, voters: &[Voter]) {
        let alive = others_alive(voters, member);
        if voters.iter().any(|it| it.member == member) && alive < voters.len() / 2 + 1 {
            self.violated(format!(
                "a voter of {} stops, and {alive} others are up",
                voters.len()
            ));
        }
    }

    pub fn acknowledged(&mut self, operation: &str) {
        self.acknowledged.insert(operation.to_owned());
    }

    pub fn operation_ended(&mut self, operation: &str, how: &str) {
        let known = self
            .ended
            .entry(operation.to_owned())
            .or_insert_with(|| how.to_owned());
        if known != how {
            let line = format!("the operation {operation} was {known} and is {how}");
            self.violated(line);
        }
    }

    /// What is on the coordinator's disk: everything that was acknowledged, and no secret.
    pub fn disk(&mut self, contents: &[(String, Vec<u8>)]) {
        let has = |id: &String| {
            let key = format!("/{id}");
            contents.iter().any(|(at, _)| at.ends_with(&key))
        };
        let lost: Vec<String> = self
            .acknowledged
            .iter()
            .filter(|id| !has(id))
            .cloned()
            .collect();
        for id in lost {
            self.violated(format!("the acknowledged operation {id} is lost"));
        }
        for (key, value) in contents {
            self.public(key, value);
        }
    }

    pub fn result(&mut self, result: &OrderResult) {
        let shown = format!("{result:?}");
        self.public("a result", shown.as_bytes());
    }

    /// Nothing secret is in what is stored, logged or shown.
    pub fn public(&mut self, place: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        // JSON shows bytes as numbers.
        let numbers = serde_json::to_string(&SECRET.as_bytes()[..8]).unwrap_or_default();
        if text.contains(SECRET) || text.contains(numbers.trim_matches(['[', ']'])) {
            self.violated(format!("a secret is in {place}"));
        }
    }
}

fn others_alive(voters: &[Voter], member: u64) -> usize {
    let alive = |it: &&Voter| it.member != member && it.down_for_ms < NOT_YET_KNOWN_MS;
    voters.iter().filter(alive).count()
}

/// Whom a membership order is about; none for all others.
pub fn membership_subject(action: &Action) -> Option<String> {
    match action {
        Action::Init(_) => Some("the first member".to_owned()),
        Action::AddMember(order) => Some(order.peer_url.clone()),
        Action::StartMember(_) => None,
        Action::PromoteMember(order) => Some(order.peer_url.clone()),
        Action::RemoveMember(order) => Some(order.peer_url.clone()),
        Action::Preflight(_)
        | Action::Install(_)
        | Action::CreateAuthority(_)
        | Action::ExportJoinMaterial(_)
        | Action::PrepareMember(_)
        | Action::FinishMember(_)
        | Action::JoinWorker(_)
        | Action::ConfigureLoadBalancer(_)
        | Action::ApplyManifests(_)
        | Action::ConfigureNode(_)
        | Action::DeleteNode(_)
        | Action::DrainNode(_)
        | Action::RecoverMember(_)
        | Action::TaintNode(_)
        | Action::UntaintNode(_)
        | Action::StopNode(_)
        | Action::StartNode(_)
        | Action::CheckStorage(_)
        | Action::HandOver(_)
        | Action::StopServing(_)
        | Action::TakeSnapshot(_)
        | Action::SendSnapshot(_)
        | Action::Reset(_)
        | Action::SignClient(_)
        | Action::Check(_)
        | Action::SetServingNames(_)
        | Action::ProbeEndpoint(_)
        | Action::SetClusterEndpoint(_)
        | Action::SetNodeEndpoint(_)
        | Action::RestartKubeProxy(_)
        | Action::RenewCertificates(_)
        | Action::ApproveServing(_) => None,
    }
}
