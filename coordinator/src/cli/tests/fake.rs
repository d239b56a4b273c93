//! An operator service that answers from samples and remembers what it was asked.

use super::listener::{authority, leaf};
use crate::cli::samples;
use prost::Message;
use quorate_pki::{Authority, Role};
use quorate_proto::v1::add_artifact_request::Part;
use quorate_proto::v1::operator_server::Operator;
use quorate_proto::v1::*;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};

pub type Events = Vec<Result<OperationEvent, Status>>;
type Answer<T> = Result<Response<T>, Status>;

pub struct Fake {
    pub ca: Authority,
    pub plan: Mutex<PlanResponse>,
    pub status: Mutex<StatusResponse>,
    pub rotation: Mutex<PlanRotationResponse>,
    pub removal: Mutex<PlanRemovalResponse>,
    pub recovery_refusals: Mutex<Vec<Problem>>,
    pub endpoint: Mutex<ShowEndpointResponse>,
    pub certificates: Mutex<ShowCertificatesResponse>,
    /// What each successive watch is told; after the last one a watch stays silent.
    pub watches: Mutex<VecDeque<Events>>,
    pub artifacts: Mutex<Vec<ArtifactRef>>,
    /// Refuses every call that changes something.
    pub refuses: Mutex<Option<Problem>>,
    /// Names of calls, with what matters of them.
    pub calls: Mutex<Vec<String>>,
    pub planned: Mutex<Option<PlanRequest>>,
    /// Chunks of the next one.
    pub backup: Mutex<Vec<Vec<u8>>>,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Fake {
            ca: authority("quorate"),
            plan: Mutex::new(samples::plan()),
            status: Mutex::new(samples::status()),
            rotation: Mutex::new(samples::rotation_plan()),
            removal: Mutex::new(samples::removal_plan()),
            recovery_refusals: Mutex::default(),
            endpoint: Mutex::new(samples::endpoint()),
            certificates: Mutex::new(samples::certificates()),
            watches: Mutex::default(),
            artifacts: Mutex::default(),
            refuses: Mutex::default(),
            calls: Mutex::default(),
            planned: Mutex::default(),
            backup: Mutex::default(),
        })
    }

    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn called(&self, what: impl Into<String>) {
        self.calls.lock().unwrap().push(what.into());
    }

    fn changing(&self, what: impl Into<String>) -> Result<(), Status> {
        self.called(what);
        match self.refuses.lock().unwrap().as_ref() {
            None => Ok(()),
            Some(problem) => Err(refusal(problem)),
        }
    }

    /// An operation, unless it is refused.
    fn started(&self, what: impl Into<String>) -> Answer<ApplyResponse> {
        self.changing(what)?;
        ok(ApplyResponse {
            operation: "01k9".into(),
            nothing_to_do: false,
        })
    }

    fn sign(&self, csr_pem: &str, name: &str) -> String {
        let leaf = leaf(Role::Viewer, name);
        self.ca
            .sign_request(csr_pem, &leaf, SystemTime::now())
            .unwrap()
            .cert_pem
    }
}

pub fn refusal(problem: &Problem) -> Status {
    Status::with_details(
        Code::FailedPrecondition,
        "see details",
        problem.encode_to_vec().into(),
    )
}

fn ok<T>(answer: T) -> Answer<T> {
    Ok(Response::new(answer))
}

#[tonic::async_trait]
impl Operator for Fake {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Answer<CreateTokenResponse> {
        let request = request.into_inner();
        self.changing(format!(
            "create-token {} {}",
            request.node, request.ttl_seconds
        ))?;
        ok(CreateTokenResponse {
            token: "q1.c2VjcmV0".into(),
            id: "tok1".into(),
            expires_unix: crate::clock::unix() + i64::from(request.ttl_seconds),
        })
    }

