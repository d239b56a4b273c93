//! Passes etcd's leadership on without a lost request. Sent to every voter at once.
//!
//! From the moment at which the leader has chosen its heir until the heir leads, some milliseconds, raft drops writes; those that a
//! follower had forwarded are dropped without a word, so that their clients wait until they give up. So for this moment every voter
//! holds its clients ([`hold`]):
//!
//! ```text
//!   each voter:  hold ─> no write is under way any more ─> show it ─> another member leads ─> go on
//!   the leader:  hold ─> no write is under way any more ─> all others show it ─> move the leadership ─> go on
//! ```
//!
//! Nobody waits for anybody without end: a hold ends by itself, a voter tries some times, and the leader then does without.

use super::Via;
use crate::context::{Context, Done, Outcome};
use crate::etcd::{CLIENT_PORT, EtcdAccess, gauges};
use crate::host::hold::{self, Hold};
use quorate_proto::etcd::Member;
use quorate_proto::v1::{HandOver, Problem};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The orders of all voters start within some hundred milliseconds; a voter that was late is met in a later turn.
const TURNS: u32 = 2;
/// Between two turns: clients that were held send again within a second, and are to get through.
const BETWEEN: Duration = Duration::from_millis(1000);
/// How long the leader waits for all others to hold: two turns of theirs.
const MEET_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at the others, or at etcd's numbers.
const LOOK: Duration = Duration::from_millis(5);
/// A write takes as long as the slower half of the disks.
const DRAIN_WITHIN: Duration = Duration::from_millis(300);
/// From a request that has arrived until it counts as under way.
const ARRIVED: Duration = Duration::from_millis(10);

pub async fn run(context: &Context, order: &HandOver) -> Done {
    let access = EtcdAccess::required(&context.paths)?.from(hold::EXEMPT);
    let via = Via::new(access, context.deadline);
    let told = |failure: crate::etcd::EtcdFailure| failure.problem();
    let status = via.client.status().await.map_err(told)?;
    if status.leader != order.leader {
        context.say("another member leads already");
        return Ok(Outcome::done());
    }
    let itself = status.header.unwrap_or_default().member_id;
    if itself == order.leader {
        lead_over(context, &via, order).await?;
    } else {
        follow(context).await;
    }
    Ok(Outcome::done())
}

/// A voter that stays. That it could not hold its clients is no failure of the removal.
async fn follow(context: &Context) {
    for turn in 0..TURNS {
        if turn > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        match one_turn().await {
            Ok(Some(held)) => {
                context.say(format!("held its clients for {} ms", held.as_millis()));
                return;
            }
            Ok(None) => {}
            Err(problem) => {
                context.say(format!(
                    "does not hold its clients meanwhile, a write of theirs may be lost: {problem}"
                ));
                return;
            }
        }
    }
    context.say("held its clients, and no other member took the lead meanwhile");
}

/// How long clients were held until another member led; none if no other did.
async fn one_turn() -> Result<Option<Duration>, Problem> {
    let before = gauges::read().await?;
    let since = Instant::now();
    let hold = Hold::begin(CLIENT_PORT).await?;
    let moved = async {
        drained().await?;
        hold.ready().await?;
        while !hold.over() {
            let now = gauges::read().await?;
            if now.has_leader && now.leaders > before.leaders {
                return Ok(true);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(false)
    };
    let moved: Result<bool, Problem> = moved.await;
    hold.end().await?;
    Ok(moved?.then(|| since.elapsed()))
}

/// Until no write is under way, as clients are held. Writes that take longer may be lost: better than to hold them for longer.
async fn drained() -> Result<(), Problem> {
    let since = Instant::now();
    tokio::time::sleep(ARRIVED).await;
    while gauges::read().await?.pending > 0 && since.elapsed() < DRAIN_WITHIN {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The leader's own part.
async fn lead_over(context: &Context, via: &Via, order: &HandOver) -> Result<(), Problem> {
    let since = Instant::now();
    let heir = order.heir;
    // From here on only what this machine itself tells is asked: the others may hold already.
    let members = via.members().await.map_err(|failure| failure.problem())?;
    let mut at = Vec::new();
    for member in members.iter().filter(|it| !it.is_learner) {
        if member.id != order.leader {
            at.push(client_addresses(member).await);
        }
    }
    while since.elapsed() < MEET_WITHIN {
        if !all_show(&at).await {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let held = Instant::now();
        let hold = match Hold::begin(CLIENT_PORT).await {
            Ok(hold) => hold,
            Err(problem) => {
                return without(context, via, heir, &problem.to_string()).await;
            }
        };
        let drained = drained().await;
        let moved = match drained.is_ok() && hold.lasts() && all_show(&at).await {
            true => Some(via.client.move_leader(heir).await),
            false => None,
        };
        hold.end().await?;
        if let Some(moved) = moved {
            moved.map_err(|failure| failure.problem())?;
            context.say(format!(
                "handed the leadership to {heir:x}; its clients were held for {} ms",
                held.elapsed().as_millis()
            ));
            return Ok(());
        }
        drained?;
    }
    without(context, via, heir, "not all voters hold their clients").await
}

/// As good as it can be had: a removal does not fail of it.
async fn without(context: &Context, via: &Via, heir: u64, why: &str) -> Result<(), Problem> {
    context.say(format!(
        "hands the leadership over while clients write, some of these writes may be lost: {why}"
    ));
    let moved = via.client.move_leader(heir).await;
    moved.map_err(|failure| failure.problem())
}

/// Each of them at one of its addresses at least.
async fn all_show(others: &[Vec<SocketAddr>]) -> bool {
    let mut looks = JoinSet::new();
    for addresses in others {
        let addresses = addresses.clone();
        looks.spawn(async move {
            for address in addresses {
                if hold::is_shown(address).await {
                    return true;
                }
            }
            false
        });
    }
    looks.join_all().await.into_iter().all(|shown| shown)
}

/// Where a member's clients come in.
async fn client_addresses(member: &Member) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for url in &member.client_ur_ls {
        let authority = url.strip_prefix("https://").unwrap_or(url);
        if let Ok(found) = tokio::net::lookup_host(authority.trim_end_matches('/')).await {
            addresses.extend(found);
        }
    }
    addresses
}
