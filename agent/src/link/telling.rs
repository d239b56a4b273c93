//! Once after the coordinator was restored elsewhere: tells what is behind the other known addresses of it, so that an
//! earlier coordinator that still runs steps back at once, and not only when some agent dials it again.

use super::dial::Dialer;
use super::session::wrap;
use super::{Handler, Link};
use quorate_proto::limits::EPOCH_TENURE_SHIFT;
use quorate_proto::v1::Hello;
use quorate_proto::v1::agent_client::AgentClient;
use quorate_proto::v1::agent_message::Message as Ours;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// From the hello to the answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A mere restart of the same coordinator concerns nobody else. Without an earlier epoch there is no earlier coordinator.
pub(super) fn is_of_a_newer_tenure(before: u64, now: u64) -> bool {
    before != 0 && now >> EPOCH_TENURE_SHIFT > before >> EPOCH_TENURE_SHIFT
}

/// One try each: a coordinator that cannot be reached now has no agents to order anything either, and hears it from the
/// first that comes.
pub(super) fn tell_others<H: Handler>(
    link: &Link<H>,
    current: &str,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<H> {
    let others: Vec<String> = link
        .endpoints
        .iter()
        .filter(|endpoint| *endpoint != current)
        .cloned()
        .collect();
    let dialer = link.dialer.clone();
    let hello = Hello {
        telling: true,
        ..link.handler.hello()
    };
    async move {
        for endpoint in others {
            let told = stop.run_until_cancelled(tell(&dialer, &endpoint, hello.clone()));
            match told.await {
                Some(true) => tracing::info!(endpoint, "told of the newer coordinator"),
                Some(false) => tracing::debug!(endpoint, "nobody there to be told"),
                None => return,
            }
        }
    }
}

async fn tell(dialer: &Dialer, endpoint: &str, hello: Hello) -> bool {
    let Ok(channel) = dialer.channel(endpoint).await else {
        return false;
    };
    let greeting = tokio_stream::once(wrap(Ours::Hello(hello)));
    let answer = async {
        let mut client = AgentClient::new(channel);
        let mut incoming = client.session(greeting).await.ok()?.into_inner();
        incoming.message().await.ok().flatten()
    };
    matches!(tokio::time::timeout(ANSWER, answer).await, Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_restore_is_told() {
        let restored = |at: u64, start: u64| at << EPOCH_TENURE_SHIFT | start;
        for (before, now, told) in [
            (0, restored(9, 1), false),
            (1, 2, false),
            (1, restored(9, 1), true),
            (restored(9, 1), restored(9, 2), false),
            (restored(9, 5), restored(10, 1), true),
            (restored(10, 1), restored(9, 5), false),
        ] {
            assert_eq!(is_of_a_newer_tenure(before, now), told, "{before} {now}");
        }
    }
}
