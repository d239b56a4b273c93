//! What speaks against a change of the endpoint or of the certificates now.

use crate::engine::handle::unknown_cluster;
use crate::engine::records::ClusterRecord;
use crate::engine::shared::Shared;
use crate::spec::address::host_port;
use crate::spec::file::Mode;
use crate::store::Entry;
use quorate_pki::Name;
use quorate_planner::endpoint::Address;
use quorate_proto::v1::{Endpoint, Problem};

/// The record, if nothing else is under way in the cluster.
pub fn free(shared: &Shared, name: &str) -> Result<Entry<ClusterRecord>, Problem> {
    let entry = known(shared, name)?;
    if let Some(problem) = under_way(&entry.value) {
        return Err(problem);
    }
    if let Some(operation) = &entry.value.operation {
        return Err(
            busy(&entry.value, "an operation is under way").next(format!(
                "quorate operation watch {operation}, then ask again"
            )),
        );
    }
    if shared.slot(name)?.is_some() {
        return Err(busy(&entry.value, "a membership change is under way")
            .next(format!("quorate status {name}, then ask again")));
    }
    if entry.value.founder.is_none() {
        return Err(
            Problem::new("refused-unformed", format!("{name} is not formed yet"))
                .next("quorate apply -f FILE"),
        );
    }
    Ok(entry)
}

pub fn known(shared: &Shared, name: &str) -> Result<Entry<ClusterRecord>, Problem> {
    shared
        .cluster_entry(name)?
        .ok_or_else(|| unknown_cluster(name))
}

fn busy(record: &ClusterRecord, what: &str) -> Problem {
    Problem::new("refused-busy", what).at(record.name.clone())
}

/// Joins, other rotations and renewals wait for this one.
pub fn under_way(record: &ClusterRecord) -> Option<Problem> {
    if let Some(problem) = crate::engine::shutdown::in_the_way(record) {
        return Some(problem);
    }
    if let Some(recovery) = &record.recovery {
        let what = format!("the cluster is being recovered from {}", recovery.node);
        return Some(busy(record, &what).next(format!(
            "quorate status {0}; go on with: quorate recover --cluster {0}",
            record.name
        )));
    }
    if let Some(leaving) = &record.leaving {
        let (name, node) = (&record.name, &leaving.node);
        let again = crate::engine::leaving::command(leaving);
        return Some(
            busy(record, &format!("{node} is leaving the cluster"))
                .next(format!("quorate status {name}; go on with: {again}")),
        );
    }
    if let Some(rotation) = &record.rotation {
        let what = match &rotation.other {
            Some(other) => format!(
                "the endpoint is being moved from {other} to {}",
                rotation.target
            ),
            None => "the endpoint's names and carriers are being brought in line".to_owned(),
        };
        let name = &record.name;
        return Some(busy(record, &what).next(format!(
            "quorate endpoint show --cluster {name}; go on with: quorate endpoint rotate --cluster {name} {}",
            rotation.target
        )));
    }
    let renewal = record.renewal.as_ref()?;
    let nodes: Vec<&str> = renewal.nodes.iter().map(|node| node.0.as_str()).collect();
    let problem = busy(record, "certificates are being renewed").because(nodes.join(", "));
    Some(problem.next(format!("quorate status {}, then ask again", record.name)))
}

/// What is asked for, complete and well-formed.
pub fn target(record: &ClusterRecord, asked: Option<&Endpoint>) -> Result<Address, Problem> {
    let asked = asked.cloned().unwrap_or_default();
    let invalid = |what: String| {
        Problem::new("invalid-endpoint", what)
            .at(host_port(&asked))
            .next("name it as HOST or HOST:PORT; HOST is an IPv4 or IPv6 address or a DNS name")
    };
    let name = Name::parse(&asked.host).map_err(|error| invalid(error.to_string()))?;
    if let Name::Ip(ip) = &name
        && (ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
    {
        return Err(invalid(format!("{ip} is not an address that others reach")));
    }
    let present = record
        .spec
        .cluster
        .endpoint
        .as_ref()
        .map_or(0, |it| it.port);
    let port = if asked.port == 0 { present } else { asked.port };
    let port = u16::try_from(port).ok().filter(|port| *port != 0);
    Ok(Address {
        host: match name {
            Name::Ip(ip) => ip.to_string(),
            Name::Dns(host) => host,
        },
        port: port.ok_or_else(|| invalid(format!("{} is no port", asked.port)))?,
    })
}

/// A port that a managed load balancer cannot serve besides what it serves already.
pub fn port_taken(record: &ClusterRecord, target: &Address) -> Option<Problem> {
    let spec = &record.spec;
    if spec.mode != Mode::Managed {
        return None;
    }
    let taken = |what: String| {
        Problem::new(
            "refused-port",
            format!(
                "port {} of the load balancers is taken: {what}",
                target.port
            ),
        )
        .at(record.name.clone())
        .next("choose another port")
    };
    if let Some(frontend) = spec.frontends.iter().find(|it| it.port == target.port) {
        return Some(taken(format!("the front end {}", frontend.name)));
    }
    if spec.stats_port == target.port {
        return Some(taken("the page of statistics".into()));
    }
    let shared = |node: &&crate::spec::SpecNode| node.config.load_balancer && node.config.member;
    let node = spec.nodes.iter().find(shared)?;
    (target.port == spec.api_port())
        .then(|| taken(format!("{} serves the API itself there", node.config.name)))
}
