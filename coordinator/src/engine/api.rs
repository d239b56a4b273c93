//! What the operator service asks of the engine. The service has authenticated and authorized the caller before.

use quorate_proto::v1::*;
use std::pin::Pin;
use tokio_stream::Stream;

/// Ends when the operation has ended, or with the problem that keeps it from being watched.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<OperationEvent, Problem>> + Send>>;

/// `caller` is the certificate's identity, "admin/root" for example: for the audit trail and `ordered_by`.
#[tonic::async_trait]
pub trait EngineApi: Send + Sync + 'static {
    async fn plan(&self, caller: &str, request: PlanRequest) -> Result<PlanResponse, Problem>;

    async fn apply(&self, caller: &str, request: ApplyRequest) -> Result<ApplyResponse, Problem>;

    async fn list_operations(
        &self,
        caller: &str,
        request: ListOperationsRequest,
    ) -> Result<ListOperationsResponse, Problem>;

    async fn watch_operation(
        &self,
        caller: &str,
        request: WatchOperationRequest,
    ) -> Result<EventStream, Problem>;

    async fn status(&self, caller: &str, request: StatusRequest)
    -> Result<StatusResponse, Problem>;

    async fn check(&self, caller: &str, request: CheckRequest) -> Result<CheckResponse, Problem>;

    async fn sign_user(
        &self,
        caller: &str,
        request: SignUserRequest,
    ) -> Result<SignUserResponse, Problem>;

    async fn create_snapshot(
        &self,
        caller: &str,
        request: CreateSnapshotRequest,
    ) -> Result<CreateSnapshotResponse, Problem>;

    /// Has the node send it as this transfer; returns when it has.
    async fn send_snapshot(
        &self,
        caller: &str,
        request: ExportSnapshotRequest,
        transfer: &str,
    ) -> Result<(), Problem>;

    async fn list_snapshots(
        &self,
        caller: &str,
        request: ListSnapshotsRequest,
    ) -> Result<ListSnapshotsResponse, Problem>;

    async fn show_endpoint(
        &self,
        caller: &str,
        request: ShowEndpointRequest,
    ) -> Result<ShowEndpointResponse, Problem>;

    async fn plan_rotation(
        &self,
        caller: &str,
        request: RotateEndpointRequest,
    ) -> Result<PlanRotationResponse, Problem>;

    async fn rotate_endpoint(
        &self,
        caller: &str,
        request: RotateEndpointRequest,
    ) -> Result<ApplyResponse, Problem>;

    async fn roll_back_endpoint(
        &self,
        caller: &str,
        request: RollBackEndpointRequest,
    ) -> Result<ApplyResponse, Problem>;

    async fn drop_endpoint(
        &self,
        caller: &str,
        request: DropEndpointRequest,
    ) -> Result<ApplyResponse, Problem>;

    async fn repair_endpoint(
        &self,
        caller: &str,
        request: RepairEndpointRequest,
    ) -> Result<ApplyResponse, Problem>;

    async fn show_certificates(
        &self,
        caller: &str,
        request: ShowCertificatesRequest,
    ) -> Result<ShowCertificatesResponse, Problem>;

    async fn renew_cluster_certificates(
        &self,
        caller: &str,
        request: RenewClusterCertificatesRequest,
    ) -> Result<ApplyResponse, Problem>;

    async fn set_names(
        &self,
        caller: &str,
        request: SetNamesRequest,
    ) -> Result<ApplyResponse, Problem>;

    async fn plan_removal(
        &self,
        caller: &str,
        request: RemovalRequest,
    ) -> Result<PlanRemovalResponse, Problem>;

    async fn remove_node(
        &self,
        caller: &str,
        request: RemovalRequest,
    ) -> Result<ApplyResponse, Problem>;

    async fn plan_power(
        &self,
        caller: &str,
        request: PowerRequest,
    ) -> Result<PlanPowerResponse, Problem>;

    async fn set_power(
        &self,
        caller: &str,
        request: PowerRequest,
    ) -> Result<ApplyResponse, Problem>;

    async fn plan_recovery(
        &self,
        caller: &str,
        request: RecoveryRequest,
    ) -> Result<PlanRecoveryResponse, Problem>;

    async fn recover(
        &self,
        caller: &str,
        request: RecoveryRequest,
    ) -> Result<ApplyResponse, Problem>;
}
