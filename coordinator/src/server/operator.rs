//! The service of people and scripts. One concern a file; what is about clusters goes to the engine.

mod artifacts;
mod audit;
mod backup;
mod nodes;
mod snapshots;
mod tokens;
mod users;

use super::Parts;
use super::agent::caller;
use super::status::to_status;
use quorate_proto::v1::operator_server::Operator;
use quorate_proto::v1::*;
use std::pin::Pin;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

pub struct OperatorService {
    parts: Parts,
}

impl OperatorService {
    pub fn new(parts: Parts) -> Self {
        OperatorService { parts }
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// The caller as the audit trail names it, and what is asked.
fn open<T>(request: Request<T>) -> Result<(String, T), Status> {
    let (caller, _) = caller(&request).map_err(to_status)?;
    Ok((caller.identity.to_string(), request.into_inner()))
}

fn answer<T>(result: Result<T, Problem>) -> Answer<T> {
    result.map(Response::new).map_err(to_status)
}

#[tonic::async_trait]
impl Operator for OperatorService {
    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<OperationEvent, Status>> + Send>>;

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Answer<CreateTokenResponse> {
        let (who, request) = open(request)?;
        answer(tokens::create(&self.parts, &who, &request).await)
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Answer<ListTokensResponse> {
        open(request)?;
        answer(tokens::list(&self.parts))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Answer<RevokeTokenResponse> {
        let (who, request) = open(request)?;
        answer(tokens::revoke(&self.parts, &who, &request).await)
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Answer<ListNodesResponse> {
        let (who, _) = open(request)?;
        answer(nodes::list(&self.parts, &who).await)
    }

    async fn revoke_node(&self, request: Request<RevokeNodeRequest>) -> Answer<RevokeNodeResponse> {
        let (who, request) = open(request)?;
        answer(nodes::revoke(&self.parts, &who, &request).await)
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Answer<PlanResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.plan(&who, request).await)
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.apply(&who, request).await)
    }

    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Answer<ListOperationsResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.list_operations(&who, request).await)
    }

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Answer<Self::WatchOperationStream> {
        let (who, request) = open(request)?;
        let events = self.parts.engine.watch_operation(&who, request).await;
        let events = events.map_err(to_status)?;
        Ok(Response::new(Box::pin(
            events.map(|event| event.map_err(to_status)),
        )))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.status(&who, request).await)
    }

    async fn check(&self, request: Request<CheckRequest>) -> Answer<CheckResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.check(&who, request).await)
    }

    async fn sign_user(&self, request: Request<SignUserRequest>) -> Answer<SignUserResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.sign_user(&who, request).await)
    }

    async fn add_artifact(
        &self,
        request: Request<Streaming<AddArtifactRequest>>,
    ) -> Answer<AddArtifactResponse> {
        let (who, incoming) = open(request)?;
        answer(artifacts::add(&self.parts, &who, incoming).await)
    }

    async fn list_artifacts(
        &self,
        request: Request<ListArtifactsRequest>,
    ) -> Answer<ListArtifactsResponse> {
        open(request)?;
        answer(artifacts::list(&self.parts))
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Answer<CreateUserResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.authority.create_user(&who, &request).await)
    }

    async fn revoke_user(&self, request: Request<RevokeUserRequest>) -> Answer<RevokeUserResponse> {
        let (who, request) = open(request)?;
        answer(users::revoke(&self.parts, &who, &request).await)
    }

    async fn list_certificates(
        &self,
        request: Request<ListCertificatesRequest>,
    ) -> Answer<ListCertificatesResponse> {
        open(request)?;
        answer(users::certificates(&self.parts))
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Answer<ListAuditResponse> {
        let (_, request) = open(request)?;
        answer(audit::list(&self.parts, &request))
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Answer<CreateSnapshotResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.create_snapshot(&who, request).await)
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Answer<ListSnapshotsResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.list_snapshots(&who, request).await)
    }

    type ExportSnapshotStream = snapshots::Chunks;

    async fn export_snapshot(
        &self,
        request: Request<ExportSnapshotRequest>,
    ) -> Answer<snapshots::Chunks> {
        let (who, request) = open(request)?;
        answer(snapshots::export(&self.parts, &who, request).await)
    }

    type BackupStream = backup::Chunks;

    async fn backup(&self, request: Request<BackupRequest>) -> Answer<backup::Chunks> {
        let (who, _) = open(request)?;
        answer(backup::start(&self.parts, &who).await)
    }

    async fn show_endpoint(
        &self,
        request: Request<ShowEndpointRequest>,
    ) -> Answer<ShowEndpointResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.show_endpoint(&who, request).await)
    }

    async fn plan_rotation(
        &self,
        request: Request<RotateEndpointRequest>,
    ) -> Answer<PlanRotationResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.plan_rotation(&who, request).await)
    }

    async fn rotate_endpoint(
        &self,
        request: Request<RotateEndpointRequest>,
    ) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.rotate_endpoint(&who, request).await)
    }

    async fn roll_back_endpoint(
        &self,
        request: Request<RollBackEndpointRequest>,
    ) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.roll_back_endpoint(&who, request).await)
    }

    async fn drop_endpoint(&self, request: Request<DropEndpointRequest>) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.drop_endpoint(&who, request).await)
    }

    async fn repair_endpoint(
        &self,
        request: Request<RepairEndpointRequest>,
    ) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.repair_endpoint(&who, request).await)
    }

    async fn show_certificates(
        &self,
        request: Request<ShowCertificatesRequest>,
    ) -> Answer<ShowCertificatesResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.show_certificates(&who, request).await)
    }

    async fn renew_cluster_certificates(
        &self,
        request: Request<RenewClusterCertificatesRequest>,
    ) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(
            self.parts
                .engine
                .renew_cluster_certificates(&who, request)
                .await,
        )
    }

    async fn set_names(&self, request: Request<SetNamesRequest>) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.set_names(&who, request).await)
    }

    async fn plan_removal(&self, request: Request<RemovalRequest>) -> Answer<PlanRemovalResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.plan_removal(&who, request).await)
    }

    async fn remove_node(&self, request: Request<RemovalRequest>) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.remove_node(&who, request).await)
    }

    async fn plan_power(&self, request: Request<PowerRequest>) -> Answer<PlanPowerResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.plan_power(&who, request).await)
    }

    async fn set_power(&self, request: Request<PowerRequest>) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.set_power(&who, request).await)
    }

    async fn plan_recovery(
        &self,
        request: Request<RecoveryRequest>,
    ) -> Answer<PlanRecoveryResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.plan_recovery(&who, request).await)
    }

    async fn recover(&self, request: Request<RecoveryRequest>) -> Answer<ApplyResponse> {
        let (who, request) = open(request)?;
        answer(self.parts.engine.recover(&who, request).await)
    }
}
