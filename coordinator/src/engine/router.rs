//! Brings what agents say to whoever waits for it: somebody who asked, or the loop of the node's cluster.

use super::agents::AgentEvent;
use super::cluster::LoopEvent;
use super::shared::Shared;
use std::sync::Arc;
use tokio::sync::mpsc;

pub async fn run(shared: Arc<Shared>, mut events: mpsc::Receiver<AgentEvent>) {
    while let Some(event) = events.recv().await {
        let (node, event) = match event {
            AgentEvent::Connected(node) => (node.clone(), LoopEvent::Connected(node)),
            AgentEvent::Disconnected(node) | AgentEvent::Reported(node) => (node, LoopEvent::Wake),
            AgentEvent::Progress(node, progress) => {
                (node.clone(), LoopEvent::Progress(node, progress))
            }
            AgentEvent::Done(node, done, at_ms) => {
                let id = done
                    .result
                    .as_ref()
                    .map(|r| r.id.clone())
                    .unwrap_or_default();
                match shared.answer(&node, *done) {
                    None => {
                        shared.acknowledge(&node, &id);
                        continue;
                    }
                    Some(done) => (node.clone(), LoopEvent::Done(node, done, at_ms)),
                }
            }
        };
        let Some(inbox) = shared
            .cluster_of(&node)
            .and_then(|cluster| shared.inbox(&cluster))
        else {
            // A result that no loop waits for: the node left its cluster. It need not be kept.
            if let LoopEvent::Done(node, done, _) = event {
                let id = done.result.map(|r| r.id).unwrap_or_default();
                shared.acknowledge(&node, &id);
            }
            continue;
        };
        match event {
            LoopEvent::Wake | LoopEvent::Progress(..) => {
                let _ = inbox.try_send(event);
            }
            LoopEvent::Connected(_) | LoopEvent::Done(..) | LoopEvent::Exported(..) => {
                // The loop ends only with the process.
                let _ = inbox.send(event).await;
            }
        }
    }
}
