//! Order preflight: everything that would keep this node from its role, found at once. Changes nothing.
//! Each check is a file: it observes, and a pure function judges what was seen. Names are kubeadm's where it has the check.

pub mod cidr;
mod clock;
pub mod disk;
mod environment;
pub mod finding;
mod kernel_config;
mod leftovers;
pub mod machine;
mod network;
mod ports;
mod reach;
pub mod role;
mod software;
mod subnets;
mod system;

use crate::context::{Context, Done, Outcome};
use crate::marks;
use crate::orders::install::documents::Documents;
use disk::Holds;
use quorate_proto::v1::{Finding, Preflight, Severity};
use role::Role;
use std::path::PathBuf;
use std::time::SystemTime;

pub async fn run(context: &Context, action: &Preflight) -> Done {
    let arrived = SystemTime::now();
    let cluster = context.cluster()?;
    let mut findings = vec![clock::check(action.coordinator_unix_ms, arrived)];
    findings.extend(check_all(context, action).await?);
    finding::ignore(&mut findings, &cluster.ignore_preflight_errors);
    say(context, &findings);
    if !finding::any_fatal(&findings) {
        marks::update(&context.paths, |marks| {
            marks.preflight = action.digest.clone();
        })?;
    }
    let mut outcome = Outcome::done();
    outcome.result.findings = findings;
    Ok(outcome)
}

async fn check_all(
    context: &Context,
    action: &Preflight,
) -> Result<Vec<Finding>, quorate_proto::v1::Problem> {
    let cluster = context.cluster()?;
    let node = context.node()?;
    let marks = marks::load(&context.paths)?;
    let documents = Documents::of(cluster)?;
    let role = Role::of(cluster, node, &marks);
    let (network, leftovers, environment, software, reach, latency) = tokio::join!(
        network::check(cluster, node),
        leftovers::check(context, role, cluster, &marks, &documents),
        environment::check(context, role, cluster, node),
        software::check(role, cluster, action),
        reach::check(&action.reach),
        check_latency(context, role, &documents),
    );
    let mut findings = machine::check(context, role, &documents);
    findings.extend(system::check(context, role, cluster, &documents));
    findings.extend(ports::check(context, role, cluster));
    findings.extend(leftovers);
    findings.extend(network);
    findings.extend(subnets::check(context, role, cluster, node));
    findings.extend(reach);
    findings.extend(latency);
    if role.containers() {
        let images = context.paths.at("/var/lib/containerd");
        findings.push(disk::check_space(images, Holds::Images));
    } else if role.member {
        let data = context.paths.at(documents.etcd_data());
        findings.push(disk::check_space(data, Holds::Etcd));
    }
    findings.extend(software);
    findings.extend(environment);
    Ok(findings)
}

async fn check_latency(context: &Context, role: Role, documents: &Documents) -> Option<Finding> {
    if !role.member {
        return None;
    }
    let folder: PathBuf = context.paths.at(documents.etcd_data());
    Some(disk::check_latency(disk::existing(folder)).await)
}

fn say(context: &Context, findings: &[Finding]) {
    for finding in findings {
        let word = match finding.severity() {
            Severity::Fatal => "fatal",
            Severity::Warning => "warning",
            Severity::Ignored => "ignored",
            Severity::Ok | Severity::Unspecified => continue,
        };
        let what = finding
            .problem
            .as_ref()
            .map(|problem| problem.what.as_str());
        context.say(format!(
            "{word}: {}: {}",
            finding.name,
            what.unwrap_or_default()
        ));
    }
}
