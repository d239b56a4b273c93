//! The service of the agents.

mod fetch;
mod session;

use super::Parts;
use super::connection::{Caller, Peer};
use super::status::to_status;
use crate::sessions::{Node, Outbox};
use fetch::Fetches;
use quorate_proto::v1::agent_server::Agent;
use quorate_proto::v1::snapshot_part::Part;
use quorate_proto::v1::{
    AgentMessage, CoordinatorMessage, FetchArtifactRequest, FileChunk, Problem, RenewRequest,
    RenewResponse, SendSnapshotResponse, SnapshotPart,
};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub struct AgentService {
    parts: Parts,
    fetches: Fetches,
    shutdown: CancellationToken,
}

impl AgentService {
    pub fn new(parts: Parts, shutdown: CancellationToken) -> Self {
        AgentService {
            fetches: Fetches::new(Arc::clone(&parts.artifacts)),
            parts,
            shutdown,
        }
    }

    /// The node that calls, by its certificate alone.
    fn node<T>(&self, request: &Request<T>) -> Result<(Node, SocketAddr), Problem> {
        let (caller, address) = caller(request)?;
        let node = self
            .parts
            .authority
            .node(&caller.identity.id)?
            .ok_or_else(|| {
                Problem::new("denied-node", "this node is not known here any more")
                    .next("enrol it again with a new token")
            })?;
        let node = Node {
            id: node.id,
            name: node.name,
        };
        Ok((node, address))
    }
}

/// Set by the listener; the authorization layer has let no request without it through.
pub fn caller<T>(request: &Request<T>) -> Result<(Arc<Caller>, SocketAddr), Problem> {
    let peer = request.extensions().get::<Peer>();
    let caller = peer.and_then(|peer| Some((peer.caller.clone()?, peer.address)));
    caller.ok_or_else(|| Problem::new("unauthenticated-certificate", "the call has no certificate"))
}

#[tonic::async_trait]
impl Agent for AgentService {
    type SessionStream = SessionStream;
    type FetchArtifactStream = fetch::Chunks;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<SessionStream>, Status> {
        let (node, address) = self.node(&request).map_err(to_status)?;
        let (sender, outbox) = crate::sessions::outbox();
        let serve = session::serve(
            self.parts.clone(),
            node,
            address,
            request.into_inner(),
            sender,
            self.shutdown.clone(),
        );
        tokio::spawn(serve);
        Ok(Response::new(SessionStream(outbox)))
    }

    async fn fetch_artifact(
        &self,
        request: Request<FetchArtifactRequest>,
    ) -> Result<Response<fetch::Chunks>, Status> {
        let (node, _) = self.node(&request).map_err(to_status)?;
        let wanted = request.into_inner();
        let chunks = self
            .fetches
            .start(&node.id, &wanted.digest, wanted.offset)
            .await;
        chunks.map(Response::new).map_err(to_status)
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<SendSnapshotResponse>, Status> {
        let (node, _) = self.node(&request).map_err(to_status)?;
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|first| first.part);
        let to = match first {
            Some(Part::Transfer(id)) => self.parts.transfers.take(&id, &node.name),
            Some(Part::Data(_)) | None => None,
        };
        let to = to.ok_or_else(|| {
            let problem = Problem::new("missing-transfer", "nobody waits for this snapshot");
            to_status(problem.because("who asked for it has left"))
        })?;
        while let Some(part) = parts.message().await? {
            let Some(Part::Data(data)) = part.part else {
                continue;
            };
            if to.send(Ok(FileChunk { data })).await.is_err() {
                let problem = Problem::new("missing-transfer", "who asked for it has left");
                return Err(to_status(problem));
            }
        }
        Ok(Response::new(SendSnapshotResponse {}))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let (node, _) = self.node(&request).map_err(to_status)?;
        let renewed = self
            .parts
            .authority
            .renew(&node.id, &request.get_ref().csr_pem)
            .await;
        renewed.map(Response::new).map_err(to_status)
    }
}

/// What waits for an agent, as the messages of its stream.
pub struct SessionStream(Outbox);

impl Stream for SessionStream {
    type Item = Result<CoordinatorMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_recv(context)
            .map(|message| message.map(|message| Ok(*message)))
    }
}
