//! A real etcd takes over new names.

use super::names::Own;
use super::*;
use crate::etcd::testing::TestCluster;
use crate::host::pair::Pair;
use crate::orders::install::testing::{Folder, Said, context_under};
use crate::paths::Paths;
use std::time::Duration;

fn subject(cluster: &TestCluster) -> Subject {
    let address: std::net::SocketAddr = cluster.access(1).authority().parse().unwrap();
    Subject::test(
        cluster.authority(),
        Own {
            required: vec![Name::Ip(address.ip())],
            kept: Vec::new(),
        },
        Serving {
            pair: Pair::new(cluster.home(1), "both"),
            address,
        },
    )
}

fn context() -> (Context, Said, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let (context, said) = context_under(Paths::under(root.path()), Folder::of(&[]));
    (context, said, root)
}

#[tokio::test]
async fn etcd_serves_the_new_names_without_a_restart() {
    let cluster = TestCluster::start().await;
    let subject = subject(&cluster);
    let serving = &subject.serving[0];
    let (context, said, _root) = context();
    let names =
        |texts: &[&str]| -> Vec<Name> { texts.iter().map(|it| Name::parse(it).unwrap()).collect() };
    let look = async || {
        let host = serving.address.ip().to_string();
        crate::kube::serving::look(serving.address, &host, Duration::from_secs(5))
            .await
            .unwrap()
            .info
    };
    let before = look().await;
    settle(
        &context,
        &subject,
        serving,
        &names(&["lb.example", "10.9.9.9"]),
        &[],
    )
    .unwrap();
    prove::served(&context, serving).await.unwrap();
    let after = look().await;
    assert_ne!(after.fingerprint, before.fingerprint);
    assert_eq!(after.names.len(), before.names.len() + 2);

    // Again: nothing changes. Dropped: gone, and the member's own stay.
    settle(&context, &subject, serving, &names(&["10.9.9.9"]), &[]).unwrap();
    assert_eq!(look().await.fingerprint, after.fingerprint);
    let all = names(&["lb.example", "127.0.0.1", &serving.address.ip().to_string()]);
    settle(&context, &subject, serving, &[], &all).unwrap();
    prove::served(&context, serving).await.unwrap();
    let pruned = look().await;
    assert!(!pruned.covers(&all[0]) && pruned.covers(&all[1]) && pruned.covers(&all[2]));
    assert!(pruned.covers(&Name::parse("10.9.9.9").unwrap()));
    assert_eq!(said.lines().len(), 2);
    assert!(cluster.access(1).authority().len() > 1);
}

#[tokio::test]
async fn a_certificate_that_is_not_served_is_no_success() {
    let cluster = TestCluster::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut subject = subject(&cluster);
    for file in ["both.crt", "both.key"] {
        std::fs::copy(cluster.home(1).join(file), elsewhere.path().join(file)).unwrap();
    }
    subject.serving[0].pair = Pair::new(elsewhere.path(), "both");
    let (mut context, _said, _root) = context();
    context.deadline = std::time::Instant::now() + Duration::from_millis(300);
    let name = [Name::parse("lb.example").unwrap()];
    settle(&context, &subject, &subject.serving[0], &name, &[]).unwrap();
    let problem = prove::served(&context, &subject.serving[0])
        .await
        .unwrap_err();
    assert_eq!(problem.code, "certificate-not-served");
    assert!(problem.cause.contains("serial"), "{problem}");
}
