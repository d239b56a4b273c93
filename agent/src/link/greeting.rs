//! The beginning of a session: our hello, the coordinator's welcome.

use super::failure::Failure;
use super::session::{SEND_QUEUE, ended, wrap};
use super::{Handler, Link};
use quorate_proto::limits::MAX_MESSAGE_BYTES;
use quorate_proto::v1::agent_client::AgentClient;
use quorate_proto::v1::agent_message::Message as Ours;
use quorate_proto::v1::coordinator_message::Message as Theirs;
use quorate_proto::v1::{AgentMessage, CoordinatorMessage, Problem, Welcome};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

pub(super) struct Greeted {
    pub sender: Sender<AgentMessage>,
    pub incoming: Streaming<CoordinatorMessage>,
    pub welcome: Welcome,
}

pub(super) async fn greet<H: Handler>(
    link: &Link<H>,
    endpoint: &str,
    channel: Channel,
) -> Result<Greeted, Failure> {
    let failed = |status: tonic::Status| Failure::of_status(endpoint, &status);
    let (sender, receiver) = mpsc::channel(SEND_QUEUE);
    let hello = wrap(Ours::Hello(link.handler.hello()));
    sender
        .try_send(hello)
        .map_err(|_| Problem::new("link", "the stream closed before it began"))?;
    let mut client = AgentClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let call = client.session(ReceiverStream::new(receiver));
    let mut incoming = call.await.map_err(failed)?.into_inner();
    match incoming.message().await.map_err(failed)? {
        Some(CoordinatorMessage {
            message: Some(Theirs::Welcome(welcome)),
        }) => Ok(Greeted {
            sender,
            incoming,
            welcome,
        }),
        Some(CoordinatorMessage {
            message: Some(Theirs::Goodbye(goodbye)),
        }) => Err(ended(endpoint).because(goodbye.reason).into()),
        Some(_) => Err(Problem::new(
            "version-mismatch",
            "the coordinator's first message is no welcome",
        )
        .at(endpoint)
        .next("install the same version of both packages")
        .into()),
        None => Err(ended(endpoint).into()),
    }
}
