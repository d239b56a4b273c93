//! Golden and table tests of kubeadm's configuration.

use super::*;
use quorate_proto::v1::Endpoint;

fn cluster() -> ClusterConfig {
    ClusterConfig {
        version: "v1.33.13".to_owned(),
        endpoint: Some(Endpoint {
            host: "10.0.0.50".to_owned(),
            port: 6443,
        }),
        extra_names: vec!["api.example".to_owned(), "10.0.0.50".to_owned()],
        pod_subnet: "10.244.0.0/16".to_owned(),
        service_subnet: "10.96.0.0/12".to_owned(),
        dns_domain: "cluster.local".to_owned(),
        ..ClusterConfig::default()
    }
}

fn node() -> NodeConfig {
    NodeConfig {
        name: "cp1".to_owned(),
        address: "10.0.0.11".to_owned(),
        member: true,
        ..NodeConfig::default()
    }
}

fn with_documents(texts: &[&str]) -> Result<Config, Problem> {
    let cluster = ClusterConfig {
        kubeadm_documents: texts.iter().map(|text| (*text).to_owned()).collect(),
        ..cluster()
    };
    Config::build(&cluster, &node())
}

fn parsed(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

#[test]
fn a_plain_control_plane() {
    let text = Config::build(&cluster(), &node()).unwrap().for_init();
    assert_eq!(
        parsed(&text),
        [
            json!({
                "apiVersion": "kubeadm.k8s.io/v1beta4",
                "kind": "InitConfiguration",
                "localAPIEndpoint": {"advertiseAddress": "10.0.0.11", "bindPort": 6443},
                "nodeRegistration": {
                    "name": "cp1",
                    "criSocket": "unix:///run/containerd/containerd.sock",
                    "kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.11"}],
                },
            }),
            json!({
                "apiVersion": "kubeadm.k8s.io/v1beta4",
                "kind": "ClusterConfiguration",
                "apiServer": {"certSANs": ["10.0.0.50", "api.example"]},
                "certificatesDir": "/etc/kubernetes/pki",
                "controlPlaneEndpoint": "10.0.0.50:6443",
                "encryptionAlgorithm": "ECDSA-P256",
                "kubernetesVersion": "v1.33.13",
                "networking": {
                    "dnsDomain": "cluster.local",
                    "podSubnet": "10.244.0.0/16",
                    "serviceSubnet": "10.96.0.0/12",
                },
            }),
            json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}),
            json!({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}),
        ]
    );
}

#[test]
fn the_users_values_win_where_they_are_free() {
    let config = with_documents(&[
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nencryptionAlgorithm: RSA-2048\n\
         apiServer: {certSANs: [extra.example], extraArgs: [{name: v, value: '2'}]}\netcd: {local: {dataDir: /srv/etcd}}\n",
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: cgroupfs\nfailSwapOn: false\n\
         ---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
         nodeRegistration: {kubeletExtraArgs: [{name: v, value: '3'}]}\n",
    ])
    .unwrap();
    let documents = parsed(&config.for_init());
    assert_eq!(
        documents[0]["nodeRegistration"]["kubeletExtraArgs"],
        json!([{"name": "node-ip", "value": "10.0.0.11"}, {"name": "v", "value": "3"}])
    );
    assert_eq!(documents[1]["encryptionAlgorithm"], "RSA-2048");
    assert_eq!(
        documents[1]["apiServer"]["certSANs"],
        json!(["10.0.0.50", "api.example", "extra.example"])
    );
    assert_eq!(documents[2]["cgroupDriver"], "cgroupfs");
    assert_eq!(config.etcd_data(), "/srv/etcd");
}

