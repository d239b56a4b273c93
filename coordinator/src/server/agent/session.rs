//! One agent's session, from hello to its end. A stream that ends without a goodbye is a lost agent.

use crate::clock;
use crate::server::Parts;
use crate::sessions::{Event, Node, OutboxSender, SUPERSEDED, Sealed, Session, goodbye};
use quorate_proto::limits::{HEARTBEAT_SECONDS, LOST_AFTER_SECONDS, REPORT_AT_REST_MS};
use quorate_proto::v1::agent_message::Message as Theirs;
use quorate_proto::v1::coordinator_message::Message as Ours;
use quorate_proto::v1::{
    AgentMessage, CoordinatorMessage, Hello, OrderDone, Pace, Problem, Welcome,
};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use zeroize::Zeroizing;

/// An agent says hello with its first bytes.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
const LOST_AFTER: Duration = Duration::from_secs(LOST_AFTER_SECONDS);

pub async fn serve(
    parts: Parts,
    node: Node,
    address: SocketAddr,
    mut incoming: Streaming<AgentMessage>,
    outbox: OutboxSender,
    shutdown: CancellationToken,
) {
    let hello = match timeout(HELLO_TIMEOUT, incoming.message()).await {
        Ok(received) => greeting(&node, received),
        Err(_) => Err(Problem::new("unavailable-agent", "no hello within 10 s")),
    };
    let hello = match hello {
        Ok(hello) => hello,
        Err(problem) => {
            tracing::warn!(node = node.name, %address, %problem, "refused a session");
            let _ = outbox.try_send(Box::new(goodbye(&problem.what)));
            return;
        }
    };
    let (epoch, proof) = (hello.highest_epoch, &hello.epoch_proof);
    let obeys_newer = parts.tenure.heard(&node.name, epoch, proof).await;
    if obeys_newer || hello.telling || parts.tenure.newer().is_some() {
        let _ = outbox.try_send(Box::new(goodbye(SUPERSEDED)));
        return;
    }
    // The first messages, before the engine can send any.
    for message in greetings(&parts) {
        let _ = outbox.try_send(Box::new(CoordinatorMessage {
            message: Some(message),
        }));
    }
    let session = parts.sessions.open(node, hello, address, outbox).await;
    let clean = listen(&parts, &session, &mut incoming, &shutdown).await;
    parts.sessions.close(&session, clean).await;
    tracing::info!(node = session.node.name, clean, "session ended");
}

fn greeting(node: &Node, received: Result<Option<AgentMessage>, Status>) -> Result<Hello, Problem> {
    let message =
        received.map_err(|status| Problem::new("unavailable-agent", status.to_string()))?;
    match message.and_then(|message| message.message) {
        Some(Theirs::Hello(hello)) if hello.node_id == node.id => Ok(hello),
        Some(Theirs::Hello(hello)) => {
            let claimed: String = hello.node_id.chars().take(64).collect();
            Err(Problem::new(
                "denied-node",
                "the hello is not that of the certificate's node",
            )
            .because(claimed))
        }
        Some(
            Theirs::Report(_)
            | Theirs::Heartbeat(_)
            | Theirs::Accepted(_)
            | Theirs::Progress(_)
            | Theirs::Done(_)
            | Theirs::Goodbye(_),
        )
        | None => Err(Problem::new(
            "invalid-hello",
            "the first message is no hello",
        )),
    }
}

fn greetings(parts: &Parts) -> [Ours; 2] {
    let welcome = Welcome {
        epoch: parts.tenure.epoch(),
        epoch_proof: parts.tenure.proof(),
        unix_ms: clock::unix_ms(),
        heartbeat_seconds: HEARTBEAT_SECONDS,
        endpoints: parts
            .addresses
            .iter()
            .map(|it| it.session.clone())
            .collect(),
    };
    let pace = Pace {
        report_ms: REPORT_AT_REST_MS,
        ..Pace::default()
    };
    [Ours::Welcome(welcome), Ours::Pace(pace)]
}

/// Returns whether the agent said goodbye.
async fn listen(
    parts: &Parts,
    session: &Session,
    incoming: &mut Streaming<AgentMessage>,
    shutdown: &CancellationToken,
) -> bool {
    loop {
        let received = tokio::select! {
            () = session.ended.cancelled() => return false,
            () = shutdown.cancelled() => return false,
            received = timeout(LOST_AFTER, incoming.message()) => received,
        };
        let message = match received {
            Ok(Ok(Some(message))) => message.message,
            Ok(Ok(None)) => return false,
            Ok(Err(status)) => {
                tracing::info!(node = session.node.name, %status, "session broke");
                return false;
            }
            Err(_) => {
                tracing::warn!(node = session.node.name, "nothing heard for too long");
                return false;
            }
        };
        // An agent of a newer version may say what is not known here.
        let Some(message) = message else { continue };
        parts.sessions.heard(session);
        if let Theirs::Goodbye(_) = message {
            return true;
        }
        receive(parts, session, message).await;
    }
}

async fn receive(parts: &Parts, session: &Session, message: Theirs) {
    let node = session.node.clone();
    match message {
        Theirs::Report(report) => parts.sessions.report(session, report),
        Theirs::Heartbeat(beat) => {
            parts.sessions.heartbeat(session, beat.unix_ms);
            // Noted as heard by now. If there is no room, the next one tells it.
            let heard = CoordinatorMessage {
                message: Some(Ours::Heard(beat)),
            };
            let _ = parts.sessions.send(&session.node.name, heard);
        }
        Theirs::Accepted(accepted) => {
            let order = accepted.id;
            parts.sessions.tell(Event::Accepted { node, order }).await;
        }
        Theirs::Progress(progress) => parts.sessions.progress(session, progress),
        Theirs::Done(OrderDone {
            result: Some(result),
            sealed,
            report,
        }) => {
            let done = Event::Done {
                node,
                result: Box::new(result),
                report,
                sealed: Sealed(Zeroizing::new(sealed)),
                at: Instant::now(),
            };
            parts.sessions.tell(done).await;
        }
        Theirs::Done(OrderDone { result: None, .. }) => {
            tracing::warn!(node = node.name, "a result without content");
        }
        Theirs::Hello(_) => tracing::warn!(node = node.name, "a second hello"),
        Theirs::Goodbye(_) => {}
    }
}
