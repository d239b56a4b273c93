//! This node's part of Kubernetes: its API server, its kubelet, and what the cluster says of it.

use crate::orders::preflight::finding::{fatal, ok, warning};
use quorate_proto::v1::{Finding, KubeView, Problem};

/// `member`: whether an API server runs here.
pub fn judge(view: &KubeView, node: &str, member: bool) -> Vec<Finding> {
    let mut findings = vec![judge_kubelet(view)];
    if member {
        findings.push(judge_api(view));
        findings.extend(judge_node(view, node));
    }
    findings
}

fn judge_kubelet(view: &KubeView) -> Finding {
    const NAME: &str = "Kubelet";
    if view.kubelet_healthy {
        return ok(NAME, "healthy");
    }
    fatal(
        NAME,
        Problem::new(
            "kubelet-unhealthy",
            "the kubelet does not say that it is healthy",
        )
        .at("http://127.0.0.1:10248/healthz")
        .because("it is down, or cannot reach containerd or the API server")
        .next("look at `journalctl -u kubelet` on the node"),
    )
}

fn judge_api(view: &KubeView) -> Finding {
    const NAME: &str = "ApiServer";
    if view.api_ready {
        return ok(NAME, format!("ready, {}", view.api_version));
    }
    let problem = view.api_problem.clone().unwrap_or_else(|| {
        Problem::new("api-not-ready", "the API server of this node is not ready")
    });
    let problem = match problem.next.is_empty() {
        true => problem
            .next("look at the log of kube-apiserver: `crictl logs` or /var/log/pods on the node"),
        false => problem,
    };
    fatal(NAME, problem)
}

fn judge_node(view: &KubeView, name: &str) -> Option<Finding> {
    const NAME: &str = "NodeReady";
    if !view.nodes_known {
        return None;
    }
    let problem = |what: String| Problem::new("node-not-ready", what).at(name);
    Some(match view.nodes.iter().find(|node| node.name == name) {
        None => fatal(
            NAME,
            problem(format!("the cluster has no node {name}"))
                .because("it was deleted, or the kubelet registered under another name")
                .next("restart the kubelet: it registers again"),
        ),
        Some(node) if !node.ready => fatal(
            NAME,
            problem(format!(
                "the cluster says that this node is not ready: {}",
                node.reason
            ))
            .because("no pod network, or the kubelet does not report")
            .next(format!("kubectl describe node {name}")),
        ),
        Some(node) if node.unschedulable => warning(
            NAME,
            problem("this node takes no new pods: it is cordoned".into()).next(format!(
                "kubectl uncordon {name}, when the work on it is done"
            )),
        ),
        Some(node) => ok(NAME, format!("ready, kubelet {}", node.kubelet_version)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::KubeNode;
    use quorate_proto::v1::Severity::{self, Fatal, Ok as Good, Warning};

    fn view(node: KubeNode) -> KubeView {
        KubeView {
            api_ready: true,
            kubelet_healthy: true,
            nodes: vec![node],
            nodes_known: true,
            ..KubeView::default()
        }
    }

    fn node(ready: bool, unschedulable: bool) -> KubeNode {
        KubeNode {
            name: "n1".into(),
            ready,
            unschedulable,
            ..KubeNode::default()
        }
    }

    #[test]
    fn a_members_view() {
        let silent = KubeView {
            nodes_known: false,
            api_ready: false,
            ..view(node(true, false))
        };
        let other = KubeNode {
            name: "n2".into(),
            ..node(true, false)
        };
        let table: Vec<(KubeView, Vec<Severity>)> = vec![
            (view(node(true, false)), vec![Good, Good, Good]),
            (view(node(true, true)), vec![Good, Good, Warning]),
            (view(node(false, false)), vec![Good, Good, Fatal]),
            (view(other), vec![Good, Good, Fatal]),
            (silent, vec![Good, Fatal]),
            (KubeView::default(), vec![Fatal, Fatal]),
        ];
        for (view, expected) in table {
            let severities: Vec<_> = judge(&view, "n1", true)
                .iter()
                .map(Finding::severity)
                .collect();
            assert_eq!(severities, expected, "{view:?}");
        }
        let worker = KubeView {
            kubelet_healthy: true,
            ..KubeView::default()
        };
        assert_eq!(judge(&worker, "n1", false).len(), 1);
    }

    #[test]
    fn every_problem_says_what_to_do_next() {
        for finding in judge(&KubeView::default(), "n1", true) {
            assert!(
                !finding.problem.expect("problem").next.is_empty(),
                "{}",
                finding.name
            );
        }
    }
}
