//! Order check: every health check that this node can make of itself now, each finding with its cause and the next step.

mod balancer;
mod certificates;
mod etcd;
mod host;
mod kube;
mod services;

use crate::context::{Context, Done, Outcome};
use crate::orders::install::documents::Documents;
use crate::orders::preflight::finding::{ignore, ok};
use crate::{marks, observe};
use quorate_proto::v1::{Check, ClusterConfig, Distribution, Finding, Marks, NodeConfig};
use std::time::SystemTime;

/// What our own etcd members are given; kubeadm leaves etcd's default.
const ETCD_QUOTA: u64 = 8 * 1024 * 1024 * 1024;

pub async fn run(context: &Context, _action: &Check) -> Done {
    // A node outside any cluster can be checked too.
    let cluster = context.order.cluster.clone().unwrap_or_default();
    let node = context.order.node.clone().unwrap_or_default();
    let marks = marks::load(&context.paths)?;
    let documents = Documents::of(&cluster)?;
    let mut findings = check_all(context, &cluster, &node, &marks, &documents).await;
    // By name only: who accepts "all" of a machine's shortcomings still wants to know of an ill cluster.
    let named = |check: &&String| !check.eq_ignore_ascii_case("all");
    let ignored: Vec<String> = cluster
        .ignore_preflight_errors
        .iter()
        .filter(named)
        .cloned()
        .collect();
    ignore(&mut findings, &ignored);
    let mut outcome = Outcome::done();
    outcome.result.findings = findings;
    Ok(outcome)
}

async fn check_all(
    context: &Context,
    cluster: &ClusterConfig,
    node: &NodeConfig,
    marks: &Marks,
    documents: &Documents,
) -> Vec<Finding> {
    let roles = Roles::of(cluster.distribution(), marks);
    let paths = &context.paths;
    let (services, clock, disks, etcd, kube, balancer) = tokio::join!(
        services::check(cluster.distribution(), marks),
        host::clock(),
        host::disks(context, documents, roles.etcd, roles.containers),
        observe::etcd::view(paths, marks),
        observe::kube::view(paths, marks),
        observe::load_balancer::view(paths, marks),
    );
    let mut findings = services;
    if findings.is_empty() {
        findings.push(ok("Role", "this node has no running part of a cluster yet"));
    }
    if roles.etcd {
        findings.extend(etcd::judge(&etcd.unwrap_or_default(), roles.quota()));
    }
    if roles.containers {
        findings.extend(kube::judge(
            &kube.unwrap_or_default(),
            &node.name,
            roles.etcd,
        ));
        findings.push(host::swap(context, documents));
    }
    if roles.load_balancer {
        findings.extend(balancer::judge(balancer.as_ref()));
    }
    findings.extend(certificates::check(paths, SystemTime::now()));
    findings.extend(disks);
    findings.push(clock);
    findings
}

/// What runs here by the node's own marks, whatever the order says that it should become.
#[derive(Debug, PartialEq, Eq)]
struct Roles {
    etcd: bool,
    containers: bool,
    load_balancer: bool,
}

impl Roles {
    fn of(distribution: Distribution, marks: &Marks) -> Self {
        let member = [&marks.init, &marks.finished]
            .iter()
            .any(|mark| !mark.is_empty());
        let worker = !marks.worker.is_empty();
        let (etcd, containers) = match distribution {
            Distribution::Kubeadm => (member, member || worker),
            Distribution::Etcd => (member, false),
            Distribution::Unspecified => (false, false),
        };
        Roles {
            etcd,
            containers,
            load_balancer: !marks.load_balancer.is_empty(),
        }
    }

    fn quota(&self) -> Option<u64> {
        (self.etcd && !self.containers).then_some(ETCD_QUOTA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_what_runs_here() {
        let mark = || "sha256:0".to_owned();
        let member = Marks {
            finished: mark(),
            ..Marks::default()
        };
        let worker = Marks {
            worker: mark(),
            load_balancer: mark(),
            ..Marks::default()
        };
        let prepared = Marks {
            prepared: mark(),
            install: mark(),
            ..Marks::default()
        };
        for (distribution, marks, expected) in [
            (Distribution::Kubeadm, &member, (true, true, false)),
            (Distribution::Kubeadm, &worker, (false, true, true)),
            (Distribution::Kubeadm, &prepared, (false, false, false)),
            (Distribution::Etcd, &member, (true, false, false)),
            (Distribution::Unspecified, &member, (false, false, false)),
        ] {
            let roles = Roles::of(distribution, marks);
            let seen = (roles.etcd, roles.containers, roles.load_balancer);
            assert_eq!(seen, expected, "{distribution:?} {marks:?}");
        }
    }
}
