//! A cluster file is written by people and by programs that fill in what others gave them: nothing in it may mean more than it
//! says, in any of the places where it ends up.

use super::*;
use crate::fuzz;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Names an agent's file, line, argument or terminal would take for something else.
const HOSTILE: [&str; 22] = [
    "",
    " ",
    "a b",
    "a\nb",
    "a\n    server evil 10.0.0.66:6443",
    "a\r\nb",
    "a\tb",
    "a\0b",
    "$(id)",
    "`id`",
    "a;id",
    "a|id",
    "a&&id",
    "a'b",
    "a\"b",
    "a\\b",
    "a#b",
    "../../etc/cron.d/x",
    "/etc/passwd",
    "--kubeconfig=/root",
    "a\u{1b}[2J",
    "a\u{202e}b",
];

/// A file that is right, with everything in it that goes somewhere.
fn good() -> Value {
    json!({
        "name": "prod",
        "distribution": "kubeadm",
        "version": "v1.33.13",
        "endpoint": "k8s.example.org:6443",
        "certificateNames": ["k8s.example.com"],
        "loadBalancer": {"mode": "managed", "frontends": [{"name": "web", "port": 443, "backendPort": 30443, "to": "workers"}]},
        "nodes": [
            {"name": "lb1", "address": "10.0.0.10", "roles": ["load-balancer"]},
            {"name": "cp1", "address": "10.0.0.1", "roles": ["control-plane"], "zone": "a"},
            {"name": "w1", "address": "10.0.0.2", "roles": ["worker"], "labels": {"disk": "ssd"},
             "taints": [{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]},
        ],
        "ignorePreflightErrors": ["NumCPU"],
        "kubernetes": {
            "podSubnet": "10.244.0.0/16,fd00:1::/64",
            "serviceSubnet": "10.96.0.0/12",
            "dnsDomain": "cluster.local",
            "containerd": {"sandboxImage": "registry.k8s.io/pause:3.10"},
        },
        "install": {"apt": {"uri": "https://pkgs.example.org/deb/", "suite": "/", "components": [], "key": "key.asc"}},
    })
}

fn resolved(file: &Value) -> Result<Spec, Vec<Problem>> {
    let attachments = BTreeMap::from([("key.asc".to_owned(), "a key".to_owned())]);
    // JSON is YAML, with every character written so that it stays what it is.
    resolve(&file.to_string(), &attachments, &KnownAddresses::new())
}

/// Where a hostile text could come in, and the field that the problem has to name.
const PLACES: [(&str, &str); 17] = [
    ("/name", "name"),
    ("/version", "version"),
    ("/endpoint", "endpoint"),
    ("/certificateNames/0", "certificateNames"),
    ("/loadBalancer/frontends/0/name", "loadBalancer.frontends"),
    ("/nodes/1/name", "nodes[1]"),
    ("/nodes/1/address", "nodes[1]"),
    ("/nodes/1/zone", "nodes[1]"),
    ("/nodes/2/labels/disk", "nodes[2]"),
    ("/nodes/2/taints/0/key", "nodes[2]"),
    ("/nodes/2/taints/0/value", "nodes[2]"),
    ("/nodes/2/taints/0/effect", "nodes[2]"),
    ("/ignorePreflightErrors/0", "ignorePreflightErrors"),
    ("/kubernetes/podSubnet", "kubernetes.podSubnet"),
    ("/kubernetes/serviceSubnet", "kubernetes.serviceSubnet"),
    ("/kubernetes/dnsDomain", "kubernetes.dnsDomain"),
    (
        "/kubernetes/containerd/sandboxImage",
        "kubernetes.containerd.sandboxImage",
    ),
];

fn with(place: &str, text: &str) -> Value {
    let mut file = good();
    *file.pointer_mut(place).expect("a place of the file") = json!(text);
    file
}

#[test]
fn hostile_texts_are_refused_by_field() {
    let spec = resolved(&good()).expect("the file is right");
    assert_eq!((spec.nodes.len(), spec.frontends.len()), (3, 1));
    for (place, field) in PLACES {
        for text in HOSTILE {
            // An empty value of a label or a taint is Kubernetes' own.
            if text.is_empty()
                && ["/nodes/2/labels/disk", "/nodes/2/taints/0/value"].contains(&place)
            {
                continue;
            }
            let Err(problems) = resolved(&with(place, text)) else {
                panic!("{text:?} was taken at {place}");
            };
            // A character that no YAML may hold ends the reading before there are fields.
            let named = |problem: &Problem| {
                problem.r#where.contains(field) || problem.code == "file-syntax"
            };
            assert!(problems.iter().any(named), "{place} {text:?}: {problems:?}");
        }
    }
}

#[test]
fn hostile_keys_and_package_sources_are_refused() {
    for text in HOSTILE {
        let mut file = good();
        file["nodes"][2]["labels"] = json!({text: "x"});
        assert!(resolved(&file).is_err(), "label {text:?}");
        let mut file = good();
        file["kubernetes"]["containerd"]["dropIns"] = json!({text: "key.asc"});
        assert!(resolved(&file).is_err(), "drop-in {text:?}");
    }
    for (field, text) in [
        ("uri", "https://a/\nTrusted: yes"),
        ("uri", "https://a/ b"),
        ("uri", "ftp://a/"),
        ("suite", "stable\nTrusted: yes"),
        ("suite", ""),
        ("components", "main\nTrusted: yes"),
    ] {
        let mut file = good();
        let value = if field == "components" {
            json!([text])
        } else {
            json!(text)
        };
        file["install"]["apt"][field] = value;
        assert!(resolved(&file).is_err(), "{field} {text:?}");
    }
}

#[test]
fn what_an_agent_would_refuse_later_is_refused_at_once() {
    let frontends: [Value; 7] = [
        json!([{"name": "api", "port": 80, "to": "all"}]),
        json!([{"name": "api-8443", "port": 80, "to": "all"}]),
        json!([{"name": "quorate-stats", "port": 80, "to": "all"}]),
        json!([{"name": "123", "port": 80, "to": "all"}]),
        json!([{"name": "web", "port": 80, "to": "all"}, {"name": "web", "port": 81, "to": "all"}]),
        json!([{"name": "web", "port": 80, "backendPort": 0, "to": "all"}]),
        json!([{"name": "web", "port": 8080, "to": "all"}]),
    ];
    for frontends in frontends {
        let mut file = good();
        file["loadBalancer"]["frontends"] = frontends.clone();
        assert!(resolved(&file).is_err(), "{frontends}");
    }
    for version in [
        "v+1.+33.+13",
        "vv1.33.13",
        "1.33",
        "1.33.13.1",
        "1.33.99999999999",
    ] {
        assert!(resolved(&with("/version", version)).is_err(), "{version}");
    }
    for subnet in [
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "10.0.0.0/0",
        "fd00::/129",
        "10.0.0.0/8,10.1.0.0/16",
        "a/8",
        ",",
    ] {
        assert!(
            resolved(&with("/kubernetes/podSubnet", subnet)).is_err(),
            "{subnet}"
        );
    }
}

#[test]
fn files_that_grow_while_they_are_read_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb += &format!(
            "a{level}: &a{level} [{}]\n",
            [before.as_str(); 10].join(", ")
        );
    }
    let deep = format!("name: {}{}", "[".repeat(20_000), "]".repeat(20_000));
    for text in [bomb, deep] {
        let refused = resolve(&text, &BTreeMap::new(), &KnownAddresses::new());
        assert_eq!(refused.expect_err("refused")[0].code, "file-syntax");
    }
}

