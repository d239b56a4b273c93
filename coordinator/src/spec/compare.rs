//! What a new file may change of the one in force. What it may not is refused, with the command that does it.

use super::Spec;
use quorate_proto::v1::Problem;

pub fn refusals(old: &Spec, new: &Spec) -> Vec<Problem> {
    let mut refusals = Vec::new();
    for node in &old.nodes {
        let name = &node.config.name;
        match new.node(name) {
            None => refusals.push(
                Problem::new(
                    "refused-omission",
                    format!("{name} is part of the cluster but not in the file"),
                )
                .at("cluster file, nodes")
                .because("a node is never removed by leaving it out")
                .next(format!(
                    "put it back, or remove it on purpose: quorate node remove {name}"
                )),
            ),
            Some(wish) => {
                if wish.config.address != node.config.address {
                    refusals.push(fixed(
                        &format!("address of {name}"),
                        &node.config.address,
                        &wish.config.address,
                        "remove the node and add it under its new address",
                    ));
                }
                if wish.config.member != node.config.member
                    || wish.config.worker != node.config.worker
                {
                    refusals.push(fixed(
                        &format!("roles of {name}"),
                        "as joined",
                        "others",
                        "remove the node and add it in its new role",
                    ));
                }
            }
        }
    }
    let (old, new) = (&old.cluster, &new.cluster);
    if old.distribution != new.distribution {
        refusals.push(fixed(
            "distribution",
            "the one in force",
            "another",
            "form a new cluster under another name",
        ));
    }
    if old.version != new.version {
        refusals.push(fixed(
            "version",
            &old.version,
            &new.version,
            "keep the version; upgrades are not part of this command",
        ));
    }
    if old.endpoint != new.endpoint {
        let text = |e: &Option<quorate_proto::v1::Endpoint>| {
            e.as_ref()
                .map(super::address::host_port)
                .unwrap_or_default()
        };
        refusals.push(fixed(
            "endpoint",
            &text(&old.endpoint),
            &text(&new.endpoint),
            "keep it in the file; to move it: quorate endpoint rotate --cluster NAME HOST:PORT",
        ));
    }
    for (field, a, b) in [
        ("kubernetes.podSubnet", &old.pod_subnet, &new.pod_subnet),
        (
            "kubernetes.serviceSubnet",
            &old.service_subnet,
            &new.service_subnet,
        ),
        ("kubernetes.dnsDomain", &old.dns_domain, &new.dns_domain),
    ] {
        if a != b {
            refusals.push(fixed(
                field,
                a,
                b,
                "keep it; it is fixed when the cluster is formed",
            ));
        }
    }
    refusals
}

fn fixed(what: &str, old: &str, new: &str, next: &str) -> Problem {
    Problem::new(
        "refused-change",
        format!("the {what} cannot be changed from {old:?} to {new:?} by apply"),
    )
    .at(format!("cluster file, {what}"))
    .next(next)
}
