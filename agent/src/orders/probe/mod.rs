//! Calls the cluster through an endpoint and proves where it leads: to this cluster, to every listed member, to nothing else.
//!
//! - [`caller`]: as whom this node calls, and how it knows its own cluster; [`dial`]: one connection;
//! - [`verdict`]: what all of them together say (pure).

mod caller;
mod dial;
#[cfg(test)]
mod tests;
mod verdict;

use crate::context::{Context, Done, Outcome};
use caller::Caller;
use quorate_proto::v1::{ProbeEndpoint, Problem, ServingMember};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;
use verdict::Seen;

/// A name server's answer; resolvers themselves give up after as long.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Connections to find every member among: a balancer that picks by chance misses one of three with 12 x 3 once in a million times.
const FOR_EACH_SERVER: usize = 12;
const AT_LEAST: usize = 24;
/// Of a cluster with more members than any has.
const AT_MOST: usize = 120;
/// Good connections after which finding everyone is enough: one in three that fails shows by then.
const GOOD_FOR_EACH_SERVER: usize = 4;
/// Side by side, and open until all of them are done: a balancer by least connections then goes through its members.
const AT_ONCE: usize = 6;

pub async fn run(context: &Context, order: &ProbeEndpoint) -> Done {
    let endpoint = order.endpoint.as_ref().ok_or_else(malformed)?;
    let port = u16::try_from(endpoint.port).map_err(|_| malformed())?;
    let place = (endpoint.host.clone(), port);
    let addresses = resolve(&place).await?;
    let caller = Caller::of(context, &place, order.names_pending).await?;
    let seen = dial_all(&caller, &addresses, &order.servers).await;
    let names = verdict::judge(&seen, &order.servers, caller.sees_servers())
        .map_err(|problem| problem.at(crate::kube::carrier::text(&place)))?;
    caller.prove_cluster(&place).await?;
    let mut outcome = Outcome::done();
    outcome.result.servers_seen = names;
    Ok(outcome)
}

async fn resolve(place: &(String, u16)) -> Result<Vec<SocketAddr>, Problem> {
    let unresolved = |cause: String| {
        Problem::new(
            "endpoint-name-unresolved",
            format!("the name {} does not resolve on this node", place.0),
        )
        .at(crate::kube::carrier::text(place))
        .because(cause)
        .next("add it to DNS, or to /etc/hosts of every node")
    };
    match timeout(LOOK_UP, lookup_host((place.0.as_str(), place.1))).await {
        Err(_) => Err(unresolved(format!(
            "no answer within {} s",
            LOOK_UP.as_secs()
        ))),
        Ok(Err(error)) => Err(unresolved(error.to_string())),
        Ok(Ok(addresses)) => {
            let mut all: Vec<SocketAddr> = addresses.collect();
            all.sort_unstable();
            all.dedup();
            match all.is_empty() {
                true => Err(unresolved("it has no address".to_owned())),
                false => Ok(all),
            }
        }
    }
}

/// Every address gets its share of fresh connections, until the answer is clear.
async fn dial_all(
    caller: &Caller,
    addresses: &[SocketAddr],
    servers: &[ServingMember],
) -> Vec<Seen> {
    let enough = match caller.sees_servers() {
        true => GOOD_FOR_EACH_SERVER * servers.len(),
        false => 0,
    }
    .max(addresses.len());
    let budget = match enough > addresses.len() {
        true => (FOR_EACH_SERVER * servers.len()).clamp(AT_LEAST, AT_MOST),
        false => enough,
    };
    let mut seen: Vec<Seen> = Vec::new();
    while seen.len() < budget && !verdict::is_clear(&seen, servers, enough) {
        let count = AT_ONCE.max(addresses.len()).min(budget - seen.len());
        let mut batch = JoinSet::new();
        for number in seen.len()..seen.len() + count {
            let address = addresses[number % addresses.len()];
            let caller = caller.clone();
            batch.spawn(async move { dial::dial(&caller, address).await });
        }
        // Held until all have ended.
        let mut open = Vec::new();
        while let Some(ended) = batch.join_next().await {
            if let Ok((one, connection)) = ended {
                open.push(connection);
                seen.push(one);
            }
        }
        if open.is_empty() {
            break;
        }
    }
    seen
}

fn malformed() -> Problem {
    Problem::new("order-malformed", "the order names no endpoint to probe")
        .because("coordinator and agent of different versions")
        .next("install the same version of both packages")
}
