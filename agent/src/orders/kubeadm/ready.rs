//! Waits for what kubelet and API server of this node come to. Each asks the thing itself and is bounded.

use crate::context::Context;
use crate::kube::api::{self, Api};
use crate::kube::http::{Call, Connection, plain_get};
use quorate_proto::v1::Problem;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Between two questions: a tenth of what an API server takes to start at best, and cheap to answer.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// One answer; an API server that has just started may take its time.
const ANSWER: Duration = Duration::from_secs(5);
/// kubeadm's own limit for control plane components and for the kubelet.
pub const START_LIMIT: Duration = Duration::from_secs(240);
pub const KUBELET_HEALTH_PORT: u16 = 10248;

/// Asks until there is an answer, the limit is over, or the order's time is.
pub async fn until<T>(
    context: &Context,
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let end = Instant::now() + limit.min(context.time_left());
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(problem) if Instant::now() >= end => {
                return Err(
                    Problem::new("not-ready", format!("waited in vain for {what}"))
                        .at(problem.r#where)
                        .because(problem.what)
                        .next("look at `journalctl -u kubelet` and `crictl ps -a` on the node"),
                );
            }
            Err(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

/// Until the API server of this node says that it is ready.
pub async fn api(context: &Context) -> Result<(), Problem> {
    let target = api::target(&context.paths)?;
    until(
        context,
        "the API server of this node",
        START_LIMIT,
        async || {
            let mut connection = Connection::open(&target, ANSWER).await?;
            let answer = connection.call(Call::get("/readyz"), ANSWER).await?;
            match answer.success() {
                true => Ok(()),
                false => Err(Problem::new(
                    "not-ready",
                    format!("/readyz answers {}", answer.status),
                )
                .at(target.url())),
            }
        },
    )
    .await
}

/// Until the kubelet has registered this node.
pub async fn registered(context: &Context) -> Result<Value, Problem> {
    let path = node_path(&context.node()?.name);
    let mut api = Api::new(&context.paths)?;
    let what = "the kubelet to register its node";
    until(context, what, START_LIMIT, async || {
        let node = api.get(&path).await?;
        node.ok_or_else(|| Problem::new("not-ready", "there is no such node").at(&path))
    })
    .await
}

pub async fn kubelet(context: &Context) -> Result<(), Problem> {
    until(context, "the kubelet", START_LIMIT, async || {
        kubelet_health(ANSWER).await
    })
    .await
}

/// One question to the kubelet on this host.
pub async fn kubelet_health(within: Duration) -> Result<(), Problem> {
    let answer = plain_get("127.0.0.1", KUBELET_HEALTH_PORT, "/healthz", within).await?;
    match answer.success() {
        true => Ok(()),
        false => Err(Problem::new(
            "kubelet-unhealthy",
            format!("the kubelet's /healthz answers {}", answer.status),
        )),
    }
}

pub fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}
