//! Membership changes of etcd, run on a healthy member for both distributions, over its API.
//!
//! Each change reads linearizably, decides ([`add::decide`], [`promote::decide`], [`remove::decide`]: pure), makes one call, and
//! reads again: whether a call whose reply was lost had its effect is seen in the list, never guessed.

pub mod add;
pub mod hand_over;
pub mod promote;
pub mod remove;
#[cfg(test)]
mod tests;

use crate::context::{Context, Outcome};
use crate::etcd::{EtcdAccess, EtcdClient, EtcdFailure};
use quorate_proto::etcd::Member;
use quorate_proto::v1::{OrderResult, OrderStatus, Problem};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A membership change waits for a disk write on a majority; etcd itself gives up after 7 s.
const CALL_WITHIN: Duration = Duration::from_secs(8);
/// Pause after "unhealthy cluster": the state that it waits for lasts up to 5 s, so asking more often gains nothing.
const REFUSED_PAUSE: Duration = Duration::from_millis(250);
/// Pause after a call that a new leader or a restart will let pass.
const PASSING_PAUSE: Duration = Duration::from_millis(200);
/// How long such failures may last in a row: an election takes 2 s, a restart of the member 5 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// The healthy member that a change is made through.
pub struct Via {
    access: EtcdAccess,
    client: EtcdClient,
    deadline: Instant,
}

/// Why a change did not come about.
#[derive(Debug)]
pub enum Ending {
    /// A precondition did not hold; nothing was changed.
    Refused(Problem),
    Failed(Problem),
}

/// What is counted and remembered between the tries of one order.
#[derive(Default)]
pub struct Tries {
    /// Calls that etcd refused although the caller was to have waited for the right moment.
    pub rejected: u32,
    failing_since: Option<Instant>,
}

impl Via {
    pub fn local(context: &Context) -> Result<Self, Problem> {
        Ok(Via::new(
            EtcdAccess::required(&context.paths)?,
            context.deadline,
        ))
    }

    pub fn new(access: EtcdAccess, deadline: Instant) -> Self {
        Via {
            client: EtcdClient::new(&access, CALL_WITHIN),
            access,
            deadline,
        }
    }

    /// The members as of now: etcd 3.4 answers a list from memory, so that a linearizable read goes first. It proves a quorum, and
    /// that this member has applied every change made before.
    async fn members(&self) -> Result<Vec<Member>, EtcdFailure> {
        self.client.linearizable_read().await?;
        self.client.member_list(true).await
    }

    /// Sleeps, unless the deadline comes first.
    async fn pause(&self, pause: Duration, waiting_for: &Problem) -> Result<(), Ending> {
        if Instant::now() + pause >= self.deadline {
            return Err(Ending::Failed(waiting_for.clone()));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

impl Tries {
    fn succeeded(&mut self) {
        self.failing_since = None;
    }

    /// Waits after a failure that passes by itself; ends the order after any other, or after too many in a row.
    async fn after(&mut self, via: &Via, failure: &EtcdFailure) -> Result<(), Ending> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if !failure.passes() || since.elapsed() > PATIENCE {
            return Err(Ending::Failed(failure.problem()));
        }
        via.pause(PASSING_PAUSE, &failure.problem()).await
    }

    /// Waits after a refusal by etcd's check of its own health.
    async fn rejected(&mut self, via: &Via, failure: &EtcdFailure) -> Result<(), Ending> {
        self.rejected += 1;
        via.pause(REFUSED_PAUSE, &failure.problem()).await
    }
}

/// The order's outcome, with the count of refused calls whatever it came to.
fn outcome(ending: Result<OrderResult, Ending>, tries: &Tries) -> Outcome {
    let (status, problem, result) = match ending {
        Ok(result) => (OrderStatus::Succeeded, None, result),
        Err(Ending::Refused(problem)) => {
            (OrderStatus::Refused, Some(problem), OrderResult::default())
        }
        Err(Ending::Failed(problem)) => {
            (OrderStatus::Failed, Some(problem), OrderResult::default())
        }
    };
    Outcome {
        result: OrderResult {
            status: status as i32,
            problem,
            rejected_calls: tries.rejected,
            ..result
        },
        sealed: None,
    }
}

/// "n1 (8e9e05c52164694d) https://10.0.0.1:2380", for errors.
fn describe(member: &Member) -> String {
    let name = match member.name.as_str() {
        "" => "(not started)",
        name => name,
    };
    let kind = if member.is_learner { "learner " } else { "" };
    format!(
        "{kind}{name} {:x} {}",
        member.id,
        member.peer_ur_ls.join(",")
    )
}

fn has_peer_url(member: &Member, peer_url: &str) -> bool {
    member.peer_ur_ls.iter().any(|url| url == peer_url)
}

fn voters(members: &[Member]) -> BTreeSet<u64> {
    members
        .iter()
        .filter(|member| !member.is_learner)
        .map(|member| member.id)
        .collect()
}

fn voters_differ(members: &[Member], expected: &[u64], peer_url: &str) -> Problem {
    let list = |ids: BTreeSet<u64>| {
        ids.iter()
            .map(|id| format!("{id:x}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let expected = list(expected.iter().copied().collect());
    Problem::new(
        "voters-changed",
        format!(
            "the cluster's voters are [{}], the order expects [{expected}]",
            list(voters(members))
        ),
    )
    .at(peer_url)
    .because("another change was made since the decision")
    .next("plan again from the members as they are now")
}
