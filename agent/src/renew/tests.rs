//! When to renew, and that a renewed certificate is in use and on disk.

use super::*;
use crate::testing::{self, Answers, Coordinator, soon};

#[test]
fn due_after_two_thirds_of_its_life() {
    let authority = testing::authority();
    let hour = Duration::from_secs(3600);
    let identity = testing::identity_for(&authority, "n1", &["a:1"], 3 * hour);
    let at = |after: Duration| step(&identity, 0.5, identity.not_before + after);
    assert_eq!(at(Duration::ZERO), Step::Wait(LONGEST_WAIT));
    // The life may begin a little before the issue, so the point is taken from the certificate.
    let due = quorate_pki::renew_at(identity.not_before, identity.not_after, 0.5);
    let due = due.duration_since(identity.not_before).expect("later");
    assert_eq!(
        at(due - Duration::from_secs(5)),
        Step::Wait(Duration::from_secs(5))
    );
    assert_eq!(at(due), Step::Renew);
    assert_eq!(at(100 * hour), Step::Renew);
}

#[tokio::test]
async fn renews_with_a_new_key_and_has_the_link_dial_again() {
    let folder = tempfile::tempdir().expect("folder");
    let paths = Paths::under(folder.path());
    let authority = Arc::new(testing::authority());
    let coordinator = Coordinator::start(authority.clone(), Answers::default()).await;
    // So short that two thirds of it, counted from a beginning that lies back, are over.
    let old = testing::identity_for(
        &authority,
        "n1",
        &[&coordinator.endpoint],
        Duration::from_secs(30),
    );
    old.save(&paths).expect("saved");
    let material = Arc::new(Hot::new(old.material.clone()));
    let (redial, mut redialled) = watch::channel(());
    let (announce, announced) = watch::channel(Vec::new());
    let renewal = Renewal {
        paths: paths.clone(),
        identity: old.clone(),
        material: material.clone(),
        redial,
        announced,
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(renewal.run(stop.clone()));
    soon("the renewal", redialled.changed())
        .await
        .expect("renewed");
    assert_eq!(coordinator.renewals.lock().expect("lock").len(), 1);
    let stored = AgentIdentity::load(&paths)
        .expect("readable")
        .expect("there");
    assert_ne!(*stored.material.key_pem, *old.material.key_pem);
    assert!(stored.not_after > old.not_after);
    assert_eq!(
        material.load().cert_chain_pem,
        stored.material.cert_chain_pem
    );
    // Announced endpoints are remembered beside it.
    announce.send_replace(vec!["other:7443".to_owned()]);
    let kept = async {
        loop {
            let now = AgentIdentity::load(&paths).ok().flatten();
            if let Some(now) = now.filter(|now| now.endpoints.len() == 2) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let kept = soon("the endpoints", kept).await;
    assert_eq!(
        kept.endpoints,
        ["other:7443".to_owned(), coordinator.endpoint.clone()]
    );
    assert_eq!(kept.material.cert_chain_pem, stored.material.cert_chain_pem);
    stop.cancel();
    soon("the end", running).await.expect("no panic");
}
