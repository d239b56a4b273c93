//! Membership orders over the modelled etcd: the agent's own decisions ([`add::decide`] and the like), the calls' refusals and
//! lost replies, and its patience with them.

use super::orders::{Died, Step, Worker};
use quorate_agent::etcd::EtcdRefusal;
use quorate_agent::orders::membership::{add, promote, remove};
use quorate_proto::etcd::Member;
use quorate_proto::v1::*;

/// As the agent has them.
const REFUSED_PAUSE_MS: u64 = 250;
const PASSING_PAUSE_MS: u64 = 200;
const POLL_MS: u64 = 100;
const PATIENCE_MS: u64 = 15_000;

type Outcome = (OrderResult, Option<JoinMaterial>);

enum Change<'a> {
    Add(&'a str),
    Promote(u64),
    Remove(u64),
}

#[derive(Default)]
struct Tries {
    rejected: u32,
    failing_since: Option<u64>,
}

impl Tries {
    /// Waits after a failure; the problem if it is not worth waiting.
    async fn after(&mut self, worker: &Worker, refusal: EtcdRefusal) -> Step<()> {
        let now = worker.world.now_ms();
        let since = *self.failing_since.get_or_insert(now);
        if !refusal.passes() || now - since > PATIENCE_MS {
            return Ok(Err(problem(refusal)));
        }
        worker.take(PASSING_PAUSE_MS, PASSING_PAUSE_MS).await?;
        Ok(Ok(()))
    }

    fn end(&self, ended: Result<OrderResult, Problem>, refused: bool) -> Step<Outcome> {
        let status = match (&ended, refused) {
            (Ok(_), _) => OrderStatus::Succeeded,
            (Err(_), true) => OrderStatus::Refused,
            (Err(_), false) => OrderStatus::Failed,
        };
        let problem = ended.as_ref().err().cloned();
        let result = OrderResult {
            status: status as i32,
            problem,
            rejected_calls: self.rejected,
            ..ended.unwrap_or_default()
        };
        Ok(Ok((result, None)))
    }
}

fn problem(refusal: EtcdRefusal) -> Problem {
    Problem::new("etcd-refused", format!("etcd said {refusal:?}"))
}

/// A linearizable list through the machine's own member.
async fn members(worker: &Worker) -> Result<Result<Vec<Member>, EtcdRefusal>, Died> {
    worker.take(1, 15).await?;
    worker.world.refresh();
    let now = worker.world.now_ms();
    let state = worker.world.lock();
    let Some((id, sight)) = state.sight(&worker.name, now) else {
        return Ok(Err(EtcdRefusal::OutcomeUnknown));
    };
    let Some(cluster) = state.cluster(id) else {
        return Ok(Err(EtcdRefusal::OutcomeUnknown));
    };
    Ok(cluster.serves(&sight).map(|()| cluster.list()))
}

/// One call: judged, then committed if there still is a quorum, then answered unless the answer is lost.
async fn call(
    worker: &Worker,
    order: &Order,
    change: Change<'_>,
) -> Result<Result<u64, EtcdRefusal>, Died> {
    worker.take(1, 15).await?;
    if let Err(refusal) = judge(worker, &change) {
        return Ok(Err(refusal));
    }
    // Between the judgement and the commit others may have been quicker.
    let slow = worker.world.lock().random.chance(30);
    let commit = worker.take(1, if slow { 1_500 } else { 20 }).await;
    let done = judge(worker, &change).map(|()| commit_now(worker, order, &change));
    commit?;
    worker.take(1, 15).await?;
    let lost = {
        let mut state = worker.world.lock();
        !state.faults_over && state.random.chance(10)
    };
    if lost {
        worker.world.fault("etcd's reply is lost", &worker.name);
        return Ok(Err(EtcdRefusal::OutcomeUnknown));
    }
    Ok(done)
}

fn judge(worker: &Worker, change: &Change<'_>) -> Result<(), EtcdRefusal> {
    worker.world.refresh();
    let now = worker.world.now_ms();
    let state = worker.world.lock();
    let (id, sight) = state
        .sight(&worker.name, now)
        .ok_or(EtcdRefusal::OutcomeUnknown)?;
    let cluster = state.cluster(id).ok_or(EtcdRefusal::OutcomeUnknown)?;
    match change {
        Change::Add(peer_url) => cluster.may_add(peer_url, &sight, state.flavour),
        Change::Promote(member) => cluster.may_promote(*member, &sight, state.flavour),
        Change::Remove(member) => cluster.may_remove(*member, &sight, state.flavour),
    }
}

