//! Waiting until the local member serves, and seeing when it never will.

use super::environment::METRICS_PORT;
use super::unit;
use crate::context::Context;
use crate::etcd::{EtcdAccess, EtcdClient};
use crate::kube::http::plain_get;
use quorate_proto::v1::Problem;
use std::future::Future;
use std::time::{Duration, Instant};

/// A member of a small cluster answers within 100 ms of its start.
const POLL: Duration = Duration::from_millis(100);
/// The unit is asked less often: it costs processes.
const UNIT_POLL: Duration = Duration::from_secs(1);
/// One answer of a member on this machine.
const CALL_WITHIN: Duration = Duration::from_secs(2);

pub fn client(context: &Context) -> Result<EtcdClient, Problem> {
    let access = EtcdAccess::required(&context.paths)?;
    Ok(EtcdClient::new(&access, CALL_WITHIN))
}

/// Waits until the member answers at all; a learner does too.
pub async fn answers(context: &Context, client: &EtcdClient) -> Result<(), Problem> {
    until(context, || async {
        client
            .status()
            .await
            .map(|_| ())
            .map_err(|failure| failure.problem())
    })
    .await
}

/// Waits until the member takes part in the quorum and its load balancers see it healthy.
pub async fn serves(context: &Context, client: &EtcdClient) -> Result<(), Problem> {
    until(context, || async {
        client
            .linearizable_read()
            .await
            .map_err(|failure| failure.problem())?;
        health_endpoint().await
    })
    .await
}

/// What a load balancer asks.
async fn health_endpoint() -> Result<(), Problem> {
    let answer = plain_get("127.0.0.1", METRICS_PORT, "/health", CALL_WITHIN).await?;
    if answer.success() && is_healthy(&answer.body) {
        return Ok(());
    }
    Err(Problem::new(
        "etcd-unhealthy",
        format!("etcd's health endpoint answers {}", answer.status),
    )
    .at(format!("http://127.0.0.1:{METRICS_PORT}/health"))
    .because("no leader, or an alarm is raised"))
}

fn is_healthy(body: &[u8]) -> bool {
    serde_json::from_slice(body)
        .is_ok_and(|value: serde_json::Value| value.get("health").is_some_and(|h| h == "true"))
}

async fn until<F>(context: &Context, probe: impl Fn() -> F) -> Result<(), Problem>
where
    F: Future<Output = Result<(), Problem>>,
{
    let mut unit_asked = Instant::now();
    loop {
        let Err(problem) = probe().await else {
            return Ok(());
        };
        if unit_asked.elapsed() >= UNIT_POLL {
            if let Some(failure) = unit::failure().await? {
                return Err(failure);
            }
            unit_asked = Instant::now();
        }
        if context.time_left() <= POLL {
            return Err(problem);
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_of_old_and_new_versions() {
        for (body, healthy) in [
            (r#"{"health":"true"}"#, true),
            (r#"{"health":"true","reason":""}"#, true),
            (r#"{"health":"false","reason":"NO LEADER"}"#, false),
            ("", false),
            ("true", false),
        ] {
            assert_eq!(is_healthy(body.as_bytes()), healthy, "{body}");
        }
    }
}
