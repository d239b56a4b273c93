//! The one membership change: who holds the slot, and its next step. Decided from the member list as it is now.
//!
//! ```text
//!   no slot ── safe? ──> Begin(Join) ─> Add ─> Start ─> Promote ─> Complete      (slot given back)
//!                              │ the joiner dies or fails for good
//!                              └──────> Remove ─> Abandon ─> node is reset, may be tried again
//! ```

use crate::facts::{Change, ChangeKind, Facts, Member, MemberList};
use crate::intent::{Intent, NodeIntent, NodeName};
use crate::leaving;
use crate::safety;
use crate::step::{Membership, MembershipStep, StepKind, VoterRemoval};
use crate::time::Time;
use crate::waiting::WaitingOn;

/// Silence after which a joiner that holds the slot counts as dead: reports come twice a second while work is under way, an
/// agent that was restarted is back within 2 s, and a dead joiner's learner is to be gone within 15 s.
pub const JOINER_SILENT_MS: u64 = 8_000;
/// A joiner whose etcd was started and does not run for this long will not run by itself: systemd starts it again every second.
pub const JOINER_DOWN_MS: u64 = 30_000;
/// A learner that no change of ours owns is left alone for this long: it may be somebody's `kubeadm join` under way.
pub const GHOST_AGE_MS: u64 = 5 * 60 * 1_000;

pub fn next(facts: &Facts, intent: &Intent, now: Time) -> Membership {
    if let Some((kind, node)) = underway(facts) {
        return Membership::Underway(kind, node);
    }
    match &facts.change {
        Some(change) => go_on(facts, intent, change, now),
        None => begin(facts, intent, now),
    }
}

/// A membership order that has no result yet, whoever asked for it.
pub fn underway(facts: &Facts) -> Option<(StepKind, NodeName)> {
    facts
        .running
        .iter()
        .find(|run| is_membership(run.kind))
        .map(|run| (run.kind, run.subject.clone()))
}

pub fn is_membership(kind: StepKind) -> bool {
    match kind {
        StepKind::Found
        | StepKind::AddMember
        | StepKind::StartMember
        | StepKind::PromoteMember
        | StepKind::RemoveMember
        | StepKind::Recover => true,
        StepKind::Preflight
        | StepKind::Install
        | StepKind::ConfigureBalancer
        | StepKind::CreateAuthority
        | StepKind::Prepare
        | StepKind::Finish
        | StepKind::JoinWorker
        | StepKind::ApplyManifests
        | StepKind::ConfigureNode
        | StepKind::DeleteNode
        | StepKind::Reset
        | StepKind::SetNames
        | StepKind::Probe
        | StepKind::SetObjects
        | StepKind::SetCarriers
        | StepKind::RestartProxies
        | StepKind::Renew
        | StepKind::Drain
        | StepKind::HandOver
        | StepKind::StopServing
        | StepKind::TaintNode
        | StepKind::UntaintNode
        | StepKind::StopNode
        | StepKind::StartNode
        | StepKind::CheckStorage
        | StepKind::ApproveServing => false,
    }
}

// ---- beginning

fn begin(facts: &Facts, intent: &Intent, now: Time) -> Membership {
    let Some(founder) = &facts.founder else {
        return Membership::Wait(vec![]); // the founder is named when it makes the authorities
    };
    let unfounded = !facts.node(founder).marks.known().is_some_and(|m| m.founded);
    if unfounded && !facts.formed && facts.members().is_empty() {
        return begin_founding(facts, intent, founder, now);
    }
    if let Some(ghost) = ghost(facts, intent, now) {
        return ghost;
    }
    if leaving::next(facts, intent, now).removes {
        return begin_leaving(facts, intent, now);
    }
    let waiting: Vec<&NodeIntent> = intent
        .members()
        .filter(|node| !intent.is_leaving(&node.name))
        .filter(|node| facts.member(&node.peer_url).is_none() && facts.failed(&node.name).is_none())
        .collect();
    if waiting.is_empty() {
        return match facts.etcd.list {
            MemberList::Known(_) => Membership::Settled,
            MemberList::Unknown => Membership::Wait(vec![WaitingOn::MemberListUnknown]),
            MemberList::Conflict(ref detail) => {
                Membership::Wait(vec![WaitingOn::MemberListConflict(detail.clone())])
            }
        };
    }
    begin_join(facts, intent, &waiting, now)
}

