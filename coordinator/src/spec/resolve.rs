//! From the file as written to what it means: defaults filled in, every mistake found at once.

use super::address;
use super::dead_nodes;
use super::file::{self, ClusterFile, DistributionField, Mode, Role};
use super::snapshots::{self, Snapshots};
use super::storage::{self, Storage};
use super::words::{is_label_key, is_label_value, is_reserved, is_subnets, is_word};
use quorate_planner::dead::DeadNodes;
use quorate_proto::token::is_dns_name;
use quorate_proto::v1::{
    AptSource, ClusterConfig, ContainerdConfig, Distribution, Endpoint, Manifest, NodeConfig,
    Problem, Taint,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub const API_PORT: u16 = 6443;
pub const ETCD_CLIENT_PORT: u16 = 2379;
pub const ETCD_PEER_PORT: u16 = 2380;
pub const STATS_PORT: u16 = 8080;

/// The file, resolved. Stored as the cluster's wish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub cluster: ClusterConfig,
    pub mode: Mode,
    pub stats_port: u16,
    pub frontends: Vec<SpecFrontend>,
    pub nodes: Vec<SpecNode>,
    pub manifests: Vec<Manifest>,
    pub containerd: Option<ContainerdConfig>,
    pub apt: Option<AptSource>,
    pub hold: bool,
    #[serde(default)]
    pub snapshots: Snapshots,
    #[serde(default)]
    pub storage: Option<Storage>,
    #[serde(default)]
    pub dead_nodes: DeadNodes,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpecFrontend {
    pub name: String,
    pub port: u16,
    pub backend_port: u16,
    pub to: file::Target,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpecNode {
    pub config: NodeConfig,
}

impl Spec {
    pub fn members(&self) -> impl Iterator<Item = &SpecNode> {
        self.nodes.iter().filter(|node| node.config.member)
    }

    pub fn node(&self, name: &str) -> Option<&SpecNode> {
        self.nodes.iter().find(|node| node.config.name == name)
    }

    pub fn is_kubeadm(&self) -> bool {
        self.cluster.distribution == Distribution::Kubeadm as i32
    }

    pub fn api_port(&self) -> u16 {
        if self.is_kubeadm() {
            API_PORT
        } else {
            ETCD_CLIENT_PORT
        }
    }
}

impl SpecNode {
    pub fn peer_url(&self) -> String {
        format!(
            "https://{}:{ETCD_PEER_PORT}",
            address::bracketed(&self.config.address)
        )
    }
}

/// Addresses of enrolled agents by node name, for nodes whose address the file leaves out.
pub type KnownAddresses = BTreeMap<String, String>;

pub fn resolve(
    text: &str,
    attachments: &BTreeMap<String, String>,
    known: &KnownAddresses,
) -> Result<Spec, Vec<Problem>> {
    let parsed = file::parse(text).map_err(|error| {
        vec![
            Problem::new("file-syntax", "the cluster file cannot be read")
                .at("cluster file")
                .because(error)
                .next("correct the file; the fields are described in `man quorate-cluster-file`"),
        ]
    })?;
    let mut resolver = Resolver {
        file: &parsed,
        attachments,
        known,
        problems: Vec::new(),
    };
    let spec = resolver.run();
    if resolver.problems.is_empty() {
        Ok(spec)
    } else {
        Err(resolver.problems)
    }
}

/// Of a cluster, a node or a front end.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

struct Resolver<'a> {
    file: &'a ClusterFile,
    attachments: &'a BTreeMap<String, String>,
    known: &'a KnownAddresses,
    problems: Vec<Problem>,
}

impl Resolver<'_> {
    fn run(&mut self) -> Spec {
        self.check_name("name", &self.file.name.clone());
        let nodes = self.nodes();
        self.check_topology(&nodes);
        let endpoint = self.endpoint(&nodes);
        self.check_ports(&nodes, &endpoint);
        let kubeadm = self.file.distribution == DistributionField::Kubeadm;
        Spec {
            cluster: self.cluster(endpoint),
            mode: self.file.load_balancer.mode,
            stats_port: self.file.load_balancer.stats_port.unwrap_or(STATS_PORT),
            frontends: self.frontends(),
            nodes,
            manifests: self.manifests(),
            containerd: kubeadm.then(|| self.containerd()),
            apt: self.apt(),
            hold: self.file.install.hold.unwrap_or(true),
            snapshots: self.snapshots(),
            storage: self.storage(),
            dead_nodes: self.dead_nodes(),
        }
    }

    fn dead_nodes(&mut self) -> DeadNodes {
        match dead_nodes::resolve(self.file) {
            Ok(policy) => policy,
            Err((field, what)) => {
                self.wrong(field, what);
                DeadNodes::default()
            }
        }
    }

    fn storage(&mut self) -> Option<Storage> {
        let kubeadm = self.file.distribution == DistributionField::Kubeadm;
        match storage::resolve(&self.file.storage, kubeadm) {
            Ok(storage) => storage,
            Err((field, what)) => {
                self.wrong(field, what);
                None
            }
        }
    }

    fn snapshots(&mut self) -> Snapshots {
        match snapshots::resolve(&self.file.snapshots) {
            Ok(found) => found,
            Err((field, what)) => {
                self.wrong(field, what);
                Snapshots::default()
            }
        }
    }

    fn wrong(&mut self, field: &str, what: impl Into<String>) {
        self.problems
            .push(Problem::new("file-invalid", what).at(format!("cluster file, {field}")));
    }

    fn check_name(&mut self, field: &str, name: &str) {
        if !is_name(name) {
            self.wrong(
                field,
                format!("{name:?} is not a name: lower-case letters, digits, '-' and '.', at most 63, starting and ending with a letter or digit"),
            );
        }
    }

    fn nodes(&mut self) -> Vec<SpecNode> {
        let mut names = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        let mut nodes = Vec::new();
        for (at, node) in self.file.nodes.iter().enumerate() {
            let field = format!("nodes[{at}] ({})", node.name);
            self.check_name(&format!("{field}.name"), &node.name);
            if !names.insert(node.name.clone()) {
                self.wrong(&field, format!("the name {} occurs twice", node.name));
            }
            let address = self.node_address(&field, node);
            if !address.is_empty() && !addresses.insert(address.clone()) {
                self.wrong(&field, format!("the address {address} occurs twice"));
            }
            let roles = self.roles(&field, node);
            self.check_labels(&field, node);
            nodes.push(SpecNode {
                config: NodeConfig {
                    name: node.name.clone(),
                    address,
                    member: roles.0,
                    worker: roles.1,
                    load_balancer: roles.2,
                    zone: node.zone.clone().unwrap_or_default(),
                    labels: node.labels.clone(),
                    taints: node
                        .taints
                        .iter()
                        .map(|t| Taint {
                            key: t.key.clone(),
                            value: t.value.clone(),
                            effect: t.effect.clone(),
                        })
                        .collect(),
                },
            });
        }
        nodes
    }

    fn node_address(&mut self, field: &str, node: &file::Node) -> String {
        let Some(text) = node.address.as_ref().or_else(|| self.known.get(&node.name)) else {
            self.wrong(
                field,
                format!(
                    "no address: neither the file nor an enrolled agent names one for {}",
                    node.name
                ),
            );
            return String::new();
        };
        match text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
        {
            Ok(ip) if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() => {
                self.wrong(field, format!("{ip} is not an address that others reach"));
                String::new()
            }
            Ok(ip) => ip.to_string(),
            Err(_) => {
                self.wrong(field, format!("{text:?} is not an IP address"));
                String::new()
            }
        }
    }

    fn roles(&mut self, field: &str, node: &file::Node) -> (bool, bool, bool) {
        let has = |role| node.roles.contains(&role);
        let etcd_cluster = self.file.distribution == DistributionField::Etcd;
        let (member, foreign) = if etcd_cluster {
            (
                has(Role::Etcd),
                has(Role::ControlPlane) || has(Role::Worker),
            )
        } else {
            (has(Role::ControlPlane), has(Role::Etcd))
        };
        if node.roles.is_empty() {
            self.wrong(field, "no role");
        }
        if foreign {
            let known = if etcd_cluster {
                "etcd, load-balancer"
            } else {
                "control-plane, worker, load-balancer"
            };
            self.wrong(
                field,
                format!("a role that this distribution has not; it has: {known}"),
            );
        }
        if has(Role::ControlPlane) && has(Role::Worker) {
            self.wrong(field, "both control-plane and worker; to run pods on a control plane remove its taint by kubernetes.config");
        }
        (member, has(Role::Worker), has(Role::LoadBalancer))
    }

    fn check_labels(&mut self, field: &str, node: &file::Node) {
        for (key, value) in &node.labels {
            if !is_label_key(key) || !is_label_value(value) {
                self.wrong(
                    field,
                    format!("label {key:?}={value:?} is not valid in Kubernetes"),
                );
            }
        }
        if let Some(zone) = &node.zone
            && (zone.is_empty() || !is_label_value(zone))
        {
            self.wrong(field, format!("zone {zone:?} is not a valid label value"));
        }
        for taint in &node.taints {
            let effect = matches!(
                taint.effect.as_str(),
                "NoSchedule" | "PreferNoSchedule" | "NoExecute"
            );
            if !is_label_key(&taint.key) || !is_label_value(&taint.value) || !effect {
                self.wrong(field, format!("taint {:?} is not valid: key, value and effect (NoSchedule, PreferNoSchedule, NoExecute)", taint.key));
            }
        }
    }

    fn check_topology(&mut self, nodes: &[SpecNode]) {
        if !nodes.iter().any(|node| node.config.member) {
            let role = if self.file.distribution == DistributionField::Etcd {
                "etcd"
            } else {
                "control-plane"
            };
            self.wrong("nodes", format!("no node has the role {role}"));
        }
        let balancers = nodes
            .iter()
            .filter(|node| node.config.load_balancer)
            .count();
        match self.file.load_balancer.mode {
            Mode::Managed if balancers == 0 => {
                self.wrong(
                    "loadBalancer",
                    "mode managed, but no node has the role load-balancer",
                );
            }
            Mode::None | Mode::External if balancers > 0 => {
                self.wrong(
                    "loadBalancer",
                    "a node has the role load-balancer, but the mode is not managed",
                );
            }
            Mode::External if self.file.endpoint.is_none() => {
                self.wrong(
                    "endpoint",
                    "an external load balancer needs `endpoint: HOST:PORT`",
                );
            }
            Mode::Managed | Mode::None | Mode::External => {}
        }
    }

    fn endpoint(&mut self, nodes: &[SpecNode]) -> Endpoint {
        let port = match self.file.distribution {
            DistributionField::Kubeadm => API_PORT,
            DistributionField::Etcd => ETCD_CLIENT_PORT,
        };
        if let Some(text) = &self.file.endpoint {
            return address::parse_endpoint(text, port).unwrap_or_else(|error| {
                self.wrong("endpoint", error);
                Endpoint::default()
            });
        }
        let managed = self.file.load_balancer.mode == Mode::Managed;
        let carrier = nodes.iter().find(|n| {
            if managed {
                n.config.load_balancer
            } else {
                n.config.member
            }
        });
        Endpoint {
            host: carrier
                .map(|n| n.config.address.clone())
                .unwrap_or_default(),
            port: port.into(),
        }
    }

    fn check_ports(&mut self, nodes: &[SpecNode], endpoint: &Endpoint) {
        let api = match self.file.distribution {
            DistributionField::Kubeadm => API_PORT,
            DistributionField::Etcd => ETCD_CLIENT_PORT,
        };
        for node in nodes
            .iter()
            .filter(|n| n.config.member && n.config.load_balancer)
        {
            if endpoint.port == u32::from(api) {
                self.wrong("endpoint", format!("{} is member and load balancer: the endpoint's port must differ from {api}", node.config.name));
            }
        }
        let mut ports = BTreeSet::from([endpoint.port]);
        let stats = self.file.load_balancer.stats_port.unwrap_or(STATS_PORT);
        if self.file.load_balancer.mode == Mode::Managed && !ports.insert(stats.into()) {
            self.wrong(
                "loadBalancer.statsPort",
                format!("port {stats} is the endpoint's"),
            );
        }
        for frontend in &self.file.load_balancer.frontends {
            self.check_frontend(frontend);
            if frontend.port == 0 || !ports.insert(frontend.port.into()) {
                self.wrong(
                    "loadBalancer.frontends",
                    format!("port {} of {} is taken or 0", frontend.port, frontend.name),
                );
            }
        }
    }

    /// The agent refuses the same, but only once the cluster is half formed.
    fn check_frontend(&mut self, frontend: &file::Frontend) {
        const FIELD: &str = "loadBalancer.frontends";
        self.check_name(FIELD, &frontend.name);
        let name = &frontend.name;
        let twins = self.file.load_balancer.frontends.iter();
        if twins.filter(|twin| twin.name == *name).count() > 1 {
            self.wrong(FIELD, format!("the name {name} occurs twice"));
        }
        if is_reserved(name) || !name.bytes().any(|b| b.is_ascii_lowercase()) {
            self.wrong(
                FIELD,
                format!("{name:?} cannot be a front end: it is quorate's own, or holds no letter"),
            );
        }
        if frontend.backend_port == Some(0) {
            self.wrong(FIELD, format!("the backendPort of {name} is 0"));
        }
    }

    fn check_kubernetes(&mut self) {
        let kubernetes = &self.file.kubernetes;
        let subnets = [
            ("kubernetes.podSubnet", &kubernetes.pod_subnet),
            ("kubernetes.serviceSubnet", &kubernetes.service_subnet),
        ];
        for (field, text) in subnets {
            if let Some(text) = text.as_ref().filter(|text| !is_subnets(text)) {
                self.wrong(field, format!("{text:?} is no subnet such as 10.244.0.0/16, nor one of each family with a comma between"));
            }
        }
        if let Some(domain) = kubernetes.dns_domain.as_ref().filter(|d| !is_dns_name(d)) {
            self.wrong(
                "kubernetes.dnsDomain",
                format!("{domain:?} is no DNS name in lower case"),
            );
        }
        if let Some(image) = &kubernetes.containerd.sandbox_image
            && !is_word(image, b"._-/:@")
        {
            self.wrong(
                "kubernetes.containerd.sandboxImage",
                format!("{image:?} is no image such as registry.k8s.io/pause:3.10"),
            );
        }
        for name in &self.file.ignore_preflight_errors {
            if !is_word(name, b"._-") {
                self.wrong(
                    "ignorePreflightErrors",
                    format!("{name:?} is not the name of a check"),
                );
            }
        }
    }

    fn cluster(&mut self, endpoint: Endpoint) -> ClusterConfig {
        self.check_kubernetes();
        let kubernetes = &self.file.kubernetes;
        let distribution = match self.file.distribution {
            DistributionField::Kubeadm => Distribution::Kubeadm,
            DistributionField::Etcd => Distribution::Etcd,
        };
        let extra_names = self.file.certificate_names.clone();
        let mut names = Vec::new();
        for name in &extra_names {
            match address::parse_host(name) {
                Ok(name) => names.push(name),
                Err(error) => self.wrong("certificateNames", error),
            }
        }
        ClusterConfig {
            id: String::new(),
            name: self.file.name.clone(),
            distribution: distribution as i32,
            version: self.version(),
            endpoint: Some(endpoint),
            extra_names: names,
            pod_subnet: kubernetes
                .pod_subnet
                .clone()
                .unwrap_or_else(|| "10.244.0.0/16".into()),
            service_subnet: kubernetes
                .service_subnet
                .clone()
                .unwrap_or_else(|| "10.96.0.0/12".into()),
            dns_domain: kubernetes
                .dns_domain
                .clone()
                .unwrap_or_else(|| "cluster.local".into()),
            kubeadm_documents: self.documents(),
            ignore_preflight_errors: self.file.ignore_preflight_errors.clone(),
            token_ttl: "15m".into(),
        }
    }

    fn version(&mut self) -> String {
        let Some(version) = self.file.version.clone() else {
            if self.file.distribution == DistributionField::Kubeadm {
                self.wrong(
                    "version",
                    "missing: the Kubernetes version, such as v1.33.13",
                );
            }
            return String::new();
        };
        if self.file.distribution == DistributionField::Etcd {
            if !is_word(&version, b".+~:-") {
                self.wrong(
                    "version",
                    format!("{version:?} is not a version such as 3.5.21"),
                );
            }
            return version;
        }
        // Rust's own reading of numbers takes a sign too.
        let number = |part: &str| {
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten()
        };
        let numbers: Vec<Option<u32>> = version
            .strip_prefix('v')
            .unwrap_or(&version)
            .split('.')
            .map(number)
            .collect();
        match numbers.as_slice() {
            [Some(1), Some(minor), Some(_)] if *minor >= 31 => {}
            [Some(1), Some(_), Some(_)] => self.wrong(
                "version",
                format!("{version} is older than 1.31, the oldest that is supported"),
            ),
            _ => self.wrong(
                "version",
                format!("{version:?} is not a version such as v1.33.13"),
            ),
        }
        format!("v{}", version.trim_start_matches('v'))
    }

    fn attachment(&mut self, field: &str, path: &str) -> String {
        match self.attachments.get(path) {
            Some(text) => text.clone(),
            None => {
                self.wrong(field, format!("the file {path} did not come along"));
                String::new()
            }
        }
    }

    fn documents(&mut self) -> Vec<String> {
        let mut documents: Vec<String> = self.file.kubernetes.config.iter().cloned().collect();
        for path in &self.file.kubernetes.config_files {
            let text = self.attachment("kubernetes.configFiles", path);
            documents.push(text);
        }
        documents
    }

    fn manifests(&mut self) -> Vec<Manifest> {
        self.file
            .kubernetes
            .addons
            .iter()
            .map(|path| Manifest {
                name: path.clone(),
                yaml: self.attachment("kubernetes.addons", path),
            })
            .collect()
    }

    fn containerd(&mut self) -> ContainerdConfig {
        let wish = &self.file.kubernetes.containerd;
        let mut drop_ins = BTreeMap::new();
        for (name, path) in &wish.drop_ins {
            self.check_name("kubernetes.containerd.dropIns", name);
            drop_ins.insert(
                name.clone(),
                self.attachment("kubernetes.containerd.dropIns", path),
            );
        }
        ContainerdConfig {
            drop_ins,
            sandbox_image: wish.sandbox_image.clone().unwrap_or_default(),
            systemd_cgroup: wish.systemd_cgroup.unwrap_or(true),
            restrict_oom_score_adj: wish.restrict_oom_score_adj,
        }
    }

    fn apt(&mut self) -> Option<AptSource> {
        let apt = self.file.install.apt.as_ref()?;
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let secure = apt.uri.starts_with("https://")
            || apt.uri.starts_with("http://")
            || apt.uri.starts_with("file:/");
        if !secure || !plain(&apt.uri) {
            self.wrong(
                "install.apt.uri",
                format!("{:?} is not a URI (https://, http://, file:/)", apt.uri),
            );
        }
        if !plain(&apt.suite) || !apt.components.iter().all(|c| plain(c)) {
            self.wrong("install.apt", "suite and components must be single words");
        }
        let key_pem = self.attachment("install.apt.key", &apt.key);
        let line = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n",
            apt.uri,
            apt.suite,
            apt.components.join(" ")
        );
        Some(AptSource { line, key_pem })
    }

    fn frontends(&self) -> Vec<SpecFrontend> {
        self.file
            .load_balancer
            .frontends
            .iter()
            .map(|f| SpecFrontend {
                name: f.name.clone(),
                port: f.port,
                backend_port: f.backend_port.unwrap_or(f.port),
                to: f.to,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
