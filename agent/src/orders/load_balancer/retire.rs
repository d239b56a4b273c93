//! Compares what HAProxy serves with what is ordered. Pure.

use super::render::is_server_name;
use crate::observe::load_balancer::stats::Row;
use quorate_proto::v1::ConfigureLoadBalancer;
use std::collections::BTreeSet;

type Server<'a> = (&'a str, &'a str);

/// Servers to take out ahead of a reload. Those stay whose proxy would be left without one that is up: a moment without any backend is
/// worse than a connection to an old one.
pub fn retired(rows: &[Row], order: &ConfigureLoadBalancer) -> Vec<(String, String)> {
    let ordered = ordered(order);
    let stays_up = |proxy: &str| {
        rows.iter().any(|row| {
            row.is_server() && row.proxy == proxy && ordered.contains(&server(row)) && row.is_up()
        })
    };
    rows.iter()
        .filter(|row| row.is_server() && !ordered.contains(&server(row)))
        .filter(|row| is_server_name(&row.proxy) && is_server_name(&row.server))
        .filter(|row| stays_up(&row.proxy))
        .map(|row| (row.proxy.clone(), row.server.clone()))
        .collect()
}

pub fn serves_exactly(rows: &[Row], order: &ConfigureLoadBalancer) -> bool {
    let servers: BTreeSet<Server> = rows
        .iter()
        .filter(|row| row.is_server())
        .map(server)
        .collect();
    let fronts = |name: &str| {
        rows.iter()
            .any(|row| row.proxy == name && row.server == "FRONTEND")
    };
    servers == ordered(order) && order.frontends.iter().all(|front| fronts(&front.name))
}

fn server(row: &Row) -> Server<'_> {
    (&row.proxy, &row.server)
}

fn ordered(order: &ConfigureLoadBalancer) -> BTreeSet<Server<'_>> {
    order
        .frontends
        .iter()
        .flat_map(|front| {
            front
                .backends
                .iter()
                .map(|backend| (front.name.as_str(), backend.name.as_str()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::load_balancer::stats::parse;
    use quorate_proto::v1::{Backend, Frontend};

    fn order(backends: &[&str]) -> ConfigureLoadBalancer {
        let backend = |name: &&str| Backend {
            name: (*name).into(),
            ..Backend::default()
        };
        ConfigureLoadBalancer {
            frontends: vec![Frontend {
                name: "api".into(),
                backends: backends.iter().map(backend).collect(),
                ..Frontend::default()
            }],
            ..ConfigureLoadBalancer::default()
        }
    }

    fn rows(servers: &[(&str, &str)]) -> Vec<Row> {
        let mut table =
            "# pxname,svname,status,type,check_status\napi,FRONTEND,OPEN,0,\n".to_owned();
        for (name, status) in servers {
            table += &format!("api,{name},{status},2,L7OK\n");
        }
        parse(&table).unwrap()
    }

    #[test]
    fn leave_before_the_reload() {
        for (servers, wanted, out) in [
            (vec![("n1", "UP"), ("n2", "UP")], vec!["n1"], vec!["n2"]),
            (
                vec![("n1", "UP"), ("n2", "DOWN")],
                vec!["n1", "n3"],
                vec!["n2"],
            ),
            (vec![("n1", "DOWN"), ("n2", "UP")], vec!["n1"], vec![]),
            (vec![("n1", "UP"), ("n2", "UP")], vec!["n3"], vec![]),
            (vec![("n1", "UP")], vec!["n1"], vec![]),
            // A front end that goes leaves its connections to end by themselves.
            (vec![("n1", "UP"), ("n2", "UP")], vec![], vec![]),
            (
                vec![("n1", "UP"), ("n2;shutdown", "UP")],
                vec!["n1"],
                vec![],
            ),
        ] {
            let names: Vec<String> = retired(&rows(&servers), &order(&wanted))
                .into_iter()
                .map(|(_, server)| server)
                .collect();
            assert_eq!(names, out, "{servers:?} -> {wanted:?}");
        }
    }

    #[test]
    fn the_running_process_has_it() {
        let running = rows(&[("n1", "UP"), ("n2", "DOWN")]);
        assert!(serves_exactly(&running, &order(&["n2", "n1"])));
        assert!(!serves_exactly(&running, &order(&["n1"])));
        assert!(!serves_exactly(&running, &order(&["n1", "n2", "n3"])));
        assert!(!serves_exactly(&[], &order(&[])));
        assert!(serves_exactly(&rows(&[]), &order(&[])));
    }
}
