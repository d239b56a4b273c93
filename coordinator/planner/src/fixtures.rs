//! Facts for tests.

use crate::endpoint::EndpointIntent;
use crate::facts::*;
use crate::intent::*;
use crate::time::Time;

pub const NOW: Time = Time(1_000_000);

pub fn name(text: &str) -> NodeName {
    NodeName(text.to_owned())
}

pub fn peer_url(n: usize) -> String {
    format!("https://10.0.0.{n}:2380")
}

pub fn node_intent(n: usize) -> NodeIntent {
    NodeIntent {
        name: name(&format!("n{n}")),
        address: format!("10.0.0.{n}"),
        member: true,
        worker: false,
        balancer: false,
        peer_url: peer_url(n),
        zone: None,
        wants: Wants {
            preflight: Digest("p".into()),
            install: Digest("i".into()),
            configure: None,
        },
    }
}

pub fn joiner() -> NodeIntent {
    node_intent(9)
}

pub fn intent(members: usize) -> Intent {
    Intent {
        distribution: Distribution::Etcd,
        balancing: Balancing::None,
        nodes: (1..=members).map(node_intent).collect(),
        manifests: None,
        endpoint: EndpointIntent::default(),
        leaving: None,
        dead_nodes: crate::dead::DeadNodes::default(),
        recovery: None,
        shutdown: None,
        storage: false,
    }
}

pub fn voter(n: usize) -> Member {
    Member {
        id: n as u64,
        name: Some(format!("n{n}")),
        peer_url: peer_url(n),
        learner: false,
        seen_since: Time(0),
        health: Observed::Known(MemberHealth {
            serving: true,
            leader: 1,
            term: 5,
            applied: 5_000,
            db_size: 1_000_000,
            alarms: vec![],
        }),
    }
}

pub fn learner(n: usize, started: bool) -> Member {
    Member {
        name: started.then(|| format!("n{n}")),
        learner: true,
        health: Observed::Unknown,
        ..voter(n)
    }
}

pub fn fresh_node() -> NodeFacts {
    NodeFacts {
        enrolled: true,
        connected: true,
        heard: NOW,
        marks: Observed::Known(Marks::default()),
        etcd_running: Observed::Known(false),
        ..NodeFacts::default()
    }
}

pub fn prepared_node() -> NodeFacts {
    NodeFacts {
        marks: Observed::Known(Marks {
            preflight: Digest("p".into()),
            install: Digest("i".into()),
            prepared: true,
            ..Marks::default()
        }),
        ..fresh_node()
    }
}

pub fn member_node(founder: bool) -> NodeFacts {
    let mut node = prepared_node();
    node.etcd_running = Observed::Known(true);
    node.api_ready = Observed::Known(true);
    if let Observed::Known(marks) = &mut node.marks {
        marks.authority = founder;
        marks.founded = founder;
        marks.finished = true;
    }
    node
}

/// A cluster of n healthy voters n1..., stable for long.
pub fn healthy(voters: usize) -> Facts {
    let mut facts = Facts {
        founder: Some(name("n1")),
        etcd: EtcdFacts {
            list: MemberList::Known((1..=voters).map(voter).collect()),
            stable_since: Some(Time(0)),
        },
        ..Facts::default()
    };
    for n in 1..=voters {
        facts
            .nodes
            .insert(name(&format!("n{n}")), member_node(n == 1));
    }
    facts
}

pub fn three_healthy() -> Facts {
    healthy(3)
}
