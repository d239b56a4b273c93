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
    /// What each successive watch is told; after the last one a watch stays silent.
    pub watches: Mutex<VecDeque<Events>>,
    pub artifacts: Mutex<Vec<ArtifactRef>>,
    /// Refuses every call that changes something.
    pub refuses: Mutex<Option<Problem>>,
    /// Names of calls, with what matters of them.
    pub calls: Mutex<Vec<String>>,
    pub planned: Mutex<Option<PlanRequest>>,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Fake {
            ca: authority("quorate"),
            plan: Mutex::new(samples::plan()),
            status: Mutex::new(samples::status()),
            watches: Mutex::default(),
            artifacts: Mutex::default(),
            refuses: Mutex::default(),
            calls: Mutex::default(),
            planned: Mutex::default(),
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
        self.changing(format!("apply at {}", request.expected_revision))?;
        assert_eq!(
            request.plan,
            *self.planned.lock().unwrap(),
            "what was shown is what is applied"
        );
        ok(ApplyResponse {
            operation: "01k9".into(),
            nothing_to_do: false,
        })
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

    async fn show_endpoint(&self, _: Request<ShowEndpointRequest>) -> Answer<ShowEndpointResponse> {
        ok(ShowEndpointResponse::default())
    }

    async fn plan_rotation(
        &self,
        _: Request<RotateEndpointRequest>,
    ) -> Answer<PlanRotationResponse> {
        ok(PlanRotationResponse::default())
    }

    async fn rotate_endpoint(&self, _: Request<RotateEndpointRequest>) -> Answer<ApplyResponse> {
        self.changing("rotate-endpoint")?;
        ok(ApplyResponse {
            operation: "01k9".into(),
            nothing_to_do: false,
        })
    }

    async fn roll_back_endpoint(
        &self,
        _: Request<RollBackEndpointRequest>,
    ) -> Answer<ApplyResponse> {
        self.changing("roll-back-endpoint")?;
        ok(ApplyResponse {
            operation: "01k9".into(),
            nothing_to_do: false,
        })
    }

    async fn drop_endpoint(&self, _: Request<DropEndpointRequest>) -> Answer<ApplyResponse> {
        self.changing("drop-endpoint")?;
        ok(ApplyResponse {
            operation: "01k9".into(),
            nothing_to_do: false,
        })
    }

    async fn repair_endpoint(&self, _: Request<RepairEndpointRequest>) -> Answer<ApplyResponse> {
        self.changing("repair-endpoint")?;
        ok(ApplyResponse {
            operation: "01k9".into(),
            nothing_to_do: false,
        })
    }

    async fn show_certificates(
        &self,
        _: Request<ShowCertificatesRequest>,
    ) -> Answer<ShowCertificatesResponse> {
        ok(ShowCertificatesResponse::default())
    }

    async fn renew_cluster_certificates(
        &self,
        _: Request<RenewClusterCertificatesRequest>,
    ) -> Answer<ApplyResponse> {
        self.changing("renew-cluster-certificates")?;
        ok(ApplyResponse {
            operation: "01k9".into(),
            nothing_to_do: false,
        })
    }

    async fn set_names(&self, _: Request<SetNamesRequest>) -> Answer<ApplyResponse> {
        self.changing("set-names")?;
        ok(ApplyResponse {
            operation: "01k9".into(),
            nothing_to_do: false,
        })
    }
}