    async fn list_tokens(&self, _: Request<ListTokensRequest>) -> Answer<ListTokensResponse> {
        ok(ListTokensResponse::default())
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Answer<RevokeTokenResponse> {
        self.changing(format!("revoke-token {}", request.into_inner().id))?;
        ok(RevokeTokenResponse {})
    }

    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Answer<ListNodesResponse> {
        ok(samples::nodes())
    }

    async fn revoke_node(&self, request: Request<RevokeNodeRequest>) -> Answer<RevokeNodeResponse> {
        self.changing(format!("revoke-node {}", request.into_inner().name))?;
        ok(RevokeNodeResponse {})
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Answer<PlanResponse> {
        *self.planned.lock().unwrap() = Some(request.into_inner());
        ok(self.plan.lock().unwrap().clone())
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<ApplyResponse> {
        let request = request.into_inner();
        assert_eq!(
            request.plan,
            *self.planned.lock().unwrap(),
            "what was shown is what is applied"
        );
        self.started(format!("apply at {}", request.expected_revision))
    }

    async fn list_operations(
        &self,
        _: Request<ListOperationsRequest>,
    ) -> Answer<ListOperationsResponse> {
        ok(samples::operations())
    }

    type WatchOperationStream = Pin<Box<dyn Stream<Item = Result<OperationEvent, Status>> + Send>>;

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Answer<Self::WatchOperationStream> {
        let id = request.into_inner().id;
        self.called(format!("watch {id}"));
        if id != "01k9" {
            let problem =
                Problem::new("not-found-operation", format!("there is no operation {id}"));
            return Err(Status::with_details(
                Code::NotFound,
                "",
                problem.encode_to_vec().into(),
            ));
        }
        match self.watches.lock().unwrap().pop_front() {
            Some(events) => ok(Box::pin(tokio_stream::iter(events))),
            None => ok(Box::pin(tokio_stream::pending())),
        }
    }

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        ok(self.status.lock().unwrap().clone())
    }

    async fn check(&self, _: Request<CheckRequest>) -> Answer<CheckResponse> {
        ok(samples::check())
    }

    async fn sign_user(&self, request: Request<SignUserRequest>) -> Answer<SignUserResponse> {
        let request = request.into_inner();
        self.changing(format!(
            "sign {} {} {}",
            request.cluster, request.user, request.validity_seconds
        ))?;
        let cluster = self.status.lock().unwrap().clusters[0].clone();
        ok(SignUserResponse {
            certificate_pem: self.sign(&request.csr_pem, &request.user),
            authority_pem: self.ca.cert_pem().to_owned(),
            endpoint: cluster.endpoint,
            distribution: cluster.distribution,
            cluster: cluster.name,
        })
    }

    async fn add_artifact(
        &self,
        request: Request<Streaming<AddArtifactRequest>>,
    ) -> Answer<AddArtifactResponse> {
        let mut parts = request.into_inner();
        let (mut header, mut content) = (ArtifactRef::default(), Sha256::new());
        while let Some(part) = parts.next().await {
            match part?.part {
                Some(Part::Header(artifact)) => header = artifact,
                Some(Part::Data(data)) => content.update(&data),
                None => {}
            }
        }
        self.changing(format!("add {}", header.name))?;
        let digest = format!("sha256:{}", hex::encode(content.finalize()));
        self.artifacts.lock().unwrap().push(header);
        ok(AddArtifactResponse {
            digest,
            already_there: false,
        })
    }

    async fn list_artifacts(
        &self,
        _: Request<ListArtifactsRequest>,
    ) -> Answer<ListArtifactsResponse> {
        ok(ListArtifactsResponse {
            artifacts: self.artifacts.lock().unwrap().clone(),
        })
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Answer<CreateUserResponse> {
        let request = request.into_inner();
        self.changing(format!("create-user {} {}", request.name, request.role))?;
        ok(CreateUserResponse {
            certificate_pem: self.sign(&request.csr_pem, &request.name),
            ca_bundle_pem: self.ca.cert_pem().to_owned(),
        })
    }

    async fn revoke_user(&self, request: Request<RevokeUserRequest>) -> Answer<RevokeUserResponse> {
        self.changing(format!("revoke-user {}", request.into_inner().name))?;
        ok(RevokeUserResponse {})
    }

    async fn list_certificates(
        &self,
        _: Request<ListCertificatesRequest>,
    ) -> Answer<ListCertificatesResponse> {
        ok(ListCertificatesResponse::default())
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Answer<ListAuditResponse> {
        self.called(format!("audit {}", request.into_inner().limit));
        ok(ListAuditResponse::default())
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Answer<CreateSnapshotResponse> {
        let cluster = request.into_inner().cluster;
        self.changing(format!("create-snapshot {cluster}"))?;
        ok(CreateSnapshotResponse {
            snapshots: samples::snapshots().snapshots,
            problems: vec![Problem::new("little-space", "no room on this node").at("cp3")],
        })
    }

    type ExportSnapshotStream = Pin<Box<dyn Stream<Item = Result<FileChunk, Status>> + Send>>;

    async fn export_snapshot(
        &self,
        request: Request<ExportSnapshotRequest>,
    ) -> Answer<Self::ExportSnapshotStream> {
        let request = request.into_inner();
        self.changing(format!("export {} of {}", request.snapshot, request.node))?;
        let chunks = std::mem::take(&mut *self.backup.lock().unwrap());
        let chunks = chunks.into_iter().map(|data| Ok(FileChunk { data }));
        ok(Box::pin(tokio_stream::iter(chunks)))
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Answer<ListSnapshotsResponse> {
        self.called(format!("snapshots {}", request.into_inner().cluster));
        ok(samples::snapshots())
    }

    type BackupStream = Pin<Box<dyn Stream<Item = Result<FileChunk, Status>> + Send>>;

    async fn backup(&self, _: Request<BackupRequest>) -> Answer<Self::BackupStream> {
        self.called("backup");
        let chunks = std::mem::take(&mut *self.backup.lock().unwrap());
        let chunks = chunks.into_iter().map(|data| Ok(FileChunk { data }));
        ok(Box::pin(tokio_stream::iter(chunks)))
    }

    async fn show_endpoint(
        &self,
        request: Request<ShowEndpointRequest>,
    ) -> Answer<ShowEndpointResponse> {
        let cluster = request.into_inner().cluster;
        let answer = self.endpoint.lock().unwrap().clone();
        assert_eq!(cluster, answer.cluster, "the right one is asked for");
        ok(answer)
    }

    async fn plan_rotation(
        &self,
        _: Request<RotateEndpointRequest>,
    ) -> Answer<PlanRotationResponse> {
        ok(self.rotation.lock().unwrap().clone())
    }

    async fn rotate_endpoint(
        &self,
        request: Request<RotateEndpointRequest>,
    ) -> Answer<ApplyResponse> {
        let request = request.into_inner();
        let to = request.to.unwrap();
        let kind = if request.external { " external" } else { "" };
        self.started(format!(
            "rotate {} to {}:{}{kind} soak {} at {}",
            request.cluster, to.host, to.port, request.soak_seconds, request.expected_revision
        ))
    }

    async fn roll_back_endpoint(
        &self,
        request: Request<RollBackEndpointRequest>,
    ) -> Answer<ApplyResponse> {
        self.started(format!("roll-back {}", request.into_inner().cluster))
    }

    async fn drop_endpoint(&self, request: Request<DropEndpointRequest>) -> Answer<ApplyResponse> {
        let request = request.into_inner();
        self.started(format!(
            "drop {} {}",
            request.cluster, request.without_absent
        ))
    }

    async fn repair_endpoint(
        &self,
        request: Request<RepairEndpointRequest>,
    ) -> Answer<ApplyResponse> {
        self.started(format!("repair {}", request.into_inner().cluster))
    }

    async fn show_certificates(
        &self,
        request: Request<ShowCertificatesRequest>,
    ) -> Answer<ShowCertificatesResponse> {
        self.called(format!("certificates {}", request.into_inner().cluster));
        ok(self.certificates.lock().unwrap().clone())
    }

    async fn renew_cluster_certificates(
        &self,
        request: Request<RenewClusterCertificatesRequest>,
    ) -> Answer<ApplyResponse> {
        let request = request.into_inner();
        self.started(format!("renew {} {:?}", request.cluster, request.nodes))
    }

    async fn set_names(&self, request: Request<SetNamesRequest>) -> Answer<ApplyResponse> {
        let request = request.into_inner();
        self.started(format!(
            "names {} +{:?} -{:?}",
            request.cluster, request.add, request.drop
        ))
    }

    async fn plan_removal(&self, request: Request<RemovalRequest>) -> Answer<PlanRemovalResponse> {
        let request = request.into_inner();
        let plan = self.removal.lock().unwrap().clone();
        ok(PlanRemovalResponse {
            node: request.node,
            successor: request.successor,
            ..plan
        })
    }

    async fn remove_node(&self, request: Request<RemovalRequest>) -> Answer<ApplyResponse> {
        let request = request.into_inner();
        let verb = if request.replace { "replace" } else { "remove" };
        let words = [request.node, request.successor, request.address];
        let words: Vec<String> = words.into_iter().filter(|it| !it.is_empty()).collect();
        let dead = if request.dead { " dead" } else { "" };
        self.started(format!("{verb} {}{dead}", words.join(" ")))
    }

    async fn plan_power(&self, request: Request<PowerRequest>) -> Answer<PlanPowerResponse> {
        let request = request.into_inner();
        let step = |node: &str| PlanStage {
            steps: vec![PlanStep {
                node: node.to_owned(),
                ..PlanStep::default()
            }],
        };
        ok(PlanPowerResponse {
            cluster: request.cluster,
            revision: 3,
            on: request.on,
            stages: vec![step("cp2"), step("cp1")],
            refusals: self.recovery_refusals.lock().unwrap().clone(),
            ..PlanPowerResponse::default()
        })
    }

    async fn set_power(&self, request: Request<PowerRequest>) -> Answer<ApplyResponse> {
        let request = request.into_inner();
        let verb = if request.on { "start" } else { "stop" };
        let without = match request.without_snapshot {
            true => " without snapshot",
            false => "",
        };
        self.started(format!("{verb} {}{without}", request.cluster))
    }

    async fn plan_recovery(
        &self,
        request: Request<RecoveryRequest>,
    ) -> Answer<PlanRecoveryResponse> {
        let request = request.into_inner();
        let refusals = self.recovery_refusals.lock().unwrap().clone();
        ok(PlanRecoveryResponse {
            cluster: request.cluster,
            revision: 3,
            source: "cp1".to_owned(),
            applied_index: 4711,
            lost: request.without,
            rejoin: vec!["cp2".to_owned()],
            warnings: vec!["writes that cp1 has not applied are lost".to_owned()],
            refusals,
            last_revision: 900,
            kubernetes: true,
            snapshot: Some(request.snapshot)
                .filter(|id| !id.is_empty())
                .map(|id| SnapshotInfo {
                    id,
                    taken_unix_ms: 1_700_000_000_000,
                    revision: 800,
                    ..SnapshotInfo::default()
                }),
        })
    }

    async fn recover(&self, request: Request<RecoveryRequest>) -> Answer<ApplyResponse> {
        let request = request.into_inner();
        let snapshot = match request.snapshot.as_str() {
            "" => String::new(),
            id => format!(" snapshot {id}"),
        };
        self.started(format!(
            "recover {} from {} without {}{snapshot}",
            request.cluster,
            request.from_member,
            request.without.join(" ")
        ))
    }
}
