//! How orders run: bounded, side by side, and across a crash.

use super::*;

#[tokio::test]
async fn a_panic_and_a_hang_end_the_order_only() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    session.deliver(&install(1, "panic"), &[]).await;
    let done = session.done().await;
    assert_eq!(
        (status(&done), code(&done)),
        (OrderStatus::Failed, "agent-bug".to_owned())
    );
    session.acknowledge(&id(1)).await;
    let hang = Order {
        timeout_seconds: 1,
        ..install(2, "hang")
    };
    session.deliver(&hang, &[]).await;
    let done = session.done().await;
    assert_eq!(
        (status(&done), code(&done)),
        (OrderStatus::Failed, "order-timeout".to_owned())
    );
    session.acknowledge(&id(2)).await;
    session.deliver(&install(3, "now"), &[]).await;
    assert_eq!(status(&session.done().await), OrderStatus::Succeeded);
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn unit_orders_run_one_at_a_time_and_short_ones_beside() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    session.deliver(&install(1, "wait"), &[]).await;
    session.deliver(&install(2, "now"), &[]).await;
    session.deliver(&short(3), &[]).await;
    assert_eq!(session.done().await.result.expect("result").id, id(3));
    assert_eq!(node.script.runs(), 2);
    session.acknowledge(&id(3)).await;
    // More than may wait are refused, and can be ordered again.
    let limit = u32::try_from(UNIT_QUEUE).expect("small");
    for number in 0..limit + 1 {
        session.deliver(&install(100 + number, "now"), &[]).await;
    }
    let refused = loop {
        let done = session.done().await;
        if status(&done) == OrderStatus::Refused {
            break done;
        }
    };
    assert_eq!(code(&refused), "node-busy");
    node.script.go.notify_one();
    while session.done().await.result.map(|r| r.id) != Some(id(2)) {}
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn what_a_crash_interrupted_is_taken_up_or_reported() {
    let (node, mut coordinator) = Node::new().await;
    let paths = node.paths();
    let mut book = Journal::open(&paths).expect("journal").journal;
    // A unit order that had started; one whose secrets are gone; a short one.
    book.accept(install(1, "now"), false).expect("accepted");
    book.accept(order(2, Action::JoinWorker(JoinWorker::default())), true)
        .expect("accepted");
    book.accept(short(3), false).expect("accepted");
    for number in 1..=3 {
        book.set_running(&id(number), "u").expect("running");
    }
    book.accept(
        order(4, Action::ExportJoinMaterial(ExportJoinMaterial::default())),
        false,
    )
    .expect("accepted");
    drop(book);
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    let mut ends = std::collections::BTreeMap::new();
    while ends.len() < 3 {
        let done = session.done().await;
        let result = done.result.clone().expect("result");
        ends.insert(result.id, status(&done));
    }
    assert_eq!(ends[&id(1)], OrderStatus::Succeeded);
    assert_eq!(ends[&id(2)], OrderStatus::Interrupted);
    assert_eq!(ends[&id(3)], OrderStatus::Interrupted);
    assert_eq!(node.script.runs(), 1);
    assert!(journal::read(&paths, &id(4)).expect("read").is_none());
    drop(session);
    agent.kill().await;
}
