//! The two listeners and what they serve.
//!
//! - `gate`, `listener`, `connection`: from a TCP connection to one with a verified identity;
//!   `authorize`: the one table of who may call what; `status`: problems on the wire.
//! - `agent`, `enrollment`, `operator`: the services.

mod agent;
pub mod authorize;
mod connection;
mod enrollment;
pub(crate) mod gate;
pub(crate) mod listener;
mod operator;
mod status;
mod transfers;

pub use connection::{Caller, Peer};
pub use listener::bind;
pub use status::{problem, to_status};

use crate::artifacts::Artifacts;
use crate::authority::Authority;
use crate::backup::Place;
use crate::engine::api::EngineApi;
use crate::sessions::Sessions;
use crate::store::Store;
use crate::tenure::Tenure;
use agent::AgentService;
use authorize::Authorize;
use enrollment::EnrollmentService;
use gate::Limits;
use operator::OperatorService;
use quorate_proto::limits::{
    KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_TIMEOUT_SECONDS, MAX_ENROLL_BYTES, MAX_MESSAGE_BYTES,
};
use quorate_proto::token::Address;
use quorate_proto::v1::agent_server::AgentServer;
use quorate_proto::v1::enrollment_server::EnrollmentServer;
use quorate_proto::v1::operator_server::OperatorServer;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
pub use transfers::Transfers;

/// Connections end after this long, so that no connection outlives by much what its certificate was checked against.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// For the calls that are under way then.
const AGE_GRACE: Duration = Duration::from_secs(60);
/// An enrolment is one call.
const ENROLL_MAX_AGE: Duration = Duration::from_secs(30);
const ENROLL_GRACE: Duration = Duration::from_secs(5);
/// Calls at a time on one connection: a session, some fetches, a renewal.
const MAX_STREAMS: u32 = 64;
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Bytes under way to us on one stream: uploads fill a link with some milliseconds of delay.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// Status of thousands of nodes takes some megabytes; only what we say ourselves is bounded by it.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What the services work with.
#[derive(Clone)]
pub struct Parts {
    pub store: Arc<Store>,
    pub authority: Arc<Authority>,
    pub sessions: Arc<Sessions>,
    pub artifacts: Arc<Artifacts>,
    pub engine: Arc<dyn EngineApi>,
    pub tenure: Arc<Tenure>,
    /// What a backup holds beside the records.
    pub place: Arc<Place>,
    pub transfers: Arc<Transfers>,
    /// Where agents reach this coordinator, the preferred address first.
    pub addresses: Vec<Address>,
}

/// Serves agents and operators until `shutdown`, then until the calls under way have ended.
pub async fn serve_mutual(
    parts: Parts,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let authority = Arc::clone(&parts.authority);
    let config = move || authority.mutual_config();
    let incoming = listener::accept(listener, config, Limits::MUTUAL, shutdown.clone());
    let authorize = Authorize::new(Arc::clone(&parts.authority), Arc::clone(&parts.tenure));
    let agent = AgentServer::new(AgentService::new(parts.clone(), shutdown.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let operator = OperatorServer::new(OperatorService::new(parts))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_ANSWER_BYTES);
    builder(MAX_AGE, AGE_GRACE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .layer(authorize)
        .add_service(agent)
        .add_service(operator)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
}

/// Serves machines without a certificate.
pub async fn serve_enrollment(
    parts: Parts,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let authority = Arc::clone(&parts.authority);
    let config = move || authority.enroll_config();
    let incoming = listener::accept(listener, config, Limits::ENROLLMENT, shutdown.clone());
    let authorize = Authorize::new(Arc::clone(&parts.authority), Arc::clone(&parts.tenure));
    let enrollment = EnrollmentServer::new(EnrollmentService::new(parts.authority, parts.sessions))
        .max_decoding_message_size(MAX_ENROLL_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    builder(ENROLL_MAX_AGE, ENROLL_GRACE)
        .layer(authorize)
        .add_service(enrollment)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
}

fn builder(age: Duration, grace: Duration) -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(KEEPALIVE_INTERVAL_SECONDS)))
        .http2_keepalive_timeout(Some(Duration::from_secs(KEEPALIVE_TIMEOUT_SECONDS)))
        .max_connection_age(age)
        .max_connection_age_grace(grace)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
}
