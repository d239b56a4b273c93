//! The service for machines that have no certificate yet.

use super::connection::Peer;
use super::status::to_status;
use crate::authority::Authority;
use crate::sessions::Sessions;
use quorate_proto::v1::enrollment_server::Enrollment;
use quorate_proto::v1::{EnrollRequest, EnrollResponse};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct EnrollmentService {
    authority: Arc<Authority>,
    sessions: Arc<Sessions>,
}

impl EnrollmentService {
    pub fn new(authority: Arc<Authority>, sessions: Arc<Sessions>) -> Self {
        EnrollmentService {
            authority,
            sessions,
        }
    }
}

#[tonic::async_trait]
impl Enrollment for EnrollmentService {
    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.ok_or_else(|| Status::internal("no peer"))?.address;
        let enrolled = self
            .authority
            .enroll(peer.ip(), request.get_ref())
            .await
            .map_err(to_status)?;
        if let Some(old) = &enrolled.replaced {
            self.sessions
                .revoke(old, "another machine has taken this name")
                .await;
        }
        let node = &enrolled.response;
        tracing::info!(node = node.node_name, id = node.node_id, %peer, "enrolled a node");
        Ok(Response::new(enrolled.response))
    }
}
