//! The load balancer of this node and the servers behind it.

use crate::orders::preflight::finding::{fatal, ok, warning};
use quorate_proto::v1::{BackendState, Finding, LoadBalancerView, Problem};
use std::collections::BTreeMap;

pub fn judge(view: Option<&LoadBalancerView>) -> Vec<Finding> {
    const NAME: &str = "LoadBalancer";
    let Some(view) = view else {
        return vec![warning(
            NAME,
            Problem::new(
                "load-balancer-unknown",
                "the state of the load balancer is not known",
            )
            .next("look at `journalctl -u haproxy` on the node"),
        )];
    };
    if !view.running {
        let problem = view.problem.clone().unwrap_or_else(|| {
            Problem::new("load-balancer-down", "the load balancer does not run")
                .next("look at `journalctl -u haproxy` on the node")
        });
        return vec![fatal(NAME, problem)];
    }
    let mut findings = vec![match &view.problem {
        Some(problem) => warning(NAME, problem.clone()),
        None => ok(NAME, "running"),
    }];
    let mut frontends: BTreeMap<&str, Vec<&BackendState>> = BTreeMap::new();
    for backend in &view.backends {
        frontends
            .entry(&backend.frontend)
            .or_default()
            .push(backend);
    }
    findings.extend(
        frontends
            .iter()
            .map(|(name, backends)| judge_frontend(name, backends)),
    );
    findings
}

fn judge_frontend(frontend: &str, backends: &[&BackendState]) -> Finding {
    let name = format!("Backends-{frontend}");
    let down: Vec<String> = backends
        .iter()
        .filter(|backend| !backend.up)
        .map(|backend| match backend.detail.as_str() {
            "" => backend.name.clone(),
            detail => format!("{} ({detail})", backend.name),
        })
        .collect();
    let all = backends.len();
    if down.is_empty() {
        return ok(name, format!("all {all} servers are up"));
    }
    let listed = down.join(", ");
    let problem = Problem::new(
        "backends-down",
        format!("{} of {all} servers are down: {listed}", down.len()),
    )
    .at(frontend)
    .because("the servers are down, or this node cannot reach them");
    if down.len() == all {
        fatal(
            name,
            problem.next("nothing is served through this load balancer: check the servers first"),
        )
    } else {
        warning(
            name,
            problem.next("check these servers; the others carry the load meanwhile"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{self, Fatal, Ok as Good, Warning};

    fn backends(states: &[(&str, bool)]) -> Vec<BackendState> {
        let backend = |(frontend, up): &(&str, bool)| BackendState {
            frontend: (*frontend).to_owned(),
            name: "n1".into(),
            up: *up,
            detail: String::new(),
        };
        states.iter().map(backend).collect()
    }

    #[test]
    fn a_frontend_is_as_good_as_its_servers() {
        let running = |states: &[(&str, bool)]| LoadBalancerView {
            running: true,
            backends: backends(states),
            ..LoadBalancerView::default()
        };
        let table: Vec<(Option<LoadBalancerView>, Vec<Severity>)> = vec![
            (None, vec![Warning]),
            (Some(LoadBalancerView::default()), vec![Fatal]),
            (Some(running(&[])), vec![Good]),
            (
                Some(running(&[("api", true), ("api", true)])),
                vec![Good, Good],
            ),
            (
                Some(running(&[("api", true), ("api", false)])),
                vec![Good, Warning],
            ),
            (
                Some(running(&[("api", false), ("web", true)])),
                vec![Good, Fatal, Good],
            ),
        ];
        for (view, expected) in table {
            let severities: Vec<_> = judge(view.as_ref()).iter().map(Finding::severity).collect();
            assert_eq!(severities, expected, "{view:?}");
        }
    }
}
