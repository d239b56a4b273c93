use super::*;
use quorate_proto::v1::{Acknowledge, OrderProgress};

fn node(id: &str) -> Node {
    Node {
        id: id.to_owned(),
        name: "n1".to_owned(),
    }
}

fn peer() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 4000))
}

async fn open(sessions: &Sessions, node: Node) -> (Session, Outbox) {
    let (sender, messages) = outbox();
    let session = sessions.open(node, Hello::default(), peer(), sender).await;
    (session, messages)
}

fn message(id: usize) -> CoordinatorMessage {
    let acknowledge = Acknowledge { id: id.to_string() };
    CoordinatorMessage {
        message: Some(coordinator_message::Message::Acknowledge(acknowledge)),
    }
}

#[tokio::test]
async fn a_newer_session_ends_the_older_one() {
    let (sessions, mut events) = Sessions::new();
    let (old, mut old_outbox) = open(&sessions, node("a")).await;
    let (new, mut outbox) = open(&sessions, node("a")).await;
    assert!(old.ended.is_cancelled() && !new.ended.is_cancelled());
    assert!(old_outbox.recv().await.is_none());

    // What the old one still says changes nothing.
    let stale = NodeReport {
        sequence: 1,
        unix_ms: 0,
        ..NodeReport::default()
    };
    sessions.report(&old, stale);
    sessions.close(&old, false).await;
    let view = sessions.view("n1").unwrap();
    assert!(view.connected && view.report.is_none());

    sessions.send("n1", message(1)).unwrap();
    assert_eq!(*outbox.recv().await.unwrap(), message(1));
    assert!(matches!(events.recv().await, Some(Event::Connected { .. })));
    assert!(matches!(events.recv().await, Some(Event::Connected { .. })));
    assert!(events.try_recv().is_err());

    sessions.close(&new, true).await;
    assert!(matches!(
        events.recv().await,
        Some(Event::Disconnected { clean: true, .. })
    ));
    assert!(!sessions.view("n1").unwrap().connected);
    assert_eq!(
        sessions.send("n1", message(1)),
        Err(SendError::NotConnected)
    );
}

#[tokio::test]
async fn an_agent_that_does_not_read_fills_its_own_queue_only() {
    let (sessions, _events) = Sessions::new();
    let (_session, _outbox) = open(&sessions, node("a")).await;
    for at in 0..OUTBOX {
        sessions.send("n1", message(at)).unwrap();
    }
    assert_eq!(sessions.send("n1", message(0)), Err(SendError::Full));
    assert_eq!(
        sessions.send("n2", message(0)),
        Err(SendError::NotConnected)
    );
}

#[tokio::test]
async fn revocation_hits_the_identity_and_not_the_name() {
    let (sessions, mut events) = Sessions::new();
    let (session, mut outbox) = open(&sessions, node("new")).await;
    sessions.revoke(&node("old"), "revoked").await;
    assert!(!session.ended.is_cancelled());
    sessions.revoke(&node("new"), "revoked").await;
    assert!(session.ended.is_cancelled());
    assert_eq!(*outbox.recv().await.unwrap(), goodbye("revoked"));
    assert!(sessions.view("n1").is_none());
    events.recv().await.unwrap();
    assert!(matches!(
        events.recv().await,
        Some(Event::Disconnected { clean: false, .. })
    ));
}

#[tokio::test]
async fn progress_is_dropped_before_anything_waits() {
    let (sessions, mut events) = Sessions::new();
    let (session, _outbox) = open(&sessions, node("a")).await;
    for sequence in 1..2 * EVENTS as u64 {
        sessions.progress(&session, progress(sequence));
    }
    let mut seen = 0;
    while events.try_recv().is_ok() {
        seen += 1;
    }
    assert_eq!(seen, EVENTS);
}

fn progress(sequence: u64) -> OrderProgress {
    OrderProgress {
        id: "o1".to_owned(),
        sequence,
        line: "unpacks".to_owned(),
    }
}

#[tokio::test]
async fn an_agent_that_restarted_says_nothing_twice() {
    let (sessions, mut events) = Sessions::new();
    let (before, _outbox) = open(&sessions, node("a")).await;
    sessions.progress(&before, progress(1));
    let (after, _outbox) = open(&sessions, node("a")).await;
    for sequence in [1, 2] {
        sessions.progress(&after, progress(sequence));
    }
    sessions.progress(&before, progress(3));
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Progress { progress, .. } = event {
            seen.push(progress.sequence);
        }
    }
    assert_eq!(seen, [1, 2], "nor does the session that has ended");
}

#[tokio::test]
async fn a_report_shows_the_clock_and_the_last_word() {
    let (sessions, _events) = Sessions::new();
    let (session, _outbox) = open(&sessions, node("a")).await;
    let report = NodeReport {
        sequence: 3,
        unix_ms: crate::clock::unix_ms() - 60_000,
        ..NodeReport::default()
    };
    sessions.report(&session, report);
    let view = sessions.view("n1").unwrap();
    assert_eq!(view.report.unwrap().sequence, 3);
    assert!((-61_000..=-59_000).contains(&view.clock_offset_ms));
    assert!(sessions.snapshot()["n1"].is_alive(Instant::now()));
    assert!(
        !sessions.snapshot()["n1"].is_alive(Instant::now() + std::time::Duration::from_secs(46))
    );
}