fn commit_now(worker: &Worker, order: &Order, change: &Change<'_>) -> u64 {
    let (now, at) = (worker.world.now_ms(), worker.world.elapsed_ms());
    let mut state = worker.world.lock();
    let fresh = state.id() << 20 | 0xa;
    let voters = state.voters(now);
    let Some((id, _)) = state.sight(&worker.name, now) else {
        return 0;
    };
    let Some(cluster) = state.cluster_mut(id) else {
        return 0;
    };
    let (member, what) = match change {
        Change::Add(peer_url) => {
            cluster.add_learner(fresh, peer_url, now);
            (fresh, format!("added {fresh:x}"))
        }
        Change::Promote(member) => {
            cluster.promote(*member);
            (*member, format!("promoted {member:x}"))
        }
        Change::Remove(member) => {
            cluster.remove(*member);
            (*member, format!("removed {member:x}"))
        }
    };
    if matches!(change, Change::Remove(_)) {
        state.checks.removal(member, &voters, "is removed");
    }
    state.checks.effect(&order.id, what.clone());
    state
        .trace
        .add(at, &format!("etcd: {what} through {}", worker.name));
    drop(state);
    worker.world.refresh();
    member
}

pub async fn add(worker: &Worker, order: &Order, it: &AddMember) -> Step<Outcome> {
    let mut tries = Tries::default();
    loop {
        let list = match members(worker).await? {
            Ok(list) => list,
            Err(refusal) => match tries.after(worker, refusal).await? {
                Ok(()) => continue,
                Err(problem) => return tries.end(Err(problem), false),
            },
        };
        match add::decide(&list, it) {
            add::Decision::AlreadyThere(id) => return tries.end(Ok(with_id(id)), false),
            add::Decision::AddressTaken(_) => {
                let problem = Problem::new("peer-url-taken", "the address belongs to a voter");
                return tries.end(Err(problem), true);
            }
            add::Decision::VotersDiffer => {
                let problem = Problem::new("voters-changed", "the voters are others");
                return tries.end(Err(problem), true);
            }
            add::Decision::Add => {}
        }
        match call(worker, order, Change::Add(&it.peer_url)).await? {
            Ok(id) => return tries.end(Ok(with_id(id)), false),
            Err(EtcdRefusal::Unhealthy) => {
                tries.rejected += 1;
                worker.take(REFUSED_PAUSE_MS, REFUSED_PAUSE_MS).await?;
            }
            Err(refusal @ (EtcdRefusal::TooManyLearners | EtcdRefusal::NotEnoughStarted)) => {
                tries.rejected += 1;
                return tries.end(Err(problem(refusal)), false);
            }
            Err(EtcdRefusal::PeerUrlExists) => {}
            Err(refusal) => {
                if let Err(problem) = tries.after(worker, refusal).await? {
                    return tries.end(Err(problem), false);
                }
                continue;
            }
        }
        tries.failing_since = None;
    }
}

fn with_id(id: u64) -> OrderResult {
    OrderResult {
        member_id: id,
        ..OrderResult::default()
    }
}

pub async fn promote(worker: &Worker, order: &Order, it: &PromoteMember) -> Step<Outcome> {
    let mut tries = Tries::default();
    let deadline = worker.world.now_ms() + u64::from(order.timeout_seconds) * 1_000;
    let not_yet = |code: &str| Problem::new(code, "the learner is not ready");
    loop {
        let list = match members(worker).await? {
            Ok(list) => list,
            Err(refusal) => match tries.after(worker, refusal).await? {
                Ok(()) => continue,
                Err(problem) => return tries.end(Err(problem), false),
            },
        };
        let late = worker.world.now_ms() + 2 * POLL_MS >= deadline;
        match promote::decide(&list, it) {
            promote::Decision::Missing => {
                let problem = Problem::new("member-missing", "the learner was removed");
                return tries.end(Err(problem), false);
            }
            promote::Decision::AlreadyVoter => {
                return tries.end(Ok(with_id(it.member_id)), false);
            }
            promote::Decision::NotStarted => {
                if late {
                    return tries.end(Err(not_yet("learner-not-started")), false);
                }
                worker.take(2 * POLL_MS, 2 * POLL_MS).await?;
                continue;
            }
            promote::Decision::Promote => {}
        }
        match call(worker, order, Change::Promote(it.member_id)).await? {
            Ok(id) => return tries.end(Ok(with_id(id)), false),
            Err(EtcdRefusal::LearnerNotReady) => {
                if late {
                    return tries.end(Err(not_yet("learner-not-ready")), false);
                }
                worker.take(POLL_MS, POLL_MS).await?;
            }
            Err(EtcdRefusal::Unhealthy | EtcdRefusal::NotEnoughStarted) => {
                tries.rejected += 1;
                worker.take(REFUSED_PAUSE_MS, REFUSED_PAUSE_MS).await?;
            }
            Err(EtcdRefusal::NotALearner | EtcdRefusal::MemberNotFound) => {
                worker.take(POLL_MS, POLL_MS).await?;
            }
            Err(refusal) => {
                if let Err(problem) = tries.after(worker, refusal).await? {
                    return tries.end(Err(problem), false);
                }
                continue;
            }
        }
        tries.failing_since = None;
    }
}

