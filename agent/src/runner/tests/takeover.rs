//! A coordinator that was brought to another machine: how the agent finds it, and what becomes of the old one.

use super::*;
use quorate_proto::limits::EPOCH_TENURE_SHIFT;
use quorate_proto::v1::coordinator_message::Message as ToAgent;

const OLD: u64 = 1_700_000_000;
const NEW: u64 = 1_700_000_900 << EPOCH_TENURE_SHIFT | 1_700_000_901;

async fn second(node: &Node) -> Coordinator {
    Coordinator::start(node.authority.clone(), Answers::default()).await
}

async fn welcome(session: &Session, epoch: u64, endpoints: &[&str]) {
    let welcome = Welcome {
        epoch,
        heartbeat_seconds: 1,
        endpoints: endpoints.iter().map(|it| (*it).to_owned()).collect(),
        epoch_proof: epoch.to_be_bytes().to_vec(),
        ..Welcome::default()
    };
    session.send(ToAgent::Welcome(welcome)).await;
}

#[tokio::test]
async fn an_announced_address_is_dialled_when_the_first_is_gone() {
    let (node, mut first) = Node::new().await;
    let mut other = second(&node).await;
    let agent = node.start().await;
    let mut session = first.session().await;
    let announced = [other.endpoint.clone(), first.endpoint.clone()];
    welcome(&session, OLD, &announced.each_ref().map(String::as_str)).await;
    let first_order = Order {
        epoch: OLD,
        ..short(1)
    };
    session.deliver(&first_order, &[]).await;
    assert_eq!(accepted(&mut session).await, id(1));
    first.stop();
    drop(session);
    // The result of the order goes where the coordinator is now.
    let mut session = other.session().await;
    assert!(!session.hello.telling);
    welcome(&session, OLD + 1, &[]).await;
    assert_eq!(status(&session.done().await), OrderStatus::Succeeded);
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn the_old_one_is_told_and_refused() {
    let (mut node, mut old) = Node::new().await;
    let mut new = second(&node).await;
    let agent = node.start().await;
    let session = old.session().await;
    welcome(&session, OLD, &[]).await;
    let first_order = Order {
        epoch: OLD,
        ..short(1)
    };
    session.deliver(&first_order, &[]).await;
    let mut session = session;
    session.done().await;
    agent.kill().await;
    // As `quorate-agent coordinator` leaves it.
    node.endpoints.insert(0, new.endpoint.clone());
    let agent = node.start().await;
    let mut session = new.session().await;
    assert_eq!(session.hello.highest_epoch, OLD);
    welcome(&session, NEW, &[]).await;
    // Order after order of the new one, while the old one hears of it.
    session
        .deliver(
            &Order {
                epoch: NEW,
                ..short(2)
            },
            &[],
        )
        .await;
    assert_eq!(status(&session.done().await), OrderStatus::Succeeded);
    let told = old.session().await;
    assert!(told.hello.telling);
    assert_eq!(told.hello.highest_epoch, NEW);
    assert_eq!(told.hello.epoch_proof, NEW.to_be_bytes());
    told.goodbye("there is a newer coordinator").await;
    drop(told);

    // Away for a while: the old one is tried, and gets no further than its welcome.
    new.stop();
    drop(session);
    let mut stale = old.session().await;
    assert!(!stale.hello.telling);
    welcome(&stale, OLD + 100, &[]).await;
    stale
        .to_agent_ignored(&Order {
            epoch: OLD + 100,
            ..short(3)
        })
        .await;
    let accepted = stale
        .next(|message| matches!(message, FromAgent::Accepted(_)).then_some(()))
        .await;
    assert!(accepted.is_none());
    assert!(agent.problems().contains(&"stale-coordinator".to_owned()));
    assert_eq!(node.script.runs(), 2);
    agent.kill().await;
    // The proof outlives the agent.
    let agent = node.start().await;
    let stale = old.session().await;
    assert_eq!(stale.hello.epoch_proof, NEW.to_be_bytes());
    drop(stale);
    agent.kill().await;
}
