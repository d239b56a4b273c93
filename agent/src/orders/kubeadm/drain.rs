//! Moves the pods of a node that leaves to others, by `kubectl drain`: it cordons the node and evicts, so that disruption budgets hold.

use super::phase::say_line;
use super::{claim, ready};
use crate::context::{Context, Done, Outcome};
use crate::kube::api::Api;
use crate::kube::kubectl::kubectl;
use quorate_proto::v1::{DrainNode, Problem};
use std::time::Duration;

/// Beyond kubectl's own limit: it gives its reasons before it is ended.
const MARGIN: Duration = Duration::from_secs(15);
/// One write to one object.
const UNCORDON_WITHIN: Duration = Duration::from_secs(15);
/// Lines that name the pods that would not go.
const REASON_LINES: usize = 6;

pub async fn run(context: &Context, order: &DrainNode) -> Done {
    claim::require(context)?;
    let mut api = Api::new(&context.paths)?;
    if api.get(&ready::node_path(&order.name)).await?.is_none() {
        context.say(format!("there is no node {}", order.name));
        return Ok(Outcome::done());
    }
    let within = Duration::from_secs(order.within_seconds.into());
    let say = |line: &str| say_line(context, line);
    let drained = kubectl(&context.paths)?
        .args(arguments(order))
        .timeout((within + MARGIN).min(context.time_left()))
        .on_line(&say)
        .run()
        .await;
    let problem = match drained {
        Ok(output) if output.success() => return Ok(Outcome::done()),
        Ok(output) => blocked(order, &output.tail(REASON_LINES).join(" | ")),
        Err(problem) => problem,
    };
    // It stays in the cluster, and so it is to be of use.
    let uncordon = kubectl(&context.paths)?
        .args(["uncordon", &order.name])
        .timeout(UNCORDON_WITHIN);
    if let Err(other) = uncordon.ok().await {
        context.say(format!("{} stays cordoned: {other}", order.name));
    }
    Err(problem)
}

/// Pods without a controller would keep it for good, and so would scratch volumes: both are lost with the node in any case.
fn arguments(order: &DrainNode) -> [String; 6] {
    [
        "drain".to_owned(),
        order.name.clone(),
        "--ignore-daemonsets".to_owned(),
        "--delete-emptydir-data".to_owned(),
        "--force".to_owned(),
        format!("--timeout={}s", order.within_seconds),
    ]
}

fn blocked(order: &DrainNode, said: &str) -> Problem {
    Problem::new(
        "drain-blocked",
        format!(
            "the pods of {} have not left within {} s; it is schedulable again",
            order.name, order.within_seconds
        ),
    )
    .at(&order.name)
    .because(said)
    .next("see what disruption budgets allow: kubectl get pdb -A; then remove the node again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicts_within_the_limit_and_never_forces_past_a_budget() {
        let order = DrainNode {
            name: "w1".into(),
            within_seconds: 300,
        };
        let arguments = arguments(&order);
        assert_eq!(arguments[..2], ["drain", "w1"]);
        assert!(arguments.contains(&"--timeout=300s".to_owned()));
        assert!(!arguments.iter().any(|it| it.contains("disable-eviction")));
        let said = "Cannot evict pod as it would violate the pod's disruption budget.";
        assert_eq!(blocked(&order, said).cause, said);
    }
}
