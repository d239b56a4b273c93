//! What a delivery leads to: once, again, sealed, or from the wrong coordinator.

use super::*;

#[tokio::test]
async fn a_redelivery_returns_the_record_and_runs_nothing() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    session.deliver(&install(1, "now"), &[]).await;
    let first = session.done().await;
    drop(session);
    let mut session = welcomed(&mut coordinator, 1).await;
    assert_eq!(session.hello.finished_unacknowledged, [id(1)]);
    // Told again without being asked, as it was not acknowledged.
    assert_eq!(session.done().await.result, first.result);
    session.deliver(&install(1, "now"), &[]).await;
    assert_eq!(session.done().await.result, first.result);
    session.acknowledge(&id(1)).await;
    session.deliver(&short(2), &[]).await;
    while session.done().await.result.map(|r| r.id) != Some(id(2)) {}
    session.acknowledge(&id(2)).await;
    session.deliver(&install(1, "now"), &[]).await;
    assert_eq!(session.done().await.result, first.result);
    // Nor after a crash, and under a coordinator that was restarted.
    agent.kill().await;
    drop(session);
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 2).await;
    assert!(session.hello.finished_unacknowledged.is_empty());
    session.deliver(&install(1, "now"), &[]).await;
    assert_eq!(session.done().await.result, first.result);
    assert_eq!(node.script.runs(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_result_is_told_until_it_is_acknowledged() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    session.deliver(&short(1), &[]).await;
    let first = session.done().await;
    // Within the same session, as the coordinator may have failed to store it.
    assert_eq!(session.done().await.result, first.result);
    drop(session);
    let mut session = welcomed(&mut coordinator, 1).await;
    assert_eq!(session.done().await.result, first.result);
    session.acknowledge(&id(1)).await;
    // One more may be under way; then the next session has none.
    session.deliver(&short(2), &[]).await;
    while session.done().await.result.map(|r| r.id) != Some(id(2)) {}
    session.acknowledge(&id(2)).await;
    session.deliver(&short(2), &[]).await;
    while session.done().await.result.map(|r| r.id) != Some(id(2)) {}
    drop(session);
    let session = welcomed(&mut coordinator, 1).await;
    assert!(session.hello.finished_unacknowledged.is_empty());
    assert_eq!(node.script.runs(), 2);
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn a_stale_coordinator_is_refused() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let session = welcomed(&mut coordinator, 5).await;
    drop(session);
    let mut stale = welcomed(&mut coordinator, 4).await;
    assert_eq!(stale.hello.highest_epoch, 5);
    // The agent ends the session before any order could come.
    stale.to_agent_ignored(&short(1)).await;
    assert!(
        stale
            .next(|message| matches!(message, FromAgent::Accepted(_)).then_some(()))
            .await
            .is_none()
    );
    agent.kill().await;
    // Nor after a restart.
    let agent = node.start().await;
    let mut stale = welcomed(&mut coordinator, 4).await;
    assert!(stale.next(Some).await.is_none());
    let mut session = welcomed(&mut coordinator, 5).await;
    session
        .deliver(
            &Order {
                epoch: 4,
                ..short(2)
            },
            &[],
        )
        .await;
    let done = session.done().await;
    assert_eq!(
        (status(&done), code(&done)),
        (OrderStatus::Refused, "stale-coordinator".to_owned())
    );
    assert_eq!(node.script.runs(), 0);
    assert_eq!(agent.problems()[0], "stale-coordinator");
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn an_older_generation_is_refused() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    session
        .deliver(
            &Order {
                generation: 3,
                ..short(1)
            },
            &[],
        )
        .await;
    assert_eq!(status(&session.done().await), OrderStatus::Succeeded);
    session.acknowledge(&id(1)).await;
    session
        .deliver(
            &Order {
                generation: 2,
                ..short(2)
            },
            &[],
        )
        .await;
    let done = session.done().await;
    assert_eq!(
        (status(&done), code(&done)),
        (OrderStatus::Refused, "stale-generation".to_owned())
    );
    assert_eq!(node.script.runs(), 1);
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn a_sealed_result_is_computed_anew_and_kept_nowhere() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    let export = order(1, Action::ExportJoinMaterial(ExportJoinMaterial::default()));
    for run in 1..=2 {
        session.deliver(&export, &[]).await;
        let done = session.done().await;
        let material = JoinMaterial::decode(done.sealed.as_slice()).expect("material");
        assert_eq!(material.token, format!("secret {run}"));
    }
    let record = std::fs::read(journal::path_of(&node.paths().journal(), &id(1))).expect("record");
    assert!(!String::from_utf8_lossy(&record).contains("secret"));
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn a_sealed_part_reaches_its_order_and_no_disk() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    let material = JoinMaterial {
        token: "very-secret".to_owned(),
        ..JoinMaterial::default()
    };
    let join = order(1, Action::JoinWorker(JoinWorker::default()));
    session.deliver(&join, &material.encode_to_vec()).await;
    let done = session.done().await;
    assert_eq!(done.result.expect("result").authority_pem, "very-secret");
    assert!(!sealed::is_there(&node.paths(), &id(1)));
    let mut entry = journal::read(&node.paths(), &id(1))
        .expect("read")
        .expect("there");
    assert!(entry.sealed);
    // The script gave the secret back on purpose; without that nothing of it is recorded.
    entry.state = journal::State::Accepted;
    assert!(
        !serde_json::to_string(&entry)
            .expect("text")
            .contains("very-secret")
    );
    drop(session);
    agent.kill().await;
}
