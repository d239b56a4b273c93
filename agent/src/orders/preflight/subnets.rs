//! The networks of pods and services, against this machine's addresses and routes.

use super::cidr::{Block, Route, parse_list, routes_v4, routes_v6};
use super::finding::{fatal, ok, warning};
use super::role::Role;
use crate::context::Context;
use quorate_proto::v1::{ClusterConfig, Finding, NodeConfig, Problem};
use std::net::IpAddr;

/// kubeadm's own default.
const SERVICES: &str = "10.96.0.0/12";
/// Interfaces that container networks make: their routes are this cluster's, or go with the leftovers.
const OF_CONTAINERS: [&str; 7] = ["cni", "cali", "cilium", "flannel", "kube", "docker", "veth"];

pub fn check(
    context: &Context,
    role: Role,
    cluster: &ClusterConfig,
    node: &NodeConfig,
) -> Vec<Finding> {
    if !role.containers() {
        return Vec::new();
    }
    let read = |path: &str| std::fs::read_to_string(context.paths.at(path)).unwrap_or_default();
    let mut routes = routes_v4(&read("/proc/net/route"));
    routes.extend(routes_v6(&read("/proc/net/ipv6_route")));
    let pods = cluster.pod_subnet.as_str();
    let services = match cluster.service_subnet.as_str() {
        "" => SERVICES,
        named => named,
    };
    let address = node.address.parse().ok();
    vec![
        judge_subnet("PodSubnet", pods, address, &routes),
        judge_subnet("ServiceSubnet", services, address, &routes),
        judge_subnets(pods, services),
    ]
}

fn judge_subnet(name: &str, subnet: &str, address: Option<IpAddr>, routes: &[Route]) -> Finding {
    let blocks = match parse_list(subnet) {
        Ok(blocks) => blocks,
        Err(wrong) => {
            return fatal(
                name,
                Problem::new("subnet", format!("{wrong:?} is no block of addresses"))
                    .at(subnet)
                    .next("write it as 10.244.0.0/16 in the cluster file"),
            );
        }
    };
    let own = |address: IpAddr| {
        Some((
            address,
            blocks.iter().find(|block| block.contains(address))?,
        ))
    };
    if let Some((address, block)) = address.and_then(own) {
        return fatal(
            name,
            overlap(
                block,
                format!("this node's address {address}"),
                "the node would be cut off from the others",
            ),
        );
    }
    let foreign = |route: &&Route| {
        let container = OF_CONTAINERS
            .iter()
            .any(|prefix| route.interface.starts_with(prefix));
        !container && !route.block.is_everything() && route.interface != "lo"
    };
    let meets = |route: &Route| blocks.iter().find(|block| block.overlaps(&route.block));
    let met = routes
        .iter()
        .filter(foreign)
        .filter_map(|route| Some((route, meets(route)?)))
        // The machine's own network is worse than one behind a gateway.
        .max_by_key(|(route, _)| route.direct);
    match met {
        None => ok(name, format!("{subnet} is free")),
        Some((route, block)) => {
            let with = format!("the route {} over {}", route.block, route.interface);
            let problem = overlap(
                block,
                with,
                "traffic to these addresses would go to pods or services instead",
            );
            if route.direct {
                fatal(name, problem)
            } else {
                warning(name, problem)
            }
        }
    }
}

fn overlap(block: &Block, with: String, harm: &str) -> Problem {
    Problem::new("subnet-overlap", format!("{block} overlaps {with}"))
        .at(block.to_string())
        .because(harm)
        .next("choose another subnet in the cluster file")
}

fn judge_subnets(pods: &str, services: &str) -> Finding {
    const NAME: &str = "Subnets";
    let (Ok(pods), Ok(services)) = (parse_list(pods), parse_list(services)) else {
        return ok(NAME, "judged by the single checks");
    };
    let mut pairs = pods
        .iter()
        .flat_map(|pod| services.iter().map(move |service| (pod, service)));
    match pairs.find(|(pod, service)| pod.overlaps(service)) {
        None => ok(NAME, "pods and services are apart"),
        Some((pod, service)) => fatal(
            NAME,
            overlap(
                pod,
                format!("the services' {service}"),
                "a service and a pod would have the same address",
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proto::v1::Severity::{Fatal, Ok as Good, Warning};

    fn route(block: &str, interface: &str, direct: bool) -> Route {
        Route {
            block: Block::parse(block).expect("block"),
            interface: interface.into(),
            direct,
        }
    }

    #[test]
    fn subnets_against_the_machines_routes() {
        let routes = [
            route("0.0.0.0/0", "eth0", false),
            route("10.80.0.0/24", "eth0", true),
            route("10.200.0.0/16", "eth0", false),
            route("10.244.1.0/24", "cni0", true),
        ];
        let address = Some("10.80.0.11".parse().expect("address"));
        for (subnet, expected) in [
            ("10.244.0.0/16", Good),
            ("", Good),
            ("10.80.0.0/16", Fatal),
            ("10.200.128.0/17", Warning),
            ("10.244.0.0/16,10.80.0.128/25", Fatal),
            ("ten", Fatal),
        ] {
            let finding = judge_subnet("PodSubnet", subnet, address, &routes);
            assert_eq!(finding.severity(), expected, "{subnet}");
        }
    }

    #[test]
    fn pods_and_services_are_apart() {
        for (pods, services, expected) in [
            ("10.244.0.0/16", "10.96.0.0/12", Good),
            ("10.100.0.0/16", "10.96.0.0/12", Fatal),
            (
                "10.244.0.0/16,fd00:1::/64",
                "10.96.0.0/12,fd00:1::/112",
                Fatal,
            ),
            ("", "10.96.0.0/12", Good),
        ] {
            assert_eq!(
                judge_subnets(pods, services).severity(),
                expected,
                "{pods} {services}"
            );
        }
    }
}
