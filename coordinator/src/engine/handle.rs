//! The engine as the operator service sees it.

use super::agents::{AgentEvent, Agents};
use super::api::{EngineApi, EventStream};
use super::cluster;
use super::endpoint::{ask, certificates, show};
use super::records::OperationRecord;
use super::router;
use super::shared::{ArtifactChoice, Clock, Shared, stored};
use super::snapshots;
use super::telling;
use crate::store::{Kind, Prefix, Store};
use quorate_proto::v1::*;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

pub struct Engine {
    pub(super) shared: Arc<Shared>,
}

impl Engine {
    /// Starts the loops of all clusters on record and the router of events.
    pub fn start(
        store: Arc<Store>,
        agents: Arc<dyn Agents>,
        artifacts: Arc<dyn ArtifactChoice>,
        epoch: u64,
        version: &str,
        events: mpsc::Receiver<AgentEvent>,
    ) -> Result<Arc<Self>, Problem> {
        let clock: Clock = Arc::new(super::now_ms);
        let shared = Shared::new(store, agents, artifacts, epoch, version, clock);
        let engine = Engine::start_with(shared, events)?;
        let schedule = snapshots::run(Arc::clone(&engine.shared));
        engine.shared.spawn(schedule);
        Ok(engine)
    }

    /// With a clock and the like of the caller's.
    pub fn start_with(
        shared: Shared,
        events: mpsc::Receiver<AgentEvent>,
    ) -> Result<Arc<Self>, Problem> {
        let shared = Arc::new(shared);
        for record in shared.clusters()? {
            cluster::start(&shared, &record.name);
        }
        shared.spawn(router::run(Arc::clone(&shared), events));
        Ok(Arc::new(Engine { shared }))
    }

    /// Ends its tasks; operations go on with the next start.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

#[tonic::async_trait]
impl EngineApi for Engine {
    async fn plan(&self, _caller: &str, request: PlanRequest) -> Result<PlanResponse, Problem> {
        super::plan::plan(&self.shared, &request)
    }

    async fn apply(&self, caller: &str, request: ApplyRequest) -> Result<ApplyResponse, Problem> {
        super::apply::apply(&self.shared, caller, request).await
    }

    async fn list_operations(
        &self,
        _caller: &str,
        _request: ListOperationsRequest,
    ) -> Result<ListOperationsResponse, Problem> {
        let found = self
            .shared
            .store
            .scan::<OperationRecord>(&Prefix::all(Kind::Operation))
            .map_err(stored)?;
        let operations = found
            .iter()
            .rev()
            .map(|(_, operation)| telling::info(operation))
            .collect();
        Ok(ListOperationsResponse { operations })
    }