fn begin_founding(facts: &Facts, intent: &Intent, founder: &NodeName, now: Time) -> Membership {
    let Some(node) = intent.node(founder) else {
        return Membership::Wait(vec![WaitingOn::NotEnrolled(founder.clone())]);
    };
    let known = facts.node(founder);
    if !known.connected {
        return Membership::Wait(vec![WaitingOn::Offline(founder.clone())]);
    }
    if !known.marks.known().is_some_and(|m| m.authority) || facts.busy(founder) {
        return Membership::Wait(vec![WaitingOn::NotPrepared(founder.clone())]);
    }
    if let Some(wait) = held_back(facts, StepKind::Found, founder, now) {
        return Membership::Wait(vec![wait]);
    }
    Membership::Begin(
        Change {
            kind: ChangeKind::Found,
            node: founder.clone(),
            peer_url: node.peer_url.clone(),
            since: now,
            started: false,
        },
        MembershipStep::Found {
            node: founder.clone(),
        },
    )
}

/// The first node that is ready to join does; the others of the file don't hold it up.
fn begin_join(facts: &Facts, intent: &Intent, waiting: &[&NodeIntent], now: Time) -> Membership {
    let mut reasons = Vec::new();
    if let Some(leaving) = &intent.leaving
        && leaving::leaves_pool(facts, intent, &leaving.node)
    {
        return Membership::Wait(vec![WaitingOn::Leaving(leaving.node.clone())]);
    }
    for node in waiting {
        let not_ready = joiner_not_ready(facts, node, now);
        if !not_ready.is_empty() {
            reasons.extend(not_ready);
            continue;
        }
        let against = safety::against_adding(facts, node, now);
        if !against.is_empty() {
            return Membership::Wait(against);
        }
        let Some(via) = member_to_ask(facts, intent) else {
            return Membership::Wait(vec![WaitingOn::NoMemberToAsk]);
        };
        let change = Change {
            kind: ChangeKind::Join,
            node: node.name.clone(),
            peer_url: node.peer_url.clone(),
            since: now,
            started: false,
        };
        let step = add(facts, node, via);
        return Membership::Begin(change, step);
    }
    Membership::Wait(reasons)
}

fn joiner_not_ready(facts: &Facts, node: &NodeIntent, now: Time) -> Vec<WaitingOn> {
    let known = facts.node(&node.name);
    if !known.enrolled {
        return vec![WaitingOn::NotEnrolled(node.name.clone())];
    }
    if !known.connected {
        return vec![WaitingOn::Offline(node.name.clone())];
    }
    let prepared = known.marks.known().is_some_and(|m| m.prepared);
    if !prepared || facts.dirty.contains(&node.name) || facts.busy(&node.name) {
        return vec![WaitingOn::NotPrepared(node.name.clone())];
    }
    held_back(facts, StepKind::AddMember, &node.name, now)
        .into_iter()
        .collect()
}

/// An earlier try failed and its pause is not over, or it will not be tried again.
pub fn held_back(facts: &Facts, kind: StepKind, node: &NodeName, now: Time) -> Option<WaitingOn> {
    let trouble = facts.trouble(kind, node)?;
    let remaining_ms = trouble.retry_at.since(now);
    (remaining_ms > 0 || trouble.given_up()).then(|| WaitingOn::RetryLater {
        node: node.clone(),
        remaining_ms,
        last_error: trouble.last_error.clone(),
    })
}

