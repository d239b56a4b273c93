//! A coordinator brought to another machine, with the old one still running.

use super::bench::*;
use crate::backup::{self, Restoring, restore};
use crate::engine::records::ClusterRecord;
use crate::store::{Key, Transaction};
use quorate_pki::KeyRequest;
use quorate_proto::limits::EPOCH_TENURE_SHIFT;
use quorate_proto::v1::coordinator_message::Message as ToAgent;
use quorate_proto::v1::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Callers that change something at the same time.
const CALLERS: usize = 4;

fn code(status: &tonic::Status) -> String {
    crate::server::problem(status).code
}

async fn welcome(node: &TestNode) -> Welcome {
    let mut session = node.open(&node.id).await;
    match session.next().await {
        Some(ToAgent::Welcome(welcome)) => welcome,
        other => panic!("no welcome: {other:?}"),
    }
}

fn at(node: &TestNode, bench: &Bench) -> TestNode {
    TestNode {
        address: bench.daemon.session_address,
        id: node.id.clone(),
        material: node.material.clone(),
    }
}

/// What an agent says that has heard this welcome.
fn hello(node: &TestNode, heard: &Welcome, telling: bool) -> Hello {
    Hello {
        node_id: node.id.clone(),
        highest_epoch: heard.epoch,
        epoch_proof: heard.epoch_proof.clone(),
        telling,
        ..Hello::default()
    }
}

#[tokio::test]
async fn a_backup_under_load_holds_what_was_acknowledged_before_it() {
    let bench = Arc::new(Bench::new().await);
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (bench, stop) = (Arc::clone(&bench), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut made = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    made.insert(bench.token(&format!("n{number}")).await.id);
                }
                made
            })
        })
        .collect();
    let tokens = || bench.daemon.parts.authority.tokens().unwrap();
    until(|| async { tokens().len() > 10 }).await;
    let before: BTreeSet<String> = tokens().into_iter().map(|token| token.id).collect();
    let file = bench.backup().await;
    stop.store(true, Ordering::Relaxed);
    let mut all = BTreeSet::new();
    for caller in callers {
        all.extend(caller.await.unwrap());
    }
    let (new, report) = Bench::restored(&file).await;
    let there = new.daemon.parts.authority.tokens().unwrap();
    assert_eq!(report.tokens, there.len());
    assert!(there.iter().all(|token| token.revoked_unix.is_some()));
    let there: BTreeSet<String> = there.into_iter().map(|token| token.id).collect();
    assert!(
        there.is_superset(&before),
        "something acknowledged is missing"
    );
    assert!(there.is_subset(&all), "something that never was");
    // That it was made is on record in both.
    for one in [&*bench, &new] {
        let audit = one.daemon.parts.store.audit(usize::MAX).unwrap();
        assert!(audit.iter().any(|(_, line)| line.what == "backup"));
    }
}

#[tokio::test]
async fn nodes_find_the_new_one_and_the_old_one_steps_back() {
    let old = Bench::new().await;
    let (one, two) = (old.node("n1").await, old.node("n2").await);
    let file = old.backup().await;
    let mut still_there = two.session().await;
    let (new, report) = Bench::restored(&file).await;
    assert_eq!(report.pin, old.daemon.parts.authority.pin());

    // The certificate of before is good there.
    let heard = welcome(&at(&one, &new)).await;
    assert_eq!(heard.epoch, new.daemon.parts.tenure.epoch());
    assert!(heard.epoch > old.daemon.parts.tenure.epoch());
    until(|| async { new.listed("n1").await.host.is_none() }).await;

    // An order of the old one would be refused by its epoch; the old one learns of it by the hello.
    let mut session = one.say_hello(hello(&one, &heard, true)).await;
    assert!(matches!(session.next().await, Some(ToAgent::Goodbye(_))));
    assert!(matches!(
        still_there.next().await,
        Some(ToAgent::Goodbye(_))
    ));
    assert_eq!(still_there.next().await, None);
    let mut session = two.open(&two.id).await;
    assert!(matches!(session.next().await, Some(ToAgent::Goodbye(_))));

    let mut admin = old.operator(&old.admin).await;
    let refused = admin.create_token(CreateTokenRequest::default()).await;
    assert_eq!(code(&refused.unwrap_err()), "refused-superseded");
    let key = KeyRequest::generate().unwrap();
    let renew = RenewRequest {
        csr_pem: key.csr_pem,
    };
    let refused = two.client().await.unwrap().renew(renew).await;
    assert_eq!(code(&refused.unwrap_err()), "refused-superseded");
    let status = admin.status(StatusRequest::default()).await.unwrap();
    let notices = status.into_inner().notices;
    assert!(
        notices.iter().any(|it| it.starts_with("SUPERSEDED")),
        "{notices:?}"
    );

    // A restart does not bring it back, and its state can still be saved.
    let old = old.restart().await;
    assert!(old.daemon.parts.tenure.epoch() < heard.epoch);
    let mut admin = old.operator(&old.admin).await;
    let refused = admin.create_token(CreateTokenRequest::default()).await;
    assert_eq!(code(&refused.unwrap_err()), "refused-superseded");
    assert!(backup::check(&old.backup().await).is_ok());
    // The new one is not impressed by anything of the old one.
    let theirs = welcome(&at(&two, &new)).await;
    assert_eq!(theirs.epoch, heard.epoch);
    new.token("n9").await;
}

