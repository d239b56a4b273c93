//! Probes against real etcd members, through endpoints that lead somewhere else.

use super::caller::{Questions, with_pair};
use super::*;
use crate::etcd::testing::TestCluster;
use crate::paths::Paths;
use quorate_pki::{Leaf, Usage, inspect_pem};
use std::time::SystemTime;

/// As the agent of a member of `cluster`, calling `host`.
fn caller(cluster: &TestCluster, host: &str) -> Caller {
    let leaf = Leaf {
        common_name: "agent".into(),
        organization: vec![],
        names: vec![],
        uri: None,
        usage: Usage::Client,
        validity: Duration::from_secs(3600),
    };
    let authority = cluster.authority();
    let pair = authority.issue(&leaf, SystemTime::now()).unwrap();
    let pem = Some((pair.issued.cert_pem.as_str(), pair.key_pem.as_str()));
    let credentials = with_pair(authority.cert_pem().to_owned(), pem).unwrap();
    Caller {
        host: host.to_owned(),
        expected: host.to_owned(),
        as_client: Some((credentials, Questions::Etcd)),
        paths: Paths::default(),
    }
}

fn address(cluster: &TestCluster) -> SocketAddr {
    cluster.access(1).authority().parse().unwrap()
}

fn server(cluster: &TestCluster) -> ServingMember {
    let text = std::fs::read_to_string(cluster.home(1).join("both.crt")).unwrap();
    ServingMember {
        name: "n1".into(),
        fingerprint: inspect_pem(&text).unwrap().remove(0).fingerprint,
    }
}

async fn probe(
    caller: &Caller,
    at: SocketAddr,
    servers: &[ServingMember],
) -> Result<Vec<String>, String> {
    let seen = dial_all(caller, &[at], servers).await;
    verdict::judge(&seen, servers, caller.sees_servers()).map_err(|problem| problem.code)
}

#[tokio::test]
async fn where_an_endpoint_leads() {
    let (ours, other) = (TestCluster::start().await, TestCluster::start().await);
    let (here, there) = (address(&ours), address(&other));
    let host = here.ip().to_string();
    let servers = [server(&ours)];
    let caller = caller(&ours, &host);
    assert_eq!(
        probe(&caller, here, &servers).await,
        Ok(vec!["n1".to_owned()])
    );
    assert_eq!(probe(&caller, here, &[]).await, Ok(vec![]));
    let absent = [server(&ours), ServingMember::default()];
    let code = |it: Result<Vec<String>, String>| it.unwrap_err();
    assert_eq!(
        code(probe(&caller, here, &absent).await),
        "endpoint-member-missing"
    );
    // Its authority's name is no cluster's that anybody would know.
    assert_eq!(
        code(probe(&caller, there, &servers).await),
        "endpoint-terminates-tls"
    );
    let closed = SocketAddr::new(here.ip(), 1);
    assert_eq!(
        code(probe(&caller, closed, &servers).await),
        "endpoint-unreachable"
    );
    let misnamed = Caller {
        host: "lb.example".into(),
        expected: "lb.example".into(),
        ..caller.clone()
    };
    assert_eq!(
        code(probe(&misnamed, here, &servers).await),
        "endpoint-name-not-covered"
    );
    // Before the members' certificates have it, another name of theirs will do.
    let pending = Caller {
        expected: here.ip().to_string(),
        ..misnamed.clone()
    };
    assert_eq!(
        probe(&pending, here, &servers).await,
        Ok(vec!["n1".to_owned()])
    );
    let blind = Caller {
        as_client: None,
        ..caller.clone()
    };
    assert_eq!(probe(&blind, here, &servers).await, Ok(vec![]));
    // One of two addresses is dead.
    let seen = dial_all(&caller, &[here, closed], &servers).await;
    let problem = verdict::judge(&seen, &servers, true).unwrap_err();
    assert_eq!(problem.code, "endpoint-fails-sometimes");
    assert!(seen.len() <= AT_LEAST, "{}", seen.len());
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let nowhere = ("nowhere.invalid".to_owned(), 6443);
    let problem = resolve(&nowhere).await.unwrap_err();
    assert_eq!(problem.code, "endpoint-name-unresolved");
    let six = resolve(&("::1".to_owned(), 6443)).await.unwrap();
    assert_eq!(six, ["[::1]:6443".parse().unwrap()]);
}