/// A learner in the list that no change of ours owns.
fn ghost(facts: &Facts, intent: &Intent, now: Time) -> Option<Membership> {
    let learner = facts.members().iter().find(|member| member.learner)?;
    let wait = Membership::Wait(vec![WaitingOn::LearnerPresent {
        peer_url: learner.peer_url.clone(),
    }]);
    // Only a node of the file can be proven dead: its agent answers, and no etcd runs there.
    let Some(node) = intent.by_peer_url(&learner.peer_url) else {
        return Some(wait);
    };
    let known = facts.node(&node.name);
    let dead = known.connected && known.etcd_running.is(&false);
    let old = now.since(learner.seen_since) >= GHOST_AGE_MS;
    let prepared_by_us = known.marks.known().is_some_and(|m| m.prepared);
    if !(dead && (old || prepared_by_us)) {
        return Some(wait);
    }
    let Some(via) = member_to_ask(facts, intent) else {
        return Some(wait);
    };
    let change = Change {
        kind: ChangeKind::DropGhost,
        node: node.name.clone(),
        peer_url: learner.peer_url.clone(),
        since: now,
        started: false,
    };
    Some(Membership::Begin(change, remove(&node.name, via, learner)))
}

// ---- going on

fn go_on(facts: &Facts, intent: &Intent, change: &Change, now: Time) -> Membership {
    match change.kind {
        ChangeKind::Found => go_on_founding(facts, change, now),
        ChangeKind::Join => go_on_joining(facts, intent, change, now),
        ChangeKind::DropGhost => go_on_dropping(facts, intent, change, now),
        ChangeKind::Leave => go_on_leaving(facts, intent, change, now),
        // The rounds of a recovery are its own, and it takes its slot with it.
        ChangeKind::Recover => Membership::Wait(vec![WaitingOn::MemberListUnknown]),
    }
}

fn go_on_founding(facts: &Facts, change: &Change, now: Time) -> Membership {
    let node = &change.node;
    if facts.member(&change.peer_url).is_some_and(|m| m.started())
        && is_healthy(facts, &change.peer_url)
    {
        return Membership::Complete(node.clone());
    }
    let known = facts.node(node);
    if !known.connected {
        return Membership::Wait(vec![WaitingOn::Offline(node.clone())]);
    }
    // Not known yet what the last try has come to, or known to be done: in both cases the list will tell.
    if known.marks.known().is_none_or(|m| m.founded) {
        return Membership::Wait(vec![WaitingOn::MemberListUnknown]);
    }
    match held_back(facts, StepKind::Found, node, now) {
        Some(wait) => Membership::Wait(vec![wait]),
        None if facts.busy(node) => Membership::Wait(vec![WaitingOn::NotPrepared(node.clone())]),
        None => Membership::Continue(MembershipStep::Found { node: node.clone() }),
    }
}

fn go_on_joining(facts: &Facts, intent: &Intent, change: &Change, now: Time) -> Membership {
    let members = match &facts.etcd.list {
        MemberList::Unknown => return Membership::Wait(vec![WaitingOn::MemberListUnknown]),
        MemberList::Conflict(detail) => {
            return Membership::Wait(vec![WaitingOn::MemberListConflict(detail.clone())]);
        }
        MemberList::Known(members) => members,
    };
    let dead = joiner_dead(facts, intent, change, now);
    match members.iter().find(|m| m.peer_url == change.peer_url) {
        None => go_on_adding(facts, intent, change, dead, now),
        Some(member) if member.learner => {
            go_on_with_learner(facts, intent, change, member, dead, now)
        }
        Some(member) => go_on_with_voter(facts, change, member),
    }
}

fn go_on_adding(
    facts: &Facts,
    intent: &Intent,
    change: &Change,
    dead: bool,
    now: Time,
) -> Membership {
    let Some(node) = intent.node(&change.node).filter(|_| !dead) else {
        return Membership::Abandon(change.node.clone());
    };
    if let Some(wait) = held_back(facts, StepKind::AddMember, &change.node, now) {
        return Membership::Wait(vec![wait]);
    }
    // The slot is ours, but the cluster may have changed since: the rules are asked again before each try.
    let against = safety::against_adding(facts, node, now);
    if !against.is_empty() {
        return Membership::Wait(against);
    }
    match member_to_ask(facts, intent) {
        Some(via) => Membership::Continue(add(facts, node, via)),
        None => Membership::Wait(vec![WaitingOn::NoMemberToAsk]),
    }
}