    async fn watch_operation(
        &self,
        _caller: &str,
        request: WatchOperationRequest,
    ) -> Result<EventStream, Problem> {
        // Subscribed before the record is read, so that an end in between is not missed.
        let events = self.shared.watch(&request.id);
        let operation = self
            .shared
            .operation(&request.id)?
            .ok_or_else(|| unknown_operation(&request.id))?;
        let first = OperationEvent {
            operation: Some(telling::info(&operation)),
            ..OperationEvent::default()
        };
        if operation.finished_ms != 0 {
            self.shared.end_watch(&request.id);
            return Ok(Box::pin(tokio_stream::iter([Ok(first)])));
        }
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(forward(first, events, sender));
        Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(
            receiver,
        )))
    }

    async fn status(
        &self,
        _caller: &str,
        request: StatusRequest,
    ) -> Result<StatusResponse, Problem> {
        super::status::status(&self.shared, &request.cluster)
    }

    async fn check(&self, _caller: &str, request: CheckRequest) -> Result<CheckResponse, Problem> {
        super::check::check(&self.shared, &request.cluster).await
    }

    async fn sign_user(
        &self,
        caller: &str,
        request: SignUserRequest,
    ) -> Result<SignUserResponse, Problem> {
        super::check::sign_user(&self.shared, caller, request).await
    }

    async fn create_snapshot(
        &self,
        caller: &str,
        request: CreateSnapshotRequest,
    ) -> Result<CreateSnapshotResponse, Problem> {
        snapshots::create(&self.shared, caller, &request).await
    }

    async fn send_snapshot(
        &self,
        caller: &str,
        request: ExportSnapshotRequest,
        transfer: &str,
    ) -> Result<(), Problem> {
        snapshots::send(&self.shared, caller, request, transfer).await
    }

    async fn list_snapshots(
        &self,
        _caller: &str,
        request: ListSnapshotsRequest,
    ) -> Result<ListSnapshotsResponse, Problem> {
        snapshots::list(&self.shared, &request.cluster)
    }

    async fn show_endpoint(
        &self,
        _caller: &str,
        request: ShowEndpointRequest,
    ) -> Result<ShowEndpointResponse, Problem> {
        show::show(&self.shared, &request.cluster)
    }

    async fn plan_rotation(
        &self,
        _caller: &str,
        request: RotateEndpointRequest,
    ) -> Result<PlanRotationResponse, Problem> {
        ask::plan_rotation(&self.shared, &request).await
    }

    async fn rotate_endpoint(
        &self,
        caller: &str,
        request: RotateEndpointRequest,
    ) -> Result<ApplyResponse, Problem> {
        ask::rotate(&self.shared, caller, &request).await
    }

    async fn roll_back_endpoint(
        &self,
        caller: &str,
        request: RollBackEndpointRequest,
    ) -> Result<ApplyResponse, Problem> {
        ask::roll_back(&self.shared, caller, &request.cluster).await
    }

    async fn drop_endpoint(
        &self,
        caller: &str,
        request: DropEndpointRequest,
    ) -> Result<ApplyResponse, Problem> {
        ask::drop_old(&self.shared, caller, &request).await
    }

    async fn repair_endpoint(
        &self,
        caller: &str,
        request: RepairEndpointRequest,
    ) -> Result<ApplyResponse, Problem> {
        ask::repair(&self.shared, caller, &request.cluster).await
    }

    async fn show_certificates(
        &self,
        _caller: &str,
        request: ShowCertificatesRequest,
    ) -> Result<ShowCertificatesResponse, Problem> {
        certificates::show(&self.shared, &request.cluster)
    }

    async fn renew_cluster_certificates(
        &self,
        caller: &str,
        request: RenewClusterCertificatesRequest,
    ) -> Result<ApplyResponse, Problem> {
        ask::renew(&self.shared, caller, &request).await
    }

    async fn set_names(
        &self,
        caller: &str,
        request: SetNamesRequest,
    ) -> Result<ApplyResponse, Problem> {
        ask::set_names(&self.shared, caller, &request).await
    }

    async fn plan_removal(
        &self,
        _caller: &str,
        request: RemovalRequest,
    ) -> Result<PlanRemovalResponse, Problem> {
        super::leaving::ask::plan(&self.shared, &request)
    }

    async fn remove_node(
        &self,
        caller: &str,
        request: RemovalRequest,
    ) -> Result<ApplyResponse, Problem> {
        super::leaving::ask::begin(&self.shared, caller, &request).await
    }

    async fn plan_power(
        &self,
        _caller: &str,
        request: PowerRequest,
    ) -> Result<PlanPowerResponse, Problem> {
        super::shutdown::ask::plan(&self.shared, &request)
    }

    async fn set_power(
        &self,
        caller: &str,
        request: PowerRequest,
    ) -> Result<ApplyResponse, Problem> {
        super::shutdown::ask::begin(&self.shared, caller, &request).await
    }

    async fn plan_recovery(
        &self,
        _caller: &str,
        request: RecoveryRequest,
    ) -> Result<PlanRecoveryResponse, Problem> {
        super::recovery::ask::plan(&self.shared, &request)
    }

    async fn recover(
        &self,
        caller: &str,
        request: RecoveryRequest,
    ) -> Result<ApplyResponse, Problem> {
        super::recovery::ask::begin(&self.shared, caller, &request).await
    }
}

async fn forward(
    first: OperationEvent,
    mut events: broadcast::Receiver<OperationEvent>,
    sender: mpsc::Sender<Result<OperationEvent, Problem>>,
) {
    let mut next = Some(first);
    loop {
        if let Some(event) = next.take()
            && sender.send(Ok(event)).await.is_err()
        {
            return;
        }
        next = match events.recv().await {
            Ok(event) => Some(event),
            // What was skipped were lines and older states.
            Err(broadcast::error::RecvError::Lagged(_)) => None,
            Err(broadcast::error::RecvError::Closed) => return,
        };
    }
}

fn unknown_operation(id: &str) -> Problem {
    Problem::new(
        "not-found-operation",
        format!("there is no operation {id:?}"),
    )
    .next("quorate operation list")
}

pub(super) fn unknown_cluster(name: &str) -> Problem {
    Problem::new("not-found-cluster", format!("there is no cluster {name:?}"))
        .next("quorate status lists them; quorate apply -f FILE forms one")
}