#[test]
fn a_guarded_field_is_refused_by_name() {
    let problem = with_documents(&[
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncontrolPlaneEndpoint: other:6443\n",
    ])
    .unwrap_err();
    assert_eq!(problem.r#where, "ClusterConfiguration controlPlaneEndpoint");
}

#[test]
fn ipv6_is_bracketed_in_urls_only() {
    let cluster = ClusterConfig {
        endpoint: Some(Endpoint {
            host: "fd00::50".to_owned(),
            port: 8443,
        }),
        extra_names: Vec::new(),
        ..cluster()
    };
    let node = NodeConfig {
        address: "fd00::11".to_owned(),
        ..node()
    };
    let documents = parsed(&Config::build(&cluster, &node).unwrap().for_init());
    assert_eq!(
        documents[0]["localAPIEndpoint"]["advertiseAddress"],
        "fd00::11"
    );
    assert_eq!(documents[1]["controlPlaneEndpoint"], "[fd00::50]:8443");
    assert_eq!(documents[1]["apiServer"]["certSANs"], json!(["fd00::50"]));
}

#[test]
fn a_joining_etcd_gets_its_members_and_keeps_the_users_arguments() {
    let config = with_documents(&[
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
         etcd: {local: {extraArgs: [{name: quota-backend-bytes, value: '8'}]}}\n",
    ])
    .unwrap();
    let members =
        [("cp1", "10.0.0.11"), ("cp2", "10.0.0.12")].map(|(name, address)| MemberAddress {
            name: name.to_owned(),
            peer_url: format!("https://{address}:2380"),
        });
    let documents = parsed(&config.for_existing_etcd(&members));
    assert_eq!(
        documents[1]["etcd"]["local"]["extraArgs"],
        json!([
            {"name": "quota-backend-bytes", "value": "8"},
            {"name": "initial-cluster", "value": "cp1=https://10.0.0.11:2380,cp2=https://10.0.0.12:2380"},
            {"name": "initial-cluster-state", "value": "existing"},
        ])
    );
    // What the cluster keeps says nothing of it.
    assert!(!config.for_init().contains("initial-cluster"));
}

#[test]
fn certificates_go_elsewhere_only_for_their_phase() {
    let config = Config::build(&cluster(), &node()).unwrap();
    let staged = parsed(&config.for_certificates("/staged"));
    assert_eq!(staged[1]["certificatesDir"], "/staged");
    assert_eq!(
        parsed(&config.for_init())[1]["certificatesDir"],
        CERTIFICATES
    );
}

#[test]
fn a_worker_joins_through_the_endpoint() {
    let cluster = ClusterConfig {
        ignore_preflight_errors: vec!["SystemVerification".to_owned()],
        ..cluster()
    };
    let worker = NodeConfig {
        name: "w1".to_owned(),
        address: "10.0.0.21".to_owned(),
        worker: true,
        ..NodeConfig::default()
    };
    let config = Config::build(&cluster, &worker).unwrap();
    let text = config.for_join("abcdef.0123456789abcdef", &["sha256:00".to_owned()]);
    assert_eq!(
        parsed(&text),
        [json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "JoinConfiguration",
            "discovery": {"bootstrapToken": {
                "apiServerEndpoint": "10.0.0.50:6443",
                "token": "abcdef.0123456789abcdef",
                "caCertHashes": ["sha256:00"],
            }},
            "nodeRegistration": {
                "name": "w1",
                "criSocket": CRI_SOCKET,
                "ignorePreflightErrors": ["SystemVerification"],
                "kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.21"}],
            },
        })]
    );
}

#[test]
fn a_members_taints_follow_its_roles_and_the_user() {
    let default =
        vec![json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"})];
    assert_eq!(
        Config::build(&cluster(), &node()).unwrap().member_taints(),
        default
    );
    let both = NodeConfig {
        worker: true,
        ..node()
    };
    assert!(
        Config::build(&cluster(), &both)
            .unwrap()
            .member_taints()
            .is_empty()
    );
    let own = with_documents(&[
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration: {taints: [{key: a, effect: NoExecute}]}\n",
    ]);
    assert_eq!(
        own.unwrap().member_taints(),
        [json!({"key": "a", "effect": "NoExecute"})]
    );
}

#[test]
fn the_throwaway_token_gives_way_to_the_users() {
    let plain = Config::build(&cluster(), &node()).unwrap();
    let tokens =
        &parsed(&plain.for_cluster_objects("aaaaaa.bbbbbbbbbbbbbbbb"))[0]["bootstrapTokens"];
    assert_eq!(tokens[0]["groups"], json!(["system:bootstrappers:unused"]));
    assert!(!plain.has_user_tokens());
    let own = with_documents(&[
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: [{token: cccccc.dddddddddddddddd}]\n",
    ])
    .unwrap();
    assert!(own.has_user_tokens());
    assert!(
        !own.for_cluster_objects("aaaaaa.bbbbbbbbbbbbbbbb")
            .contains("aaaaaa")
    );
}

#[test]
fn a_cluster_without_a_version_is_refused() {
    let cluster = ClusterConfig {
        version: String::new(),
        ..cluster()
    };
    assert!(
        Config::build(&cluster, &node())
            .unwrap_err()
            .what
            .contains("no Kubernetes version")
    );
}