/// What may stand in a line of any file and in any argument.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_graphic() && !b"'\"`$;|&<>(){}?!\\#".contains(&b))
        && !text.starts_with('-')
}

fn is_safe(spec: &Spec) -> bool {
    let cluster = &spec.cluster;
    let nodes = spec.nodes.iter().map(|node| &node.config);
    let of_nodes = nodes.flat_map(|node| {
        let labels = node.labels.iter().flat_map(|(key, value)| [key, value]);
        let taints = node
            .taints
            .iter()
            .flat_map(|taint| [&taint.key, &taint.value, &taint.effect]);
        [&node.name, &node.address, &node.zone]
            .into_iter()
            .chain(labels)
            .chain(taints)
    });
    let endpoint = cluster.endpoint.iter().map(|endpoint| &endpoint.host);
    let own = [
        &cluster.name,
        &cluster.version,
        &cluster.pod_subnet,
        &cluster.service_subnet,
        &cluster.dns_domain,
    ];
    let names = spec.frontends.iter().map(|frontend| &frontend.name);
    let containerd = spec
        .containerd
        .iter()
        .map(|containerd| &containerd.sandbox_image);
    let apt = spec.apt.iter().all(|apt| apt.line.lines().count() == 4);
    apt && of_nodes
        .chain(endpoint)
        .chain(own)
        .chain(names)
        .chain(containerd)
        .chain(&cluster.extra_names)
        .chain(&cluster.ignore_preflight_errors)
        .all(|text| is_plain(text))
}

fn is_told(problems: &[Problem]) -> bool {
    let told =
        |problem: &Problem| problem.r#where.starts_with("cluster file") && !problem.what.is_empty();
    !problems.is_empty() && problems.iter().all(told)
}

proptest! {
    #![proptest_config(fuzz::config())]

    #[test]
    fn fuzz_any_text(text in fuzz::text()) {
        if let Err(problems) = resolve(&text, &BTreeMap::new(), &KnownAddresses::new()) {
            prop_assert!(is_told(&problems), "{problems:?}");
        }
    }

    #[test]
    fn fuzz_a_damaged_file(text in fuzz::damaged_text(&[
        &good().to_string(),
        include_str!("../../../../packaging/examples/kubeadm.yaml"),
        include_str!("../../../../packaging/examples/etcd.yaml"),
    ])) {
        let attachments = ["key.asc", "cni.yaml"].map(|name| (name.to_owned(), String::new()));
        match resolve(&text, &attachments.into(), &KnownAddresses::new()) {
            Ok(spec) => prop_assert!(is_safe(&spec), "{spec:?}"),
            Err(problems) => prop_assert!(is_told(&problems), "{problems:?}"),
        }
    }

    #[test]
    fn fuzz_any_value(place in prop::sample::select(&PLACES[..]), text in fuzz::text()) {
        match resolved(&with(place.0, &text)) {
            Ok(spec) => prop_assert!(is_safe(&spec), "{spec:?}"),
            Err(problems) => prop_assert!(is_told(&problems), "{problems:?}"),
        }
    }

    #[test]
    fn fuzz_an_address_that_an_agent_claims(text in fuzz::text()) {
        let mut file = good();
        file["nodes"][1].as_object_mut().expect("a node").remove("address");
        let known = KnownAddresses::from([("cp1".to_owned(), text)]);
        let attachments = BTreeMap::from([("key.asc".to_owned(), String::new())]);
        match resolve(&file.to_string(), &attachments, &known) {
            Ok(spec) => prop_assert!(is_safe(&spec), "{spec:?}"),
            Err(problems) => prop_assert!(is_told(&problems), "{problems:?}"),
        }
    }
}