fn go_on_with_learner(
    facts: &Facts,
    intent: &Intent,
    change: &Change,
    member: &Member,
    dead: bool,
    now: Time,
) -> Membership {
    let Some(via) = member_to_ask(facts, intent) else {
        return Membership::Wait(vec![WaitingOn::NoMemberToAsk]);
    };
    if dead {
        return Membership::Continue(remove(&change.node, via, member));
    }
    let node = change.node.clone();
    let running = facts.node(&node).etcd_running.is(&true);
    if !change.started && !running && !member.started() {
        return match held_back(facts, StepKind::StartMember, &node, now) {
            Some(wait) => Membership::Wait(vec![wait]),
            None => Membership::Continue(MembershipStep::Start {
                node,
                member: member.id,
            }),
        };
    }
    match held_back(facts, StepKind::PromoteMember, &node, now) {
        Some(wait) => Membership::Wait(vec![wait]),
        None => Membership::Continue(MembershipStep::Promote {
            node,
            via,
            member: member.id,
            peer_url: member.peer_url.clone(),
        }),
    }
}

/// A joiner that votes is not removed with its join, whatever became of it: removing voters is an operator's order.
fn go_on_with_voter(facts: &Facts, change: &Change, member: &Member) -> Membership {
    if is_healthy(facts, &member.peer_url) {
        return Membership::Complete(change.node.clone());
    }
    Membership::Wait(vec![WaitingOn::VoterUnhealthy {
        node: change.node.clone(),
    }])
}

fn go_on_dropping(facts: &Facts, intent: &Intent, change: &Change, now: Time) -> Membership {
    let MemberList::Known(members) = &facts.etcd.list else {
        return Membership::Wait(vec![WaitingOn::MemberListUnknown]);
    };
    match members.iter().find(|m| m.peer_url == change.peer_url) {
        None => Membership::Abandon(change.node.clone()),
        Some(member) if !member.learner => Membership::Complete(change.node.clone()),
        Some(member) => match (
            held_back(facts, StepKind::RemoveMember, &change.node, now),
            member_to_ask(facts, intent),
        ) {
            (Some(wait), _) => Membership::Wait(vec![wait]),
            (None, None) => Membership::Wait(vec![WaitingOn::NoMemberToAsk]),
            (None, Some(via)) => Membership::Continue(remove(&change.node, via, member)),
        },
    }
}

/// Only on the operator's word that stands in the record; without it the slot goes back and the member stays.
fn go_on_leaving(facts: &Facts, intent: &Intent, change: &Change, now: Time) -> Membership {
    let MemberList::Known(members) = &facts.etcd.list else {
        return Membership::Wait(vec![WaitingOn::MemberListUnknown]);
    };
    let Some(member) = members.iter().find(|m| m.peer_url == change.peer_url) else {
        return Membership::Complete(change.node.clone());
    };
    let trouble = facts.trouble(StepKind::RemoveMember, &change.node);
    if !intent.is_leaving(&change.node) || trouble.is_some_and(|it| it.given_up()) {
        return Membership::Release(change.node.clone());
    }
    if let Some(wait) = held_back(facts, StepKind::RemoveMember, &change.node, now) {
        return Membership::Wait(vec![wait]);
    }
    match removal(facts, intent, &change.node, member, now) {
        Ok(step) => Membership::Continue(step),
        Err(against) => Membership::Wait(against),
    }
}

fn begin_leaving(facts: &Facts, intent: &Intent, now: Time) -> Membership {
    let leaving = intent.leaving.as_ref();
    let Some(node) = leaving.and_then(|it| intent.node(&it.node)) else {
        return Membership::Settled;
    };
    let Some(member) = facts.member(&node.peer_url) else {
        return Membership::Wait(vec![WaitingOn::MemberListUnknown]);
    };
    if let Some(wait) = held_back(facts, StepKind::RemoveMember, &node.name, now) {
        return Membership::Wait(vec![wait]);
    }
    let change = Change {
        kind: ChangeKind::Leave,
        node: node.name.clone(),
        peer_url: node.peer_url.clone(),
        since: now,
        started: false,
    };
    match removal(facts, intent, &node.name, member, now) {
        Ok(step) => Membership::Begin(change, step),
        Err(against) => Membership::Wait(against),
    }
}