pub async fn remove(worker: &Worker, order: &Order, it: &RemoveMember) -> Step<Outcome> {
    let mut tries = Tries::default();
    loop {
        let list = match members(worker).await? {
            Ok(list) => list,
            Err(refusal) => match tries.after(worker, refusal).await? {
                Ok(()) => continue,
                Err(problem) => return tries.end(Err(problem), false),
            },
        };
        let refused = |what: &str| Problem::new("removal-refused", what);
        match remove::decide(&list, it) {
            remove::Decision::Gone => return tries.end(Ok(OrderResult::default()), false),
            remove::Decision::Mismatch => {
                return tries.end(Err(refused("another member has the id")), true);
            }
            remove::Decision::IsVoter => return tries.end(Err(refused("it is a voter")), true),
            remove::Decision::Learner => {}
            remove::Decision::VotersDiffer => {
                return tries.end(Err(refused("the voters are others")), true);
            }
            remove::Decision::Voter { target, rest } => {
                if let Err(what) = make_expendable(worker, target.id, &rest, it.dead) {
                    return tries.end(Err(refused(what)), true);
                }
            }
        }
        match call(worker, order, Change::Remove(it.member_id)).await? {
            Ok(_) | Err(EtcdRefusal::MemberNotFound) => {
                return tries.end(Ok(OrderResult::default()), false);
            }
            Err(EtcdRefusal::Unhealthy | EtcdRefusal::NotEnoughStarted) => {
                tries.rejected += 1;
                worker.take(REFUSED_PAUSE_MS, REFUSED_PAUSE_MS).await?;
            }
            Err(refusal) => {
                if let Err(problem) = tries.after(worker, refusal).await? {
                    return tries.end(Err(problem), false);
                }
                continue;
            }
        }
        tries.failing_since = None;
    }
}

/// Checks that the others can do without this voter, and takes leadership from it.
fn make_expendable(
    worker: &Worker,
    target: u64,
    rest: &[Member],
    dead: bool,
) -> Result<(), &'static str> {
    let now = worker.world.now_ms();
    let mut state = worker.world.lock();
    let Some((id, sight)) = state.sight(&worker.name, now) else {
        return Err("its own member does not answer");
    };
    if sight.member == target {
        return Err("a voter is not removed through itself");
    }
    let answers = |id: u64| sight.connected.iter().any(|(seen, _)| *seen == id);
    if dead && answers(target) {
        return Err("it was said to be dead, and it answers");
    }
    let healthy: Vec<u64> = rest
        .iter()
        .map(|it| it.id)
        .filter(|it| answers(*it))
        .collect();
    if !remove::keeps_quorum(rest.len(), healthy.len()) {
        return Err("the others would lose quorum");
    }
    if answers(target)
        && let Some(heir) = healthy.first()
        && let Some(cluster) = state.cluster_mut(id)
    {
        cluster.hand_over(target, *heir);
    }
    Ok(())
}

pub fn own_member(worker: &Worker) -> Option<u64> {
    let now = worker.world.now_ms();
    let state = worker.world.lock();
    state
        .sight(&worker.name, now)
        .map(|(_, sight)| sight.member)
}

/// A member hands leadership on ahead of its stop. One that does not run leads nobody.
pub fn give_up_leadership(worker: &Worker) -> Result<(), Problem> {
    worker.world.refresh();
    let now = worker.world.now_ms();
    let mut state = worker.world.lock();
    let voters = state.voters(now);
    let Some((id, sight)) = state.sight(&worker.name, now) else {
        return Ok(());
    };
    let own = sight.member;
    let answers = |id: u64| sight.connected.iter().any(|(seen, _)| *seen == id);
    let heir = voters
        .iter()
        .map(|it| it.member)
        .find(|it| *it != own && answers(*it));
    let Some(cluster) = state.cluster_mut(id).filter(|it| it.leader == Some(own)) else {
        return Ok(());
    };
    let no_heir = || Problem::new("no-heir", "no other member could lead");
    cluster.hand_over(own, heir.ok_or_else(no_heir)?);
    Ok(())
}
