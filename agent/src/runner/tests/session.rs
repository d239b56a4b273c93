//! Sessions: from hello to goodbye, and from one to the next.

use super::*;
use crate::host::boot_clock;
use quorate_proto::v1::coordinator_message::Message as ToAgent;

#[tokio::test]
async fn a_session_from_hello_to_goodbye() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    assert_eq!(session.hello.node_id, "n1");
    assert_eq!(session.hello.highest_epoch, 0);
    assert_eq!(beat(&mut session).await, Some(1));
    assert_eq!(beat(&mut session).await, Some(2));
    session.deliver(&short(1), &[]).await;
    assert_eq!(accepted(&mut session).await, id(1));
    assert_eq!(
        progress(&mut session).await,
        Some((1, "at work".to_owned()))
    );
    let done = session.done().await;
    assert_eq!(
        (status(&done), done.result.expect("result").id),
        (OrderStatus::Succeeded, id(1))
    );
    // The first came at once; the second long before its time, as an order was done.
    assert_eq!(report(&mut session).await, Some(2));
    agent.stop.cancel();
    assert_eq!(
        goodbye(&mut session).await,
        Some("the agent stops".to_owned())
    );
    drop(session);
    agent.stop().await;
}

#[tokio::test]
async fn reports_on_the_endpoints_that_the_coordinator_watches() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    let endpoint = Endpoint {
        host: "lb.example".to_owned(),
        port: 6443,
    };
    session
        .send(ToAgent::Pace(Pace {
            report_ms: 100,
            watch: vec![endpoint.clone()],
            ..Pace::default()
        }))
        .await;
    let watched = session
        .next(|message| match message {
            FromAgent::Report(report) => {
                let dials = report.endpoint.map(|view| view.dials).unwrap_or_default();
                dials.into_iter().next()
            }
            FromAgent::Hello(_)
            | FromAgent::Done(_)
            | FromAgent::Heartbeat(_)
            | FromAgent::Accepted(_)
            | FromAgent::Progress(_)
            | FromAgent::Goodbye(_) => None,
        })
        .await;
    assert_eq!(watched.and_then(|it| it.endpoint), Some(endpoint));
    agent.stop().await;
}

/// From when it was sent, not from when the answer came: the coordinator counts from between the two.
#[tokio::test]
async fn an_answered_heartbeat_tells_until_when_the_node_was_heard() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    let isolation = agent.runner.settings.isolation.clone();
    beat(&mut session).await;
    let told = v1::Isolation {
        fence_ms: 12_000,
        generation: 3,
        stopped: false,
    };
    session
        .send(ToAgent::Pace(Pace {
            heartbeat_ms: 500,
            isolation: Some(told),
            ..Pace::default()
        }))
        .await;
    let sequence = beat(&mut session).await.expect("a heartbeat");
    assert_eq!(isolation.coordinator_ms(), None, "none was answered");
    let sent_before_ms = boot_clock::now_ms();
    beat(&mut session).await;
    let heard = v1::Heartbeat {
        sequence,
        unix_ms: 0,
    };
    session.send(ToAgent::Heard(heard)).await;
    let at = soon("the answer", async {
        loop {
            if let Some(at) = isolation.coordinator_ms() {
                return at;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(at <= sent_before_ms, "{at} {sent_before_ms}");
    let file = node.paths().state().join("isolation.json");
    assert!(file.exists(), "the duty outlives the agent");
    agent.stop().await;
}

#[tokio::test]
async fn a_result_names_the_first_report_that_can_tell_of_it() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    assert_eq!(report(&mut session).await, Some(1));
    let slow = Endpoint {
        host: "slow".to_owned(),
        port: 6443,
    };
    session
        .send(ToAgent::Pace(Pace {
            report_ms: 100,
            watch: vec![slow],
            ..Pace::default()
        }))
        .await;
    session.deliver(&short(1), &[]).await;
    // One is on its way that would show what was before: it gives way to the next.
    let done = session.done().await;
    assert!(done.report > 1);
    assert_eq!(report(&mut session).await, Some(done.report));
    agent.stop().await;
}

#[tokio::test]
async fn an_order_outlives_its_session() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let mut session = welcomed(&mut coordinator, 1).await;
    session.deliver(&install(1, "wait"), &[]).await;
    accepted(&mut session).await;
    // Delivered twice while it runs.
    session.deliver(&install(1, "wait"), &[]).await;
    accepted(&mut session).await;
    drop(session);
    let mut session = welcomed(&mut coordinator, 1).await;
    assert_eq!(session.hello.running_orders, [id(1)]);
    // A renewed certificate ends the session and not the order.
    agent.redial.send_replace(());
    assert_eq!(
        goodbye(&mut session).await,
        Some("the certificate was renewed".to_owned())
    );
    drop(session);
    let mut session = welcomed(&mut coordinator, 1).await;
    node.script.go.notify_one();
    assert_eq!(status(&session.done().await), OrderStatus::Succeeded);
    assert_eq!(node.script.runs(), 1);
    drop(session);
    agent.stop().await;
}

#[tokio::test]
async fn who_is_evicted_comes_back() {
    let (node, mut coordinator) = Node::new().await;
    let agent = node.start().await;
    let session = welcomed(&mut coordinator, 1).await;
    session.goodbye("a newer session took over").await;
    let mut session = welcomed(&mut coordinator, 1).await;
    session.deliver(&short(1), &[]).await;
    assert_eq!(status(&session.done().await), OrderStatus::Succeeded);
    assert_eq!(agent.problems(), ["coordinator-goodbye"]);
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn a_busy_coordinator_is_left_alone_for_as_long_as_it_asks() {
    let (mut node, first) = Node::new().await;
    first.stop();
    let mut status = tonic::Status::resource_exhausted("too many agents at once");
    let wait = "300".parse().expect("value");
    status
        .metadata_mut()
        .insert(crate::link::failure::RETRY_AFTER, wait);
    let busy = Answers {
        busy: Arc::new(Mutex::new(vec![status])),
        ..Answers::default()
    };
    let mut coordinator = Coordinator::start(node.authority.clone(), busy).await;
    node.endpoints = vec![coordinator.endpoint.clone()];
    let agent = node.start().await;
    let session = coordinator.session().await;
    let waits: Vec<Duration> = agent
        .states
        .lock()
        .expect("lock")
        .iter()
        .filter_map(|state| match state {
            LinkState::Disconnected { again_in, .. } => Some(*again_in),
            LinkState::Connected { .. } => None,
        })
        .collect();
    assert_eq!(agent.problems(), ["coordinator-busy"]);
    assert!(waits[0] >= Duration::from_millis(300));
    drop(session);
    agent.kill().await;
}

#[tokio::test]
async fn goes_to_the_next_endpoint() {
    let (mut node, mut coordinator) = Node::new().await;
    node.endpoints.insert(0, "127.0.0.1:1".to_owned());
    let agent = node.start().await;
    let session = welcomed(&mut coordinator, 1).await;
    assert_eq!(agent.problems(), ["coordinator-unreachable"]);
    assert!(agent.runner.hello().running_orders.is_empty());
    drop(session);
    agent.kill().await;
}