#[tokio::test]
async fn a_node_without_proof_supersedes_nobody() {
    let bench = Bench::new().await;
    let node = bench.node("n1").await;
    let heard = welcome(&node).await;
    let forged = Welcome {
        epoch: u64::MAX,
        ..heard
    };
    let mut session = node.say_hello(hello(&node, &forged, false)).await;
    assert!(matches!(session.next().await, Some(ToAgent::Welcome(_))));
    bench.token("n2").await;
}

#[tokio::test]
async fn the_one_that_was_superseded_can_be_brought_back() {
    let old = Bench::new().await;
    let node = old.node("n1").await;
    let (new, _) = Bench::restored(&old.backup().await).await;
    let heard = welcome(&at(&node, &new)).await;
    node.say_hello(hello(&node, &heard, true))
        .await
        .next()
        .await;
    new.daemon.stop().await;
    let (again, _) = Bench::restored(&old.backup().await).await;
    assert!(again.daemon.parts.tenure.newer().is_none());
    let last = welcome(&at(&node, &again)).await;
    assert!(last.epoch >> EPOCH_TENURE_SHIFT >= heard.epoch >> EPOCH_TENURE_SHIFT);
    again.token("n2").await;
}

#[tokio::test]
async fn revisions_of_cluster_files_go_on_above_what_agents_may_have_seen() {
    let old = Bench::new().await;
    let file = include_str!("../../../../packaging/examples/etcd.yaml");
    let nothing = std::collections::BTreeMap::new();
    let spec = crate::spec::resolve::resolve(file, &nothing, &nothing).unwrap();
    let record = serde_json::json!({
        "id": "c1", "name": "db", "revision": 3, "spec": spec,
        "founder": null, "dirty": [], "operation": null,
    });
    let put = Transaction::new().put(Key::cluster("db"), &record);
    old.daemon.parts.store.commit(put).await.unwrap();
    let (new, report) = Bench::restored(&old.backup().await).await;
    assert_eq!(report.clusters, ["db"]);
    let cluster: ClusterRecord = new
        .daemon
        .parts
        .store
        .read(&Key::cluster("db"))
        .unwrap()
        .unwrap();
    assert!(cluster.revision > 3 + 100_000);
}

#[tokio::test]
async fn what_is_wrong_changes_nothing() {
    let old = Bench::new().await;
    let file = old.backup().await;
    let bytes = std::fs::read(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (state, etc) = (folder.path().join("state"), folder.path().join("etc"));
    let path = folder.path().join("wrong");
    let restoring = |file: &Path, advertise: &str| {
        let (file, advertise) = (file.to_owned(), [advertise.to_owned()]);
        let (state, etc) = (state.clone(), etc.clone());
        async move {
            restore(Restoring {
                file: &file,
                state_dir: &state,
                config_dir: &etc,
                advertise: &advertise,
                force: true,
            })
            .await
            .map_err(|problem| problem.code)
        }
    };
    for (content, advertise, expected) in [
        (&bytes[..bytes.len() / 2], "a:1", "backup-damaged"),
        (
            b"quorate backup 9: holds private keys, keep it as safe as those\n",
            "a:1",
            "backup-version",
        ),
        (b"", "a:1", "backup-unreadable"),
        (bytes.as_slice(), "a", "endpoint-malformed"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(restoring(&path, advertise).await.unwrap_err(), expected);
        assert!(!state.exists() && !etc.exists(), "{expected}");
    }
    assert!(restoring(&file, "a:1").await.unwrap().moved.is_empty());
    let key = |folder: &Path| std::fs::read(folder.join("ca/ca.key")).unwrap();
    let before = key(&state);
    // Held by one that runs.
    let store = crate::store::Store::open(&state.join("store")).unwrap();
    assert_eq!(restoring(&file, "a:1").await.unwrap_err(), "store-locked");
    store.close().await;
    drop(store);
    let moved = restoring(&file, "b:1").await.unwrap().moved;
    let aside = moved[0].parent().unwrap();
    assert_eq!(key(aside), before);
    assert!(moved.iter().any(|path| path.ends_with("store")));
}