/// The slot is ours, but the cluster may have changed since: the rules are asked before each try.
fn removal(
    facts: &Facts,
    intent: &Intent,
    node: &NodeName,
    member: &Member,
    now: Time,
) -> Result<MembershipStep, Vec<WaitingOn>> {
    let against = safety::against_removing(facts, member, now);
    if !against.is_empty() {
        return Err(against);
    }
    let via = member_to_ask(facts, intent).filter(|via| via != node);
    let via = via.ok_or_else(|| vec![WaitingOn::NoMemberToAsk])?;
    let dead = intent.leaving.as_ref().is_some_and(|it| it.dead) && !facts.node(node).connected;
    Ok(MembershipStep::Remove {
        node: node.clone(),
        via,
        member: member.id,
        peer_url: member.peer_url.clone(),
        voter: (!member.learner).then(|| VoterRemoval {
            expected_voters: voters(facts),
            dead,
        }),
    })
}

/// The joiner will not bring its own join to an end: silent for too long, without its etcd, dropped from the file, or a step of it
/// failed for good.
fn joiner_dead(facts: &Facts, intent: &Intent, change: &Change, now: Time) -> bool {
    let known = facts.node(&change.node);
    let silent = !known.connected && now.since(known.heard) >= JOINER_SILENT_MS;
    let failed = [
        StepKind::AddMember,
        StepKind::StartMember,
        StepKind::PromoteMember,
    ]
    .iter()
    .any(|kind| {
        facts
            .trouble(*kind, &change.node)
            .is_some_and(|t| t.given_up())
    });
    // Its agent answers, and its etcd that has run is gone: cleaned by hand, a new disk, data that etcd refuses.
    let member = facts.member(&change.peer_url);
    let ran = change.started || member.is_some_and(Member::started);
    let down = known.etcd_down_since.map(|since| now.since(since));
    let stopped = ran && down.is_some_and(|ms| ms >= JOINER_DOWN_MS);
    silent || failed || stopped || intent.node(&change.node).is_none()
}

// ---- small helpers

fn add(facts: &Facts, node: &NodeIntent, via: NodeName) -> MembershipStep {
    MembershipStep::Add {
        node: node.name.clone(),
        via,
        peer_url: node.peer_url.clone(),
        expected_voters: voters(facts),
    }
}

fn voters(facts: &Facts) -> Vec<u64> {
    let voters = facts.members().iter().filter(|m| !m.learner);
    voters.map(|m| m.id).collect()
}

fn remove(node: &NodeName, via: NodeName, member: &Member) -> MembershipStep {
    MembershipStep::Remove {
        node: node.clone(),
        via,
        member: member.id,
        peer_url: member.peer_url.clone(),
        voter: None,
    }
}

fn is_healthy(facts: &Facts, peer_url: &str) -> bool {
    facts
        .member(peer_url)
        .is_some_and(|member| safety::healthy_voters(std::slice::from_ref(member)) == 1)
}

/// The agent of a healthy voter, the leader's first: its view is the newest. One that leaves is asked only where there is no other.
fn member_to_ask(facts: &Facts, intent: &Intent) -> Option<NodeName> {
    healthy_member(facts, |name| !intent.is_leaving(name))
        .or_else(|| healthy_member(facts, |_| true))
}

fn healthy_member(facts: &Facts, may: impl Fn(&NodeName) -> bool) -> Option<NodeName> {
    let candidates: Vec<(&Member, NodeName)> = facts
        .members()
        .iter()
        .filter(|member| is_healthy(facts, &member.peer_url))
        .filter_map(|member| {
            let name = NodeName(member.name.clone()?);
            (facts.node(&name).connected && may(&name)).then_some((member, name))
        })
        .collect();
    let leader = candidates
        .iter()
        .find(|(member, _)| member.health.known().is_some_and(|h| h.leader == member.id));
    leader.or(candidates.first()).map(|(_, name)| name.clone())
}
