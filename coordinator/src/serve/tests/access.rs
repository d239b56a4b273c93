//! Who gets in, and who does not.

use super::bench::*;
use crate::server::problem;
use quorate_pki::{
    Authority, Identity, KeyRequest, Leaf, Role, TlsMaterial, Usage, anonymous_client_config,
    client_config,
};
use quorate_proto::v1::operator_client::OperatorClient;
use quorate_proto::v1::*;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::Code;

#[tokio::test]
async fn roles_are_kept_apart_on_the_wire() {
    let bench = Bench::new().await;
    let viewer = bench.user("eve", "viewer").await;
    let operator = bench.user("otto", "operator").await;
    let node = bench.node("n1").await;

    let mut client = bench.operator(&viewer).await;
    client.list_nodes(ListNodesRequest {}).await.unwrap();
    let refused = client
        .create_token(CreateTokenRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let shown = problem(&refused);
    assert_eq!(
        (shown.code.as_str(), shown.r#where.as_str()),
        ("denied-role", "CreateToken")
    );
    assert!(shown.what.contains("viewer/eve"));

    let mut client = bench.operator(&operator).await;
    client
        .create_token(CreateTokenRequest::default())
        .await
        .unwrap();
    let refused = client
        .list_audit(ListAuditRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let mut client = bench.operator(&node.material).await;
    let refused = client.list_nodes(ListNodesRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut admin_as_agent = TestNode {
        material: bench.admin.clone(),
        ..node
    }
    .client()
    .await
    .unwrap();
    let refused = admin_as_agent
        .renew(RenewRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

async fn is_let_in(bench: &Bench, config: rustls::ClientConfig) -> bool {
    match dial(bench.daemon.session_address, config).await {
        Ok(channel) => OperatorClient::new(channel)
            .list_nodes(ListNodesRequest {})
            .await
            .is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn only_certificates_of_this_authority_with_an_identity_count() {
    let bench = Bench::new().await;
    let ca_pem = bench.daemon.parts.authority.ca_pem().to_owned();
    assert!(is_let_in(&bench, client_config(&bench.admin).unwrap()).await);
    assert!(!is_let_in(&bench, anonymous_client_config(&ca_pem).unwrap()).await);

    let now = SystemTime::now();
    let own_key = std::fs::read_to_string(bench.state().join("ca/ca.key")).unwrap();
    let ours = Authority::load(&ca_pem, &own_key).unwrap();
    let foreign = Authority::create("other", Duration::from_secs(3600), now).unwrap();
    let admin = Identity::new(Role::Admin, "root").unwrap();
    let leaf = Leaf {
        common_name: "root".to_owned(),
        organization: Vec::new(),
        names: Vec::new(),
        uri: Some(admin.to_uri()),
        usage: Usage::Client,
        validity: Duration::from_secs(600),
    };
    let long_ago = now - Duration::from_secs(7200);
    let nameless = Leaf {
        uri: None,
        ..leaf.clone()
    };
    let server = Leaf {
        usage: Usage::Server,
        ..leaf.clone()
    };
    let cases = [
        (&ours, &leaf, now, true),
        (&foreign, &leaf, now, false),
        (&ours, &nameless, now, false),
        (&ours, &server, now, false),
        (&ours, &leaf, long_ago, false),
    ];
    for (at, (ca, leaf, when, expected)) in cases.into_iter().enumerate() {
        // The test's own CA began to be valid at init: an earlier date fails in making, which is as good.
        let Ok(made) = ca.issue(leaf, when) else {
            assert!(!expected);
            continue;
        };
        let material = TlsMaterial {
            cert_chain_pem: made.issued.cert_pem,
            key_pem: made.key_pem,
            ca_bundle_pem: ca_pem.clone(),
        };
        assert_eq!(
            is_let_in(&bench, client_config(&material).unwrap()).await,
            expected,
            "case {at}"
        );
    }
}

#[tokio::test]
async fn a_revoked_user_is_out_at_once_and_for_good() {
    let bench = Bench::new().await;
    let eve = bench.user("eve", "viewer").await;
    let mut open = bench.operator(&eve).await;
    open.list_nodes(ListNodesRequest {}).await.unwrap();
    let mut admin = bench.operator(&bench.admin).await;
    admin
        .revoke_user(RevokeUserRequest {
            name: "eve".to_owned(),
        })
        .await
        .unwrap();
    let refused = open.list_nodes(ListNodesRequest {}).await.unwrap_err();
    assert_eq!(
        (refused.code(), problem(&refused).code.as_str()),
        (Code::Unauthenticated, "unauthenticated-revoked")
    );
    assert!(!is_let_in(&bench, client_config(&eve).unwrap()).await);
    let bench = bench.restart().await;
    assert!(!is_let_in(&bench, client_config(&eve).unwrap()).await);
    assert!(is_let_in(&bench, client_config(&bench.admin).unwrap()).await);
}

#[tokio::test]
async fn a_refused_enrolment_says_why_and_is_audited() {
    let bench = Bench::new().await;
    let token = bench.token("n1").await;
    let key = KeyRequest::generate().unwrap();
    bench
        .enroll(&token, enroll_request(&token, "n1", &key))
        .await
        .unwrap();
    let other = KeyRequest::generate().unwrap();
    let refused = bench
        .enroll(&token, enroll_request(&token, "n1", &other))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(problem(&refused).code, "denied-token-used");
    let mut large = enroll_request(&token, "n1", &key);
    large.csr_pem = "x".repeat(20_000);
    let refused = bench.enroll(&token, large).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let mut admin = bench.operator(&bench.admin).await;
    let audit = admin
        .list_audit(ListAuditRequest { limit: 10 })
        .await
        .unwrap()
        .into_inner();
    let newest: Vec<_> = audit
        .entries
        .iter()
        .map(|entry| entry.what.as_str())
        .collect();
    assert_eq!(
        newest,
        ["enroll-refused", "enroll", "create-token", "create-user"]
    );
    assert!(!format!("{audit:?}").contains(token.secret.as_str()));
}

#[tokio::test]
async fn a_silent_connection_holds_up_nobody_and_is_closed() {
    let bench = Bench::new().await;
    let mut silent = TcpStream::connect(bench.daemon.session_address)
        .await
        .unwrap();
    bench.listed_none().await;
    let closed = tokio::time::timeout(Duration::from_secs(12), silent.read(&mut [0; 16])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "still open");
}

impl Bench {
    async fn listed_none(&self) {
        let mut admin = self.operator(&self.admin).await;
        let nodes = admin
            .list_nodes(ListNodesRequest {})
            .await
            .unwrap()
            .into_inner()
            .nodes;
        assert!(nodes.is_empty());
    }
}
